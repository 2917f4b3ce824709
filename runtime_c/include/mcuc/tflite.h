/* Operators that TFLite rounds otherwise than the number contract, bit for bit as its reference
 * kernels do.
 *
 * mcuc_add_tflite_s8   y = clamp(zp + S(S1((x1 - zp1) << 20) + sign * S2((x2 - zp2) << 20)), lo,
 * hi) mcuc_mean_tflite_s8  y = clamp(zp + round(S(sum - zero) / count), lo, hi) per channel, one
 * half away from zero
 *
 * S is mcuc_tflite_scale with the m and e of the same number.
 *
 * layout         add: as mcuc_add_s8. mean: one row of `count` pixels of `channels` bytes
 * preconditions  sums are within int32
 * aliasing       add: each element is read before its result is written. mean: all of a channel is
 *                read before its result is written. The output may take the place of an input of
 *                its own size, for the mean of its input.
 * scratch        none
 * exactness      equals mcucompile.quant.tflite
 */
#ifndef MCUC_TFLITE_H
#define MCUC_TFLITE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t zp1, zp2, zp;
    int32_t m1, e1, m2, e2, m, e;
    int32_t sign;
    int32_t lo, hi;
} mcuc_add_tflite_s8_params;

MCUC_KERNEL int8_t mcuc_add_tflite(const mcuc_add_tflite_s8_params *p, int32_t a, int32_t b) {
    const int32_t x = mcuc_tflite_scale((a - p->zp1) * (1 << 20), p->m1, p->e1);
    const int32_t y = mcuc_tflite_scale((b - p->zp2) * (1 << 20), p->m2, p->e2);
    const int32_t sum = mcuc_tflite_scale(x + p->sign * y, p->m, p->e);
    return (int8_t)mcuc_clamp(sum + p->zp, p->lo, p->hi);
}

MCUC_KERNEL void mcuc_add_tflite_s8(const mcuc_add_tflite_s8_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y);
        const int8_t *b = mcuc_src_row(&in[1], y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < p->pixels; i++, a += p->pixel1, b += p->pixel2) {
            for (int32_t c = 0; c < p->width; c++) {
                *o++ = mcuc_add_tflite(p, a[c * p->step1], b[c * p->step2]);
            }
        }
    }
}

typedef struct {
    int32_t channels, count;
    int32_t zero;
    int32_t m, e;
    int32_t zp;
    int32_t lo, hi;
} mcuc_mean_tflite_s8_params;

MCUC_KERNEL void mcuc_mean_tflite_s8(const mcuc_mean_tflite_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1, (void)scratch;
    const int8_t *x = mcuc_src_row(in, 0);
    int8_t *o = mcuc_dst_row(out, 0);
    for (int32_t c = 0; c < p->channels; c++) {
        int32_t sum = -p->zero;
        for (int32_t i = 0; i < p->count; i++) {
            sum += x[i * p->channels + c];
        }
        sum = mcuc_tflite_scale(sum, p->m, p->e);
        sum = (sum + (sum > 0 ? p->count / 2 : -(p->count / 2))) / p->count;
        o[c] = (int8_t)mcuc_clamp(sum + p->zp, p->lo, p->hi);
    }
}

#endif
