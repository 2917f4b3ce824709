/* mcuc_softmax_s8: softmax of each pixel.
 *
 * computes       the integer algorithm of mcucompile.quant.softmax, step by step
 * layout         rows of `pixels` pixels of `width` bytes; table[d] = exp(-d * scale) * 2^bits for
 *                the first `entries` distances d from the pixel's maximum, 0 beyond
 * preconditions  width * table[0] < 2^32
 * aliasing       the output may take the place of the input
 * scratch        none
 * exactness      equals mcucompile.quant.softmax.SoftmaxRule
 * speed          27 instructions per element (Cortex-M4)
 */
#ifndef MCUC_SOFTMAX_H
#define MCUC_SOFTMAX_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, width;
    const uint32_t *table;
    int32_t entries;
    int32_t m;
    int32_t zp;
} mcuc_softmax_s8_params;

MCUC_KERNEL void mcuc_softmax_pixel(const mcuc_softmax_s8_params *p, const int8_t *x, int8_t *o) {
    int32_t max = x[0];
    for (int32_t i = 1; i < p->width; i++) {
        max = x[i] > max ? x[i] : max;
    }
    uint32_t sum = 0;
    for (int32_t i = 0; i < p->width; i++) {
        int32_t d = max - x[i];
        sum += d < p->entries ? p->table[d] : 0;
    }
    const int32_t zeros = __builtin_clz(sum);
    const uint32_t inverse = 0xFFFFFFFFu / ((sum << zeros) >> 16);
    for (int32_t i = 0; i < p->width; i++) {
        int32_t d = max - x[i];
        uint32_t e = d < p->entries ? p->table[d] : 0;
        int32_t t = (int32_t)(((uint64_t)e * inverse) >> (24 - zeros));
        o[i] = mcuc_clamp8(mcuc_mul_round(t, p->m, p->zp), -128, 127);
    }
}

MCUC_KERNEL void mcuc_softmax_s8(const mcuc_softmax_s8_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = p->pixels; i > 0; i--, x += p->width, o += p->width) {
            mcuc_softmax_pixel(p, x, o);
        }
    }
}

#endif
