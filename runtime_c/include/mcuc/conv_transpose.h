/* mcuc_conv_transpose_s8: transposed convolution of any kernel, stride, padding, dilation, groups.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx][k] * x[iy][ix][k]) over all taps
 *                with iy * sh + ky * dh = oy + top, ix * sw + kx * dw = ox + left; outside of the
 *                input x is in_zp; channel c sees the cin / groups channels k of its group
 * layout         NHWC. Output rows with the same (oy + top) % sh = f see the same taps, row_taps[f]
 *                in number: the first one meets input row (oy + top) / sh - row_back[f], and each
 *                further one `dh` rows below. Columns likewise. So all pixels with the same row
 *                phase f and column phase g are a convolution, whose weights, as those of conv2d.h,
 *                begin at weights[starts[f * sw + g]]
 * preconditions  each of these convolutions has at least one tap, and the input zero-point folded
 *                into its bias; sums stay within int32, and within 2^23 unless `wide`
 * aliasing       none
 * scratch        16 * ceil(taps * cin / groups / 2) bytes for the most taps: windows of 4 pixels
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4), stride 2: 1.16 for 2x2 from 64 to 32 channels,
 *                1.10 for 4x4 from 32 to 16, 0.85 for 3x3 from 16 to 8; 0.02 for groups of one
 */
#ifndef MCUC_CONV_TRANSPOSE_H
#define MCUC_CONV_TRANSPOSE_H

#include "mcuc/conv2d.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t sh, sw, dh, dw;
    int32_t top, left;
    int32_t groups;
    int32_t in_zp;
    const int16_t *row_taps;
    const int16_t *row_back;
    const int16_t *col_taps;
    const int16_t *col_back;
    const int32_t *starts;
    const uint32_t *weights;
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv_transpose_s8_params;

/* The pixels of column phase g in row y, which has phase f, to the output row o. */
MCUC_KERNEL void mcuc_conv_transpose_phase(const mcuc_conv_transpose_s8_params *p,
                                           const mcuc_src *in, int32_t y, int32_t f, int32_t g,
                                           int8_t *o, uint32_t *tile) {
    const int32_t left = p->left % p->sw, ox = g >= left ? g - left : g - left + p->sw;
    const mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    mcuc_conv2d_s8_params conv = {
        .in_h = p->in_h,
        .in_w = p->in_w,
        .cin = p->cin,
        .cout = p->cout,
        .kh = p->row_taps[f],
        .kw = p->col_taps[g],
        .sh = 1,
        .sw = 1,
        .dh = p->dh,
        .dw = p->dw,
        .top = p->row_back[f] - (y + p->top) / p->sh,
        .left = p->col_back[g] - (ox + p->left) / p->sw,
        .groups = p->groups,
        .in_zp = p->in_zp,
        .weights = p->weights + p->starts[f * p->sw + g],
    };
    const int32_t count = ox < p->out_w ? (p->out_w - ox - 1) / p->sw + 1 : 0;
    o += ox * p->cout;
    if (p->wide) {
        mcuc_conv2d_row(&conv, in, 0, count, o, p->sw * p->cout, tile, 1, rescale);
    } else {
        mcuc_conv2d_row(&conv, in, 0, count, o, p->sw * p->cout, tile, 0, rescale);
    }
}

MCUC_KERNEL void mcuc_conv_transpose_s8(const mcuc_conv_transpose_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1,
                                        void *scratch) {
    for (int32_t y = y0; y < y1; y++) {
        for (int32_t g = 0; g < p->sw; g++) {
            mcuc_conv_transpose_phase(p, in, y, (y + p->top) % p->sh, g, mcuc_dst_row(out, y),
                                      (uint32_t *)scratch);
        }
    }
}

#endif
