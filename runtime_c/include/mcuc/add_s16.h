/* mcuc_add_s16: weighted sum of two tensors, of which some are int16; either may repeat.
 *
 * computes       y = clamp(zp + floor((acc + 2^(shift-1)) / 2^shift), lo, hi) with
 *                acc = (x1 - zp1) * m1 + (x2 - zp2) * m2, element by element
 * layout         rows of `pixels` times `width` numbers; operand i moves on by pixel<i> numbers
 *                per pixel and step<i> (0 or 1) numbers per element, and repeats rows if it has
 *                one only
 * preconditions  int16 rows are 2-byte aligned
 * aliasing       number by number, each read before its result is written. The output may take the
 *                place of an input of its own size.
 * scratch        none
 * exactness      equals mcucompile.quant.wide.WideSum
 */
#ifndef MCUC_ADD_S16_H
#define MCUC_ADD_S16_H

#include "mcuc/wide.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t bits1, zp1, m1;
    int32_t bits2, zp2, m2;
    int32_t shift;
    int32_t out_bits, zp, lo, hi;
} mcuc_add_s16_params;

MCUC_KERNEL void mcuc_add_s16(const mcuc_add_s16_params *p, const mcuc_src *in, const mcuc_dst *out,
                              int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y), *b = mcuc_src_row(&in[1], y);
        int8_t *o = mcuc_dst_row(out, y);
        int32_t at = 0;
        for (int32_t i = 0; i < p->pixels; i++) {
            for (int32_t k = 0; k < p->width; k++, at++) {
                const int32_t x1 = mcuc_wide_get(a, i * p->pixel1 + k * p->step1, p->bits1);
                const int32_t x2 = mcuc_wide_get(b, i * p->pixel2 + k * p->step2, p->bits2);
                const int64_t acc = (int64_t)(x1 - p->zp1) * p->m1 + (int64_t)(x2 - p->zp2) * p->m2;
                mcuc_wide_put(o, at, p->out_bits,
                              mcuc_wide_scale(acc, 1, p->shift, p->zp, p->lo, p->hi));
            }
        }
    }
}

#endif
