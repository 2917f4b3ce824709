/* mcuc_extremum_s8, mcuc_where_s8: one of two numbers, element by element.
 *
 * computes       extremum: y = the larger of x1 and x2 (`largest`), or the smaller;
 *                where: y = x1 == zp ? table3[x3] : table2[x2]
 * layout         loops of `mcuc/walk.h`; tables as in `mcuc/lut.h`
 * preconditions  extremum: operands and result are stored alike
 * aliasing       the output may take the place of an input of its own size
 * scratch        none
 * exactness      moves bytes
 * speed          extremum 9, where 12 instructions per element (Cortex-M4)
 */
#ifndef MCUC_SELECT_H
#define MCUC_SELECT_H

#include "mcuc/walk.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t largest;
    int32_t lo, hi;
} mcuc_extremum_s8_params;

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t pixel3, step3;
    int32_t zp;
    const int8_t *table2, *table3;
} mcuc_where_s8_params;

MCUC_KERNEL int8_t mcuc_extremum(const void *params, int8_t a, int8_t b, int8_t c) {
    const mcuc_extremum_s8_params *p = params;
    (void)c;
    return mcuc_clamp8((a > b) == (p->largest != 0) ? a : b, p->lo, p->hi);
}

MCUC_KERNEL void mcuc_extremum_s8(const mcuc_extremum_s8_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_walk_loops loops = {
        p->pixels, p->width, {p->pixel1, p->pixel2, 0}, {p->step1, p->step2, 0}};
    (void)scratch;
    mcuc_walk2(&loops, in, out, y0, y1, mcuc_extremum, p);
}

MCUC_KERNEL int8_t mcuc_where(const void *params, int8_t a, int8_t b, int8_t c) {
    const mcuc_where_s8_params *p = params;
    return a == p->zp ? p->table3[(uint8_t)c] : p->table2[(uint8_t)b];
}

MCUC_KERNEL void mcuc_where_s8(const mcuc_where_s8_params *p, const mcuc_src *in,
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_walk_loops loops = {
        p->pixels, p->width, {p->pixel1, p->pixel2, p->pixel3}, {p->step1, p->step2, p->step3}};
    (void)scratch;
    mcuc_walk3(&loops, in, out, y0, y1, mcuc_where, p);
}

#endif
