/* mcuc_max_pool_b1: the largest number in each window over bits, that is whether one of them is 1.
 *
 * computes       y[oy][ox][c] = 1 if x[iy][ix][c] is 1 for a position (iy, ix) of the window that
 * is inside of the image; else 0 layout         pixels are words of 32 channels, channel c at bit c
 * % 32 of word c / 32 aliasing       Rows are computed from top to bottom, each from left to right;
 * a window is read before its result is written. exactness      exact
 */
#ifndef MCUC_BINARY_POOL_H
#define MCUC_BINARY_POOL_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t words; /* of a pixel */
    int32_t height, width;
    int32_t out_width;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_top, pad_left;
} mcuc_max_pool_b1_params;

/* Word w of a window whose first position is (iy, ix). */
MCUC_KERNEL uint32_t mcuc_max_pool_b1_word(const mcuc_max_pool_b1_params *p, const mcuc_src *in,
                                           int32_t iy, int32_t ix, int32_t w) {
    uint32_t any = 0;
    for (int32_t ky = 0; ky < p->kernel_h; ky++, iy += p->dilation_h) {
        if (iy < 0 || iy >= p->height) {
            continue;
        }
        const int8_t *row = mcuc_src_row(in, iy) + 4 * w;
        for (int32_t kx = 0; kx < p->kernel_w; kx++) {
            int32_t at = ix + kx * p->dilation_w;
            if (at >= 0 && at < p->width) {
                any |= mcuc_load32(row + 4 * at * p->words);
            }
        }
    }
    return any;
}

MCUC_KERNEL void mcuc_max_pool_b1(const mcuc_max_pool_b1_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        int8_t *o = mcuc_dst_row(out, y);
        const int32_t iy = y * p->stride_h - p->pad_top;
        for (int32_t x = 0; x < p->out_width; x++) {
            for (int32_t w = 0; w < p->words; w++) {
                mcuc_store32(o, mcuc_max_pool_b1_word(p, in, iy, x * p->stride_w - p->pad_left, w));
                o += 4;
            }
        }
    }
}

#endif
