/* mcuc_factor_s8: the product of a number and a factor that a table gives for another number:
 * quotients, and the slopes of a PRelu.
 *
 * computes       y = requant(x1 - zp1) with the multiplier table[x2 taken as an unsigned byte], or
 *                `positive` where that is not 0 and x1 >= zp1, element by element
 * layout         loops of `mcuc/walk.h`; table has 256 entries: those of 0, ... 127, -128, ... -1
 * preconditions  255 << shift is within int32
 * aliasing       the output may take the place of an input of its own size
 * scratch        none
 * exactness      equals mcucompile.quant.factor.FactorRule
 * speed          10 to 13 instructions per element (Cortex-M4)
 */
#ifndef MCUC_FACTOR_H
#define MCUC_FACTOR_H

#include "mcuc/walk.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t zp1;
    int32_t positive;
    const int32_t *table;
    int32_t shift;
    int32_t zp;
    int32_t lo, hi;
} mcuc_factor_s8_params;

MCUC_KERNEL int8_t mcuc_factor(const void *params, int8_t a, int8_t b, int8_t c) {
    const mcuc_factor_s8_params *p = params;
    const int32_t x = a - p->zp1;
    const int32_t m = p->positive != 0 && x >= 0 ? p->positive : p->table[(uint8_t)b];
    (void)c;
    return mcuc_requant(x, m, p->shift, p->zp, p->lo, p->hi);
}

MCUC_KERNEL void mcuc_factor_s8(const mcuc_factor_s8_params *p, const mcuc_src *in,
                                const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_walk_loops loops = {
        p->pixels, p->width, {p->pixel1, p->pixel2, 0}, {p->step1, p->step2, 0}};
    (void)scratch;
    mcuc_walk2(&loops, in, out, y0, y1, mcuc_factor, p);
}

#endif
