/* mcuc_conv2d_packed_s8: convolution of any window with weights of fewer bits.
 *
 * computes       what conv2d.h does with one group, `block` output channels after the other
 * weights        see gemm_packed.h, elements in the order of conv2d.h
 * preconditions  those of conv2d.h; block is a multiple of 4, or 2, or all channels and even
 * aliasing       that of conv2d.h if block >= cout, otherwise none: the last block needs all input
 * scratch        16 (8 if `small`) * ceil(kh * kw * cin / 2) bytes for a tile;
 *                block / 2 * (16 + 4 * ceil(kh * kw * cin / 2)) + 4 for streams; the table
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 *
 * mcuc_conv2d_packed_s8 is for layers with shift 0, no clamp and not wide;
 * mcuc_conv2d_packed_any_s8 for all.
 */
#ifndef MCUC_CONV2D_PACKED_H
#define MCUC_CONV2D_PACKED_H

#include "mcuc/conv2d.h"
#include "mcuc/gemm_packed.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw;
    int32_t top, left;
    int32_t in_zp;
    const uint16_t *codes;
    const uint32_t *ends;
    const int8_t *entries;
    int32_t bits;
    int32_t block;
    int32_t small; /* tiles of two pixels instead of four */
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv2d_packed_s8_params;

typedef mcuc_conv2d_packed_s8_params mcuc_conv2d_packed_any_s8_params;

/* The numbers of the convolution of `cout` channels with the weights at `streams`. */
MCUC_KERNEL mcuc_conv2d_s8_params mcuc_conv2d_packed_part(const mcuc_conv2d_packed_s8_params *p,
                                                          const uint32_t *streams) {
    const mcuc_conv2d_s8_params part = {.in_h = p->in_h,
                                        .in_w = p->in_w,
                                        .cin = p->cin,
                                        .out_w = p->out_w,
                                        .kh = p->kh,
                                        .kw = p->kw,
                                        .sh = p->sh,
                                        .sw = p->sw,
                                        .dh = p->dh,
                                        .dw = p->dw,
                                        .top = p->top,
                                        .left = p->left,
                                        .groups = 1,
                                        .in_zp = p->in_zp,
                                        .weights = streams,
                                        .small = p->small};
    return part;
}

MCUC_KERNEL void mcuc_conv2d_packed_rows(const mcuc_conv2d_packed_s8_params *p, const mcuc_src *in,
                                         const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                         int32_t wide, mcuc_rescale rescale) {
    const int32_t elements = p->kh * p->kw * p->cin, words = (elements + 1) / 2;
    const int32_t size = p->small ? 2 : 4;
    uint32_t *const tile = (uint32_t *)scratch;
    uint32_t *const streams = tile + (p->out_w < size ? p->out_w : size) * words;
    uint16_t *const table = (uint16_t *)(streams + p->block / 2 * (words + 4) + 1);
    mcuc_unpack u = {p->codes, p->ends, p->entries, table, p->bits, wide, 0, 0};
    mcuc_conv2d_s8_params part = mcuc_conv2d_packed_part(p, streams);
    mcuc_unpack_begin(&u, p->bits);
    for (int32_t c = 0; c < p->cout; c += p->block) {
        part.cout = mcuc_unpack_count(c, p->block, p->cout);
        mcuc_unpack_streams(&u, p->bits, streams, elements, part.cout);
        for (int32_t y = y0; y < y1; y++) {
            mcuc_conv2d_row(&part, in, y, p->out_w, mcuc_dst_row(out, y) + c, p->cout, tile, wide,
                            rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv2d_packed_s8(const mcuc_conv2d_packed_s8_params *p, const mcuc_src *in,
                                       const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv2d_packed_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv2d_packed_any_s8(const mcuc_conv2d_packed_any_s8_params *p,
                                           const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                           int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv2d_packed_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv2d_packed_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
