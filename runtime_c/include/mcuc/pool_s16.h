/* mcuc_average_pool_s16, mcuc_max_pool_s16: pools of int16 numbers, or to int16.
 *
 * computes       per channel the mean or the maximum of the numbers that are in the window; of
 *                the mean: scale(sum - n * in_zp, (numerator + count / 2) / count), where n numbers
 *                are in the window and `count` positions count: with the zeros around the image
 *                that count_* say
 * layout         NHWC
 * preconditions  a number in each window; int16 rows are 2-byte aligned; maxima are int16
 * aliasing       row by row from the top, each from left to right; no overlap
 * scratch        none
 * exactness      equals mcucompile.quant.wide.WideMean; maxima are exact
 */
#ifndef MCUC_POOL_S16_H
#define MCUC_POOL_S16_H

#include "mcuc/taps.h"
#include "mcuc/wide.h"

typedef struct {
    int32_t height, width, channels, out_width, in_bits;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_left;
    int32_t count_top, count_left, count_bottom, count_right;
    int32_t in_zp, numerator, shift;
    int32_t out_bits, zp, lo, hi;
} mcuc_average_pool_s16_params;

typedef struct {
    int32_t height, width, channels, out_width, in_bits;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_left;
    int32_t lo, hi;
} mcuc_max_pool_s16_params;

MCUC_KERNEL int32_t mcuc_taps_count(mcuc_taps t) {
    return t.end - t.first;
}

MCUC_KERNEL void mcuc_average_pool_s16(const mcuc_average_pool_s16_params *p, const mcuc_src *in,
                                       const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        int8_t *o = mcuc_dst_row(out, y);
        const int32_t iy = y * p->stride_h - p->pad_top, dh = p->dilation_h, dw = p->dilation_w;
        const mcuc_taps rows = mcuc_taps_within(iy, dh, p->kernel_h, 0, p->height);
        const int32_t high = mcuc_taps_count(
            mcuc_taps_within(iy, dh, p->kernel_h, -p->count_top, p->height + p->count_bottom));
        for (int32_t ox = 0, at = 0; ox < p->out_width; ox++) {
            const int32_t ix = ox * p->stride_w - p->pad_left;
            const mcuc_taps cols = mcuc_taps_within(ix, dw, p->kernel_w, 0, p->width);
            const int32_t wide = mcuc_taps_count(
                mcuc_taps_within(ix, dw, p->kernel_w, -p->count_left, p->width + p->count_right));
            const int32_t count = high * wide, n = mcuc_taps_count(rows) * mcuc_taps_count(cols);
            const int32_t m =
                (int32_t)(((uint32_t)p->numerator + (uint32_t)count / 2) / (uint32_t)count);
            for (int32_t c = 0; c < p->channels; c++, at++) {
                int64_t sum = -(int64_t)n * p->in_zp;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const int8_t *row = mcuc_src_row(in, iy + ky * dh);
                    for (int32_t kx = cols.first; kx < cols.end; kx++) {
                        sum += mcuc_wide_get(row, (ix + kx * dw) * p->channels + c, p->in_bits);
                    }
                }
                mcuc_wide_put(o, at, p->out_bits,
                              mcuc_wide_scale(sum, m, p->shift, p->zp, p->lo, p->hi));
            }
        }
    }
}

MCUC_KERNEL void mcuc_max_pool_s16(const mcuc_max_pool_s16_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        int8_t *o = mcuc_dst_row(out, y);
        const int32_t iy = y * p->stride_h - p->pad_top, dh = p->dilation_h, dw = p->dilation_w;
        const mcuc_taps rows = mcuc_taps_within(iy, dh, p->kernel_h, 0, p->height);
        for (int32_t ox = 0, at = 0; ox < p->out_width; ox++) {
            const int32_t ix = ox * p->stride_w - p->pad_left;
            const mcuc_taps cols = mcuc_taps_within(ix, dw, p->kernel_w, 0, p->width);
            for (int32_t c = 0; c < p->channels; c++, at++) {
                int32_t largest = p->lo;
                for (int32_t ky = rows.first; ky < rows.end; ky++) {
                    const int8_t *row = mcuc_src_row(in, iy + ky * dh);
                    for (int32_t kx = cols.first; kx < cols.end; kx++) {
                        const int32_t x =
                            mcuc_wide_get(row, (ix + kx * dw) * p->channels + c, p->in_bits);
                        largest = x > largest ? x : largest;
                    }
                }
                mcuc_store16(o + 2 * at, largest < p->hi ? largest : p->hi);
            }
        }
    }
}

#endif
