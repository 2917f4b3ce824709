/* mcuc_compare_s8: how the real numbers of two int8 tensors compare.
 *
 * computes       y = yes or no, as bit 0, 1, 2 of `answers` says for x1 < x2, x1 == x2, x1 > x2;
 *                real numbers stand in the ratio of (x1 - zp1) * m1 and (x2 - zp2) * m2
 * layout         loops of `mcuc/walk.h`
 * preconditions  0 <= m1, m2 <= 2^22
 * aliasing       the output may take the place of an input of its own size
 * scratch        none
 * exactness      equals mcucompile.ops.compare.Compare
 * speed          12 instructions per element (Cortex-M4)
 */
#ifndef MCUC_COMPARE_H
#define MCUC_COMPARE_H

#include "mcuc/walk.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t zp1, zp2;
    int32_t m1, m2;
    int32_t answers;
    int32_t no, yes;
} mcuc_compare_s8_params;

MCUC_KERNEL int8_t mcuc_compare(const void *params, int8_t a, int8_t b, int8_t c) {
    const mcuc_compare_s8_params *p = params;
    const int32_t d = (a - p->zp1) * p->m1 - (b - p->zp2) * p->m2;
    const int32_t place = d < 0 ? 0 : d == 0 ? 1 : 2;
    (void)c;
    return (int8_t)((p->answers >> place & 1) != 0 ? p->yes : p->no);
}

MCUC_KERNEL void mcuc_compare_s8(const mcuc_compare_s8_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_walk_loops loops = {
        p->pixels, p->width, {p->pixel1, p->pixel2, 0}, {p->step1, p->step2, 0}};
    (void)scratch;
    mcuc_walk2(&loops, in, out, y0, y1, mcuc_compare, p);
}

#endif
