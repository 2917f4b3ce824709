/* mcuc_conv2d_f32, mcuc_depthwise_f32: convolutions and dense layers of float32 numbers.
 *
 * computes       y[oy][ox][c] = clamp(bias[c] + sum w[c][ky][kx][k] * x[iy][ix][k]) with
 *                iy = oy * sh - top + ky * dh, ix = ox * sw - left + kx * dw, as far as they are
 *                inside; channel c sees the cin / groups channels k of its group. The terms are
 *                added to the bias one by one, in the order of ky, kx, k.
 * layout         NHWC; weights of each group: OHWI of four output channels at a time, with the four
 *                innermost; the channels that are left one by one. mcuc_depthwise_f32, in which
 * each channel is a group: HWC preconditions  rows are 4-byte aligned aliasing       row by row
 * from the top, each from left to right; no overlap scratch        none exactness      equals
 * mcucompile.quant.float32.sums_of_products
 */
#ifndef MCUC_CONV2D_F32_H
#define MCUC_CONV2D_F32_H

#include "mcuc/float32.h"
#include "mcuc/taps.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw;
    int32_t top, left;
    int32_t groups;
    const float *weights;
    const float *bias;
    float lo, hi;
} mcuc_conv2d_f32_params;

typedef mcuc_conv2d_f32_params mcuc_depthwise_f32_params;

typedef struct {
    float v[4];
} mcuc_four_f32;

/* A window: where its first position is, and which of its taps are inside of the image. */
typedef struct {
    int32_t iy, ix;
    mcuc_taps rows, cols;
} mcuc_window_f32;

MCUC_KERNEL mcuc_window_f32 mcuc_window_of_f32(const mcuc_conv2d_f32_params *p, int32_t y,
                                               int32_t ox) {
    mcuc_window_f32 at;
    at.iy = y * p->sh - p->top;
    at.ix = ox * p->sw - p->left;
    at.rows = mcuc_taps_within(at.iy, p->dh, p->kh, 0, p->in_h);
    at.cols = mcuc_taps_within(at.ix, p->dw, p->kw, 0, p->in_w);
    return at;
}

/* Four sums, and to each of them `count` products of numbers at x and every fourth weight. */
MCUC_KERNEL mcuc_four_f32 mcuc_dot4_f32(mcuc_four_f32 acc, const mcuc_float *x, const float *w,
                                        int32_t count) {
    float a = acc.v[0], b = acc.v[1], c = acc.v[2], d = acc.v[3];
    for (const mcuc_float *end = x + count; x < end; w += 4) {
        const float v = *x++;
        a = mcuc_add_product(a, v, w[0]);
        b = mcuc_add_product(b, v, w[1]);
        c = mcuc_add_product(c, v, w[2]);
        d = mcuc_add_product(d, v, w[3]);
    }
    acc.v[0] = a, acc.v[1] = b, acc.v[2] = c, acc.v[3] = d;
    return acc;
}

/* The sums of four channels at two pixels. */
typedef struct {
    mcuc_four_f32 at[2];
} mcuc_eight_f32;

/* The same for two pixels, whose numbers lie `step` apart. */
MCUC_KERNEL mcuc_eight_f32 mcuc_dot8_f32(mcuc_eight_f32 acc, const mcuc_float *x, int32_t step,
                                         const float *w, int32_t count) {
    float a = acc.at[0].v[0], b = acc.at[0].v[1], c = acc.at[0].v[2], d = acc.at[0].v[3];
    float e = acc.at[1].v[0], f = acc.at[1].v[1], g = acc.at[1].v[2], h = acc.at[1].v[3];
    for (const mcuc_float *end = x + count; x < end; x++, w += 4) {
        const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], first = x[0], second = x[step];
        a = mcuc_add_product(a, first, w0);
        b = mcuc_add_product(b, first, w1);
        c = mcuc_add_product(c, first, w2);
        d = mcuc_add_product(d, first, w3);
        e = mcuc_add_product(e, second, w0);
        f = mcuc_add_product(f, second, w1);
        g = mcuc_add_product(g, second, w2);
        h = mcuc_add_product(h, second, w3);
    }
    acc.at[0].v[0] = a, acc.at[0].v[1] = b, acc.at[0].v[2] = c, acc.at[0].v[3] = d;
    acc.at[1].v[0] = e, acc.at[1].v[1] = f, acc.at[1].v[2] = g, acc.at[1].v[3] = h;
    return acc;
}

MCUC_KERNEL float mcuc_dot_f32(float acc, const mcuc_float *x, const float *w, int32_t count) {
    for (const mcuc_float *end = x + count; x < end; x++, w++) {
        acc = mcuc_add_product(acc, *x, *w);
    }
    return acc;
}

/* Four channels at the window `at`; k: the first channel that they see. */
MCUC_KERNEL mcuc_four_f32 mcuc_conv2d_f32_four(const mcuc_conv2d_f32_params *p, const mcuc_src *in,
                                               const mcuc_window_f32 *at, int32_t k, const float *w,
                                               mcuc_four_f32 acc) {
    const int32_t depth = p->cin / p->groups, taps = at->cols.end - at->cols.first;
    for (int32_t ky = at->rows.first; ky < at->rows.end; ky++) {
        const mcuc_float *row = mcuc_float_src(in, at->iy + ky * p->dh) + k;
        const float *wk = w + 4 * (ky * p->kw + at->cols.first) * depth;
        row += (at->ix + at->cols.first * p->dw) * p->cin;
        if (p->groups == 1 && p->dw == 1) { /* the pixels are in one piece */
            acc = mcuc_dot4_f32(acc, row, wk, taps * depth);
            continue;
        }
        for (int32_t i = 0; i < taps; i++, row += p->dw * p->cin, wk += 4 * depth) {
            acc = mcuc_dot4_f32(acc, row, wk, depth);
        }
    }
    return acc;
}

/* The same at the window `at` and the next one, of which the same taps are inside. */
MCUC_KERNEL mcuc_eight_f32 mcuc_conv2d_f32_eight(const mcuc_conv2d_f32_params *p,
                                                 const mcuc_src *in, const mcuc_window_f32 *at,
                                                 int32_t k, const float *w, mcuc_eight_f32 acc) {
    const int32_t depth = p->cin / p->groups, taps = at->cols.end - at->cols.first;
    for (int32_t ky = at->rows.first; ky < at->rows.end; ky++) {
        const mcuc_float *row = mcuc_float_src(in, at->iy + ky * p->dh) + k;
        const float *wk = w + 4 * (ky * p->kw + at->cols.first) * depth;
        row += (at->ix + at->cols.first * p->dw) * p->cin;
        if (p->groups == 1 && p->dw == 1) {
            acc = mcuc_dot8_f32(acc, row, p->sw * p->cin, wk, taps * depth);
            continue;
        }
        for (int32_t i = 0; i < taps; i++, row += p->dw * p->cin, wk += 4 * depth) {
            acc = mcuc_dot8_f32(acc, row, p->sw * p->cin, wk, depth);
        }
    }
    return acc;
}

/* The same for a single channel. */
MCUC_KERNEL float mcuc_conv2d_f32_one(const mcuc_conv2d_f32_params *p, const mcuc_src *in,
                                      const mcuc_window_f32 *at, int32_t k, const float *w,
                                      float acc) {
    const int32_t depth = p->cin / p->groups, taps = at->cols.end - at->cols.first;
    for (int32_t ky = at->rows.first; ky < at->rows.end; ky++) {
        const mcuc_float *row = mcuc_float_src(in, at->iy + ky * p->dh) + k;
        const float *wk = w + (ky * p->kw + at->cols.first) * depth;
        row += (at->ix + at->cols.first * p->dw) * p->cin;
        for (int32_t i = 0; i < taps; i++, row += p->dw * p->cin, wk += depth) {
            acc = mcuc_dot_f32(acc, row, wk, depth);
        }
    }
    return acc;
}

MCUC_KERNEL void mcuc_put_clamped(const mcuc_conv2d_f32_params *p, mcuc_float *o,
                                  mcuc_four_f32 acc) {
    o[0] = mcuc_clamp_f32(acc.v[0], p->lo, p->hi);
    o[1] = mcuc_clamp_f32(acc.v[1], p->lo, p->hi);
    o[2] = mcuc_clamp_f32(acc.v[2], p->lo, p->hi);
    o[3] = mcuc_clamp_f32(acc.v[3], p->lo, p->hi);
}

/* The results at o of a group of channels at one pixel, or at two; w, b: its weights and biases. */
MCUC_KERNEL void mcuc_conv2d_f32_group(const mcuc_conv2d_f32_params *p, const mcuc_src *in,
                                       const mcuc_window_f32 *at, int32_t pixels, int32_t k,
                                       const float *w, const float *b, mcuc_float *o) {
    const int32_t each = p->cout / p->groups, size = p->kh * p->kw * (p->cin / p->groups);
    int32_t c = 0;
    for (; c + 4 <= each; c += 4, w += 4 * size) {
        const mcuc_four_f32 bias = {{b[c], b[c + 1], b[c + 2], b[c + 3]}};
        if (pixels == 2) {
            mcuc_eight_f32 acc = {{bias, bias}};
            acc = mcuc_conv2d_f32_eight(p, in, at, k, w, acc);
            mcuc_put_clamped(p, o + c, acc.at[0]);
            mcuc_put_clamped(p, o + p->cout + c, acc.at[1]);
        } else {
            mcuc_put_clamped(p, o + c, mcuc_conv2d_f32_four(p, in, at, k, w, bias));
        }
    }
    for (; c < each; c++, w += size) {
        for (int32_t i = 0; i < pixels; i++) {
            const float sum = mcuc_conv2d_f32_one(p, in, &at[i], k, w, b[c]);
            o[i * p->cout + c] = mcuc_clamp_f32(sum, p->lo, p->hi);
        }
    }
}

/* One pixel, or two. */
MCUC_KERNEL void mcuc_conv2d_f32_pixels(const mcuc_conv2d_f32_params *p, const mcuc_src *in,
                                        const mcuc_window_f32 *at, int32_t pixels, mcuc_float *o) {
    const int32_t each = p->cout / p->groups, depth = p->cin / p->groups;
    const float *w = p->weights, *b = p->bias;
    for (int32_t g = 0; g < p->groups; g++) {
        mcuc_conv2d_f32_group(p, in, at, pixels, g * depth, w, b, o);
        w += each * p->kh * p->kw * depth, b += each, o += each;
    }
}

MCUC_KERNEL void mcuc_conv2d_f32(const mcuc_conv2d_f32_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t ox = 0, pixels = 1; ox < p->out_w; ox += pixels, o += pixels * p->cout) {
            const mcuc_window_f32 at[2] = {mcuc_window_of_f32(p, y, ox),
                                           mcuc_window_of_f32(p, y, ox + 1)};
            pixels = 1 + (ox + 1 < p->out_w && at[0].cols.first == at[1].cols.first &&
                          at[0].cols.end == at[1].cols.end);
            mcuc_conv2d_f32_pixels(p, in, at, pixels, o);
        }
    }
}

/* The results at o of the channels from c on, four of them. */
MCUC_KERNEL void mcuc_depthwise_f32_four(const mcuc_depthwise_f32_params *p, const mcuc_src *in,
                                         const mcuc_window_f32 *at, int32_t c, mcuc_float *o) {
    const float *bias = p->bias + c;
    mcuc_four_f32 acc = {{bias[0], bias[1], bias[2], bias[3]}};
    for (int32_t ky = at->rows.first; ky < at->rows.end; ky++) {
        const mcuc_float *x = mcuc_float_src(in, at->iy + ky * p->dh) + c;
        const float *w = p->weights + (ky * p->kw + at->cols.first) * p->cin + c;
        x += (at->ix + at->cols.first * p->dw) * p->cin;
        for (int32_t kx = at->cols.first; kx < at->cols.end; kx++) {
            acc.v[0] = mcuc_add_product(acc.v[0], x[0], w[0]);
            acc.v[1] = mcuc_add_product(acc.v[1], x[1], w[1]);
            acc.v[2] = mcuc_add_product(acc.v[2], x[2], w[2]);
            acc.v[3] = mcuc_add_product(acc.v[3], x[3], w[3]);
            x += p->dw * p->cin, w += p->cin;
        }
    }
    mcuc_put_clamped(p, o, acc);
}

/* The result of channel c. */
MCUC_KERNEL float mcuc_depthwise_f32_one(const mcuc_depthwise_f32_params *p, const mcuc_src *in,
                                         const mcuc_window_f32 *at, int32_t c) {
    float acc = p->bias[c];
    for (int32_t ky = at->rows.first; ky < at->rows.end; ky++) {
        const mcuc_float *x = mcuc_float_src(in, at->iy + ky * p->dh) + c;
        const float *w = p->weights + (ky * p->kw + at->cols.first) * p->cin + c;
        x += (at->ix + at->cols.first * p->dw) * p->cin;
        for (int32_t kx = at->cols.first; kx < at->cols.end; kx++) {
            acc = mcuc_add_product(acc, *x, *w);
            x += p->dw * p->cin, w += p->cin;
        }
    }
    return mcuc_clamp_f32(acc, p->lo, p->hi);
}

MCUC_KERNEL void mcuc_depthwise_f32(const mcuc_depthwise_f32_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_float *o = mcuc_float_dst(out, y);
        for (int32_t ox = 0; ox < p->out_w; ox++, o += p->cin) {
            const mcuc_window_f32 at = mcuc_window_of_f32(p, y, ox);
            int32_t c = 0;
            for (; c + 4 <= p->cin; c += 4) {
                mcuc_depthwise_f32_four(p, in, &at, c, o + c);
            }
            for (; c < p->cin; c++) {
                o[c] = mcuc_depthwise_f32_one(p, in, &at, c);
            }
        }
    }
}

#endif
