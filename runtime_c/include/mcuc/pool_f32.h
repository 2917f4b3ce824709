/* mcuc_average_pool_f32, mcuc_max_pool_f32: pools of float32 numbers.
 *
 * computes       per channel the mean or the maximum of the numbers that are in the window,
 * clamped. A mean is the sum of the numbers, added to 0 one by one from the top and from the left,
 * over how many positions count: with the zeros around the image that count_* say layout NHWC
 * preconditions  a number in each window; rows are 4-byte aligned
 * aliasing       row by row from the top, each from left to right; no overlap
 * scratch        none
 * exactness      equals mcucompile.ops.float_pools
 */
#ifndef MCUC_POOL_F32_H
#define MCUC_POOL_F32_H

#include "mcuc/float32.h"
#include "mcuc/taps.h"

typedef struct {
    int32_t height, width, channels, out_width;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_left;
    int32_t count_top, count_left, count_bottom, count_right;
    float lo, hi;
} mcuc_average_pool_f32_params;

typedef struct {
    int32_t height, width, channels, out_width;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_left;
    float lo, hi;
} mcuc_max_pool_f32_params;

MCUC_KERNEL void mcuc_average_pool_f32(const mcuc_average_pool_f32_params *p, const mcuc_src *in,
                                       const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const int32_t dh = p->dilation_h, dw = p->dilation_w;
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_float *o = mcuc_float_dst(out, y);
        const int32_t iy = y * p->stride_h - p->pad_top;
        const mcuc_taps rows = mcuc_taps_within(iy, dh, p->kernel_h, 0, p->height);
        const mcuc_taps high =
            mcuc_taps_within(iy, dh, p->kernel_h, -p->count_top, p->height + p->count_bottom);
        for (int32_t ox = 0; ox < p->out_width; ox++) {
            const int32_t ix = ox * p->stride_w - p->pad_left;
            const mcuc_taps cols = mcuc_taps_within(ix, dw, p->kernel_w, 0, p->width);
            const mcuc_taps wide =
                mcuc_taps_within(ix, dw, p->kernel_w, -p->count_left, p->width + p->count_right);
            const float count = (float)((high.end - high.first) * (wide.end - wide.first));
            for (int32_t c = 0; c < p->channels; c++) {
                float sum = 0.0f;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const mcuc_float *x = mcuc_float_src(in, iy + ky * dh) + c;
                    for (int32_t kx = cols.first; kx < cols.end; kx++) {
                        sum += x[(ix + kx * dw) * p->channels];
                    }
                }
                *o++ = mcuc_clamp_f32(sum / count, p->lo, p->hi);
            }
        }
    }
}

MCUC_KERNEL void mcuc_max_pool_f32(const mcuc_max_pool_f32_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const int32_t dh = p->dilation_h, dw = p->dilation_w;
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_float *o = mcuc_float_dst(out, y);
        const int32_t iy = y * p->stride_h - p->pad_top;
        const mcuc_taps rows = mcuc_taps_within(iy, dh, p->kernel_h, 0, p->height);
        for (int32_t ox = 0; ox < p->out_width; ox++) {
            const int32_t ix = ox * p->stride_w - p->pad_left;
            const mcuc_taps cols = mcuc_taps_within(ix, dw, p->kernel_w, 0, p->width);
            for (int32_t c = 0; c < p->channels; c++) {
                float largest = p->lo;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const mcuc_float *x = mcuc_float_src(in, iy + ky * dh) + c;
                    for (int32_t kx = cols.first; kx < cols.end; kx++) {
                        const float v = x[(ix + kx * dw) * p->channels];
                        largest = v > largest ? v : largest;
                    }
                }
                *o++ = largest < p->hi ? largest : p->hi;
            }
        }
    }
}

#endif
