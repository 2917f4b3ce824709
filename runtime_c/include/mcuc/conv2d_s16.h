/* mcuc_conv2d_s16: any convolution or dense layer with int16 activations in, out, or both.
 *
 * computes       y[oy][ox][c] = scale(bias[c] + sum w[c][ky][kx][k] * (x[iy][ix][k] - in_zp)) with
 *                iy = oy * sh - top + ky * dh, ix = ox * sw - left + kx * dw, as far as they are
 *                inside; channel c sees the cin / groups channels k of its group
 * layout         NHWC; weights OHWI, in word order (0, 2, 1, 3 of every four) if the input is int16
 *                and cin / groups % 4 == 0; scales: m and shift of each output channel
 * preconditions  int16 rows are 2-byte aligned
 * aliasing       row by row from the top, each from left to right; no overlap
 * scratch        none
 * exactness      equals mcucompile.quant.wide.WideRule on exact sums
 */
#ifndef MCUC_CONV2D_S16_H
#define MCUC_CONV2D_S16_H

#include "mcuc/wide.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw;
    int32_t top, left;
    int32_t groups;
    int32_t in_bits, in_zp;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *scales;
    int32_t out_bits, zp, lo, hi;
} mcuc_conv2d_s16_params;

/* acc + sum of w[i] * number k + i of an input row. */
MCUC_KERNEL int64_t mcuc_conv2d_s16_dot(const mcuc_conv2d_s16_params *p, int64_t acc,
                                        const int8_t *row, int32_t k, const int8_t *w,
                                        int32_t count) {
    if (p->in_bits == 16 && p->cin / p->groups % 4 == 0) {
        return mcuc_wide_dot_words(acc, row, k, w, count);
    }
    return mcuc_wide_dot(acc, row, k, p->in_bits, p->in_zp, w, count);
}

/* acc + what the weights w of one channel make of an input row; ix: the left edge of the window, k:
 * the first channel of the group. */
MCUC_KERNEL int64_t mcuc_conv2d_s16_row(const mcuc_conv2d_s16_params *p, int64_t acc,
                                        const int8_t *row, int32_t ix, int32_t k, const int8_t *w) {
    const int32_t depth = p->cin / p->groups, last = ix + p->kw;
    if (p->groups == 1 && p->dw == 1) { /* the pixels that are there, in one piece */
        const int32_t first = ix < 0 ? 0 : ix, end = last > p->in_w ? p->in_w : last;
        return first >= end ? acc
                            : mcuc_conv2d_s16_dot(p, acc, row, first * depth,
                                                  w + (first - ix) * depth, (end - first) * depth);
    }
    for (int32_t kx = 0; kx < p->kw; kx++, ix += p->dw, w += depth) {
        if (ix >= 0 && ix < p->in_w) {
            acc = mcuc_conv2d_s16_dot(p, acc, row, ix * p->cin + k, w, depth);
        }
    }
    return acc;
}

/* The sum of output channel c at pixel (ox, y). */
MCUC_KERNEL int64_t mcuc_conv2d_s16_sum(const mcuc_conv2d_s16_params *p, const mcuc_src *in,
                                        int32_t y, int32_t ox, int32_t c) {
    const int32_t depth = p->cin / p->groups, k = c / (p->cout / p->groups) * depth;
    const int8_t *w = p->weights + c * p->kh * p->kw * depth;
    int64_t acc = p->bias[c];
    int32_t iy = y * p->sh - p->top;
    for (int32_t ky = 0; ky < p->kh; ky++, iy += p->dh, w += p->kw * depth) {
        if (iy >= 0 && iy < p->in_h) {
            acc = mcuc_conv2d_s16_row(p, acc, mcuc_src_row(in, iy), ox * p->sw - p->left, k, w);
        }
    }
    return acc;
}

MCUC_KERNEL void mcuc_conv2d_s16(const mcuc_conv2d_s16_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t ox = 0, at = 0; ox < p->out_w; ox++) {
            for (int32_t c = 0; c < p->cout; c++, at++) {
                const int64_t acc = mcuc_conv2d_s16_sum(p, in, y, ox, c);
                mcuc_wide_put(o, at, p->out_bits,
                              mcuc_wide_scale(acc, p->scales[2 * c], p->scales[2 * c + 1], p->zp,
                                              p->lo, p->hi));
            }
        }
    }
}

#endif
