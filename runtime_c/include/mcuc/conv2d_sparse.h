/* mcuc_conv2d_sparse_s8: convolution of any window with block-sparse weights.
 *
 * computes       what conv2d.h does; its parameters and aliasing are the same
 * weights        see gemm_sparse.h, one group after the other
 * preconditions  the input zero-point is folded into the bias; sums stay within int32;
 *                cin / groups % 4 == 0; kh * kw * cin / groups < 4096; `wide` is not used
 * scratch        16 (8 if `small`) * kh * kw * cin / groups / 2 bytes: the windows of a tile
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 *
 * mcuc_conv2d_sparse_s8 is for layers with shift 0 and no clamp; mcuc_conv2d_sparse_any_s8 for all.
 */
#ifndef MCUC_CONV2D_SPARSE_H
#define MCUC_CONV2D_SPARSE_H

#include "mcuc/conv2d.h"
#include "mcuc/gemm_sparse.h"

typedef mcuc_conv2d_s8_params mcuc_conv2d_sparse_s8_params;
typedef mcuc_conv2d_s8_params mcuc_conv2d_sparse_any_s8_params;

/* As mcuc_conv2d_gather, for n pixels, of which the last is repeated, in a tile of `size`. row:
 * NULL for one of the padding. */
MCUC_KERNEL void mcuc_conv2d_sparse_gather(const mcuc_conv2d_s8_params *p, const int8_t *row,
                                           int32_t ix, uint32_t *tile, int32_t size, int32_t n,
                                           int32_t k) {
    const int32_t channels = p->cin / p->groups;
    if (row != NULL && n == size) {
        mcuc_conv2d_gather(p, row, ix, tile, size, k);
        return;
    }
    for (int32_t i = 0; i < size; i++) {
        for (int32_t kx = 0; kx < p->kw; kx++) {
            const int32_t at = ix + (i < n ? i : n - 1) * p->sw + kx * p->dw;
            const int8_t *x = row != NULL && at >= 0 && at < p->in_w ? row + at * p->cin : NULL;
            mcuc_conv2d_put(p, tile, size, i, k + kx * channels, x, channels);
        }
    }
}

/* Output pixels [ox, ox + n) of row y to o. */
MCUC_KERNEL void mcuc_conv2d_sparse_pixels(const mcuc_conv2d_s8_params *p, const mcuc_src *in,
                                           int32_t y, int32_t ox, int32_t n, int8_t *o,
                                           uint32_t *tile, mcuc_rescale rescale) {
    const int32_t channels = p->cin / p->groups, size = p->small ? 2 : 4;
    const uint32_t *w = p->weights;
    for (int32_t g = 0; g < p->groups; g++) {
        int32_t iy = y * p->sh - p->top;
        for (int32_t ky = 0; ky < p->kh; ky++) {
            const int8_t *row =
                iy >= 0 && iy < p->in_h ? mcuc_src_row(in, iy) + g * channels : NULL;
            mcuc_conv2d_sparse_gather(p, row, ox * p->sw - p->left, tile, size, n,
                                      ky * p->kw * channels);
            iy += p->dh;
        }
        w = mcuc_sparse_tile(tile, w, size, n, p->cout / p->groups, o, p->cout, rescale);
        o += p->cout / p->groups;
    }
}

MCUC_KERNEL void mcuc_conv2d_sparse_rows(const mcuc_conv2d_s8_params *p, const mcuc_src *in,
                                         const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                         mcuc_rescale rescale) {
    const int32_t size = p->small ? 2 : 4;
    for (int32_t y = y0; y < y1; y++) {
        for (int32_t ox = 0; ox < p->out_w; ox += size) {
            const int32_t left = p->out_w - ox;
            mcuc_conv2d_sparse_pixels(p, in, y, ox, left < size ? left : size,
                                      mcuc_dst_row(out, y) + ox * p->cout, (uint32_t *)scratch,
                                      rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv2d_sparse_s8(const mcuc_conv2d_sparse_s8_params *p, const mcuc_src *in,
                                       const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv2d_sparse_rows(p, in, out, y0, y1, scratch, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv2d_sparse_any_s8(const mcuc_conv2d_sparse_any_s8_params *p,
                                           const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                           int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    mcuc_conv2d_sparse_rows(p, in, out, y0, y1, scratch, rescale);
}

#endif
