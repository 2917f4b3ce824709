/* The border between the caller's numbers and the int8 numbers of the model.
 *
 * mcuc_flip_s8          y = x - 128 for uint8 x, y = x + 128 for int8 x: the same bit
 * mcuc_lut_channels_s8  y = table[channel][x] for uint8 x
 * mcuc_quantize_f32     y = sat8(zp + x / scale), nearest, from one half to even; NaN: the lowest
 * mcuc_dequantize_f32   y = scale * (x - zp)
 * mcuc_dequantize_s16_f32  the same for int16 x
 *
 * layout         rows of `width` numbers; for mcuc_lut_channels_s8 of `blocks` blocks, which are
 *                `channels` runs of `run` numbers of one channel (1 in NHWC, a plane in NCHW)
 * preconditions  float rows are 4-byte aligned, int16 rows 2-byte aligned
 * aliasing       number by number, each is read before its result is written
 * scratch        none
 * exactness      of float: one operation of IEEE 754, rounded as it says. An FPU and a software
 *                library give the same bits; libm is not needed.
 */
#ifndef MCUC_BORDER_H
#define MCUC_BORDER_H

#include "mcuc/float32.h"
#include "mcuc/wide.h"

typedef struct {
    int32_t width;
} mcuc_flip_s8_params;

MCUC_KERNEL void mcuc_flip_s8(const mcuc_flip_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                              int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        int32_t n = p->width;
        if (mcuc_is_aligned(x) && mcuc_is_aligned(o)) {
            for (; n >= 4; n -= 4, x += 4, o += 4) {
                mcuc_store32(o, mcuc_load32(x) ^ 0x80808080u);
            }
        }
        for (; n > 0; n--) {
            *o++ = (int8_t)(*x++ ^ -128);
        }
    }
}

typedef struct {
    int32_t blocks, channels, run;
    const int8_t *table;
} mcuc_lut_channels_s8_params;

MCUC_KERNEL void mcuc_lut_channels_s8(const mcuc_lut_channels_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const uint8_t *x = (const uint8_t *)mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t block = 0; block < p->blocks; block++) {
            const int8_t *table = p->table;
            for (int32_t c = 0; c < p->channels; c++, table += 256) {
                for (int32_t i = 0; i < p->run; i++) {
                    *o++ = table[*x++];
                }
            }
        }
    }
}

typedef struct {
    int32_t width;
    float scale;
    int32_t zp;
} mcuc_quantize_f32_params;

/* Near 1.5 * 2^23 the distance of neighbouring numbers is 1: adding it leaves the nearest integer,
 * the even one of two, in the low bits. */
MCUC_KERNEL int8_t mcuc_nearest8(float v, int32_t zp) {
    const float lo = (float)(-128 - zp), hi = (float)(127 - zp);
    uint32_t bits;
    v = v > lo ? v : lo; /* NaN is not greater either */
    v = v < hi ? v : hi;
    v += 12582912.0f;
    memcpy(&bits, &v, 4);
    return (int8_t)((int32_t)(bits - 0x4B400000u) + zp);
}

MCUC_KERNEL void mcuc_quantize_f32(const mcuc_quantize_f32_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const mcuc_float *x = mcuc_float_src(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t n = p->width; n > 0; n--) {
            *o++ = mcuc_nearest8(*x++ / p->scale, p->zp);
        }
    }
}

typedef mcuc_quantize_f32_params mcuc_dequantize_f32_params;

MCUC_KERNEL void mcuc_dequantize_f32(const mcuc_dequantize_f32_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t n = p->width; n > 0; n--) {
            *o++ = p->scale * (float)(*x++ - p->zp);
        }
    }
}

typedef mcuc_quantize_f32_params mcuc_dequantize_s16_f32_params;

MCUC_KERNEL void mcuc_dequantize_s16_f32(const mcuc_dequantize_s16_f32_params *p,
                                         const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                         int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t i = 0; i < p->width; i++) {
            *o++ = p->scale * (float)(mcuc_wide_get(x, i, 16) - p->zp);
        }
    }
}

#endif
