/* mcuc_conv1x1_sparse_s8: pointwise convolution with block-sparse weights.
 *
 * computes       what conv1x1.h does; its parameters and aliasing are the same
 * weights        see gemm_sparse.h
 * preconditions  the input zero-point is folded into the bias; sums stay within int32; cin % 4 ==
 * 0; `wide` is not used; mcuc_conv1x1_back_sparse_s8: not `small` scratch        16 (8 if `small`)
 * * cin / 2 bytes: a tile exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC of the dense layer per instruction (Cortex-M4), for 64 to 64 channels: 2.97 if
 *                75 % of the blocks are zero
 *
 * mcuc_conv1x1_sparse_s8 and mcuc_conv1x1_back_sparse_s8 are for layers with shift 0 and no clamp;
 * mcuc_conv1x1_sparse_any_s8 and mcuc_conv1x1_back_sparse_any_s8 for all. The back ones compute
 * from the last pixel to the first.
 */
#ifndef MCUC_CONV1X1_SPARSE_H
#define MCUC_CONV1X1_SPARSE_H

#include "mcuc/conv1x1.h"
#include "mcuc/gemm_sparse.h"

typedef mcuc_conv1x1_s8_params mcuc_conv1x1_sparse_s8_params;
typedef mcuc_conv1x1_s8_params mcuc_conv1x1_sparse_any_s8_params;
typedef mcuc_conv1x1_s8_params mcuc_conv1x1_back_sparse_s8_params;
typedef mcuc_conv1x1_s8_params mcuc_conv1x1_back_sparse_any_s8_params;

/* The pixels of a row from `ox` on, as many as the tile takes. */
MCUC_KERNEL void mcuc_conv1x1_sparse_pixels(const mcuc_conv1x1_s8_params *p, const int8_t *x,
                                            int8_t *o, int32_t ox, uint32_t *tile,
                                            mcuc_rescale rescale) {
    const int32_t size = p->small ? 2 : 4, left = p->width - ox, n = left < size ? left : size;
    x += ox * p->cin;
    if (n == size) {
        mcuc_gemm_put(tile, size, 0, x, p->cin, p->cin, 1);
    } else {
        for (int32_t i = 0; i < size; i++) {
            mcuc_sparse_put(tile + i, size, x + (i < n ? i : n - 1) * p->cin, p->cin);
        }
    }
    mcuc_sparse_tile(tile, p->weights, size, n, p->cout, o + ox * p->cout, p->cout, rescale);
}

MCUC_KERNEL void mcuc_conv1x1_sparse_rows(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                          const mcuc_dst *out, int32_t y0, int32_t y1,
                                          void *scratch, mcuc_rescale rescale) {
    for (int32_t y = y0; y < y1; y++) {
        for (int32_t ox = 0; ox < p->width; ox += p->small ? 2 : 4) {
            mcuc_conv1x1_sparse_pixels(p, mcuc_src_row(in, y), mcuc_dst_row(out, y), ox,
                                       (uint32_t *)scratch, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv1x1_back_sparse_rows(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                               const mcuc_dst *out, int32_t y0, int32_t y1,
                                               void *scratch, mcuc_rescale rescale) {
    MCUC_REQUIRE(!p->small);
    for (int32_t y = y1 - 1; y >= y0; y--) {
        for (int32_t ox = (p->width - 1) / 4 * 4; ox >= 0; ox -= 4) {
            mcuc_conv1x1_sparse_pixels(p, mcuc_src_row(in, y), mcuc_dst_row(out, y), ox,
                                       (uint32_t *)scratch, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv1x1_sparse_s8(const mcuc_conv1x1_sparse_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1,
                                        void *scratch) {
    mcuc_conv1x1_sparse_rows(p, in, out, y0, y1, scratch, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_sparse_any_s8(const mcuc_conv1x1_sparse_any_s8_params *p,
                                            const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                            int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    mcuc_conv1x1_sparse_rows(p, in, out, y0, y1, scratch, rescale);
}

MCUC_KERNEL void mcuc_conv1x1_back_sparse_s8(const mcuc_conv1x1_back_sparse_s8_params *p,
                                             const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                             int32_t y1, void *scratch) {
    mcuc_conv1x1_back_sparse_rows(p, in, out, y0, y1, scratch, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_back_sparse_any_s8(const mcuc_conv1x1_back_sparse_any_s8_params *p,
                                                 const mcuc_src *in, const mcuc_dst *out,
                                                 int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    mcuc_conv1x1_back_sparse_rows(p, in, out, y0, y1, scratch, rescale);
}

#endif
