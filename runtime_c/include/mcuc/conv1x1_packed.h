/* mcuc_conv1x1_packed_s8: pointwise convolution, and dense layers, with weights of fewer bits.
 *
 * computes       what conv1x1.h does, `block` output channels after the other
 * weights        see gemm_packed.h, elements in the order of conv1x1.h
 * preconditions  those of conv1x1.h; block is a multiple of 4, or 2, or all channels and even
 * aliasing       that of conv1x1.h if block >= cout, otherwise none: the last block needs all input
 * scratch        16 (8 if `small`) * ceil(cin / 2) bytes for a tile;
 *                block / 2 * (16 + 4 * ceil(cin / 2)) + 4 for streams; the table
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          that of conv1x1.h, but for decoding, once in each call, and for expanding tiles
 *                again for each block: 1.006 times the instructions for 64 to 64 channels, 24x24
 *
 * mcuc_conv1x1_packed_s8 is for layers with shift 0, no clamp and not wide;
 * mcuc_conv1x1_packed_any_s8 for all.
 */
#ifndef MCUC_CONV1X1_PACKED_H
#define MCUC_CONV1X1_PACKED_H

#include "mcuc/conv1x1.h"
#include "mcuc/gemm_packed.h"

typedef struct {
    int32_t width;
    int32_t cin, cout;
    const uint16_t *codes;
    const uint32_t *ends;
    const int8_t *entries;
    int32_t bits;
    int32_t block;
    int32_t small; /* tiles of two pixels instead of four */
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv1x1_packed_s8_params;

typedef mcuc_conv1x1_packed_s8_params mcuc_conv1x1_packed_any_s8_params;

MCUC_KERNEL void mcuc_conv1x1_packed_rows(const mcuc_conv1x1_packed_s8_params *p,
                                          const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                          int32_t y1, void *scratch, int32_t wide,
                                          mcuc_rescale rescale) {
    const int32_t words = (p->cin + 1) / 2, size = p->small ? 2 : 4;
    uint32_t *const streams = (uint32_t *)scratch + (p->width < size ? p->width : size) * words;
    uint16_t *const table = (uint16_t *)(streams + p->block / 2 * (words + 4) + 1);
    mcuc_unpack u = {p->codes, p->ends, p->entries, table, p->bits, wide, 0, 0};
    mcuc_conv1x1_s8_params part = {
        .width = p->width, .cin = p->cin, .weights = streams, .small = p->small};
    mcuc_unpack_begin(&u, p->bits);
    for (int32_t c = 0; c < p->cout; c += p->block) {
        const mcuc_dst channels = {out->base + c, out->stride, out->rows};
        part.cout = mcuc_unpack_count(c, p->block, p->cout);
        mcuc_unpack_streams(&u, p->bits, streams, p->cin, part.cout);
        mcuc_conv1x1_rows(&part, in, &channels, p->cout, y0, y1, scratch, wide, rescale);
    }
}

MCUC_KERNEL void mcuc_conv1x1_packed_s8(const mcuc_conv1x1_packed_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1,
                                        void *scratch) {
    mcuc_conv1x1_packed_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_packed_any_s8(const mcuc_conv1x1_packed_any_s8_params *p,
                                            const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                            int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv1x1_packed_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv1x1_packed_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
