/* mcuc_add_f32, mcuc_mul_f32: sums and products of two float32 tensors; either may repeat.
 *
 * computes       y = clamp(x1 + x2), clamp(x1 - x2) if `subtract`, clamp(x1 * x2)
 * layout         rows of `pixels` times `width` numbers; operand i moves on by pixel<i> numbers
 *                per pixel and step<i> (0 or 1) numbers per element, and repeats rows if it has
 *                one only
 * preconditions  rows are 4-byte aligned
 * aliasing       number by number, each read before its result is written. The output may take the
 *                place of an input of its own size.
 * scratch        none
 * exactness      single operations of IEEE 754
 */
#ifndef MCUC_ELEMENTS_F32_H
#define MCUC_ELEMENTS_F32_H

#include "mcuc/float32.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t subtract;
    float lo, hi;
} mcuc_add_f32_params;

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    float lo, hi;
} mcuc_mul_f32_params;

MCUC_KERNEL void mcuc_add_f32(const mcuc_add_f32_params *p, const mcuc_src *in, const mcuc_dst *out,
                              int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const mcuc_float *a = mcuc_float_src(&in[0], y), *b = mcuc_float_src(&in[1], y);
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t i = 0; i < p->pixels; i++, a += p->pixel1, b += p->pixel2) {
            for (int32_t k = 0; k < p->width; k++) {
                const float x1 = a[k * p->step1], x2 = b[k * p->step2];
                *o++ = mcuc_clamp_f32(p->subtract ? x1 - x2 : x1 + x2, p->lo, p->hi);
            }
        }
    }
}

MCUC_KERNEL void mcuc_mul_f32(const mcuc_mul_f32_params *p, const mcuc_src *in, const mcuc_dst *out,
                              int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const mcuc_float *a = mcuc_float_src(&in[0], y), *b = mcuc_float_src(&in[1], y);
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t i = 0; i < p->pixels; i++, a += p->pixel1, b += p->pixel2) {
            for (int32_t k = 0; k < p->width; k++) {
                *o++ = mcuc_clamp_f32(a[k * p->step1] * b[k * p->step2], p->lo, p->hi);
            }
        }
    }
}

#endif
