/* mcuc_conv1x1_s8: pointwise convolution, and dense layers over many pixels.
 *
 * computes       y[p][c] = requant(bias[c] + sum_k w[c][k] * x[p][k]) for each pixel p of a row
 * layout         rows of `width` pixels; x: cin, y: cout bytes per pixel. weights: see gemm.h,
 *                elements in word order if cin % 4 == 0, in natural order otherwise
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`
 * aliasing       the output may take the place of the input if cout <= cin and rows == 1: each tile
 *                of pixels is expanded before its results are written at or below its start
 * scratch        16 * ceil(cin / 2) bytes: a tile of 4 pixels
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 1.21 for cin = 64, 0.93 for 16, 0.73 for 8
 *
 * mcuc_conv1x1_s8 is for layers with shift 0, no clamp and not wide; mcuc_conv1x1_any_s8 for all.
 */
#ifndef MCUC_CONV1X1_H
#define MCUC_CONV1X1_H

#include "mcuc/gemm.h"

typedef struct {
    int32_t width;
    int32_t cin, cout;
    const uint32_t *weights;
    int32_t wide;
    int32_t shift, zp, lo, hi;
} mcuc_conv1x1_s8_params;

typedef mcuc_conv1x1_s8_params mcuc_conv1x1_any_s8_params;

MCUC_KERNEL void mcuc_conv1x1_tile(const int8_t *x, int8_t *o, uint32_t *tile, int32_t n,
                                   int32_t cin, int32_t cout, const uint32_t *weights, int32_t wide,
                                   mcuc_rescale rescale) {
    mcuc_gemm_put(tile, n, 0, x, cin, cin, cin % 4 == 0);
    mcuc_gemm_tile(tile, weights, (cin + 1) / 2, n, wide, cout, o, cout, rescale);
}

MCUC_KERNEL void mcuc_conv1x1_rows(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                   int32_t wide, mcuc_rescale rescale) {
    const int32_t cin = p->cin, cout = p->cout, width = p->width;
    const uint32_t *weights = p->weights;
    uint32_t *tile = (uint32_t *)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = width / 4; i > 0; i--) {
            mcuc_conv1x1_tile(x, o, tile, 4, cin, cout, weights, wide, rescale);
            x += 4 * cin;
            o += 4 * cout;
        }
        if (width & 2) {
            mcuc_conv1x1_tile(x, o, tile, 2, cin, cout, weights, wide, rescale);
            x += 2 * cin;
            o += 2 * cout;
        }
        if (width & 1) {
            mcuc_conv1x1_tile(x, o, tile, 1, cin, cout, weights, wide, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv1x1_s8(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv1x1_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_any_s8(const mcuc_conv1x1_any_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv1x1_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv1x1_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
