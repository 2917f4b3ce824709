/* mcuc_conv2d_s8: convolution of any kernel size, stride, padding, dilation and group count.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx][k] * x[iy][ix][k]) with
 *                iy = oy * sh - top + ky * dh, ix = ox * sw - left + kx * dw; outside of the input
 *                x is in_zp; channel c sees the cin / groups channels k of its group
 * layout         NHWC; weights: see gemm.h, one group after the other; elements (ky, kx, k), in
 *                word order if cin / groups % 4 == 0, in natural order otherwise
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`
 * aliasing       Rows are computed from top to bottom, each from left to right in tiles of 4 pixels
 *                (2 if `small`; at most 3 are left over, which are tiles of 2 and 1), each of these
 *                group by group. All that a tile sees of the channels of a group is read before
 *                their first result is written, and again only by tiles further on. So from row
 *                y on, input rows above y * sh - top may be overwritten; and if groups == 1, when a
 *                tile from pixel ox on has been read, also what is left of (ox + 4) * sw - left in
 *                the row y * sh - top, unless row y + 1 sees it.
 * scratch        16 (8 if `small`) * ceil(kh * kw * cin / groups / 2) bytes: the windows of a tile
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 1.28 for 3x3 from 64 to 64 channels, 1.13 from 16
 *                to 16; 1.0 for 1x1 from 16 to 32 with stride 2
 *
 * mcuc_conv2d_s8 is for layers with shift 0, no clamp and not wide; mcuc_conv2d_any_s8 for all.
 */
#ifndef MCUC_CONV2D_H
#define MCUC_CONV2D_H

#include "mcuc/gemm.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw;
    int32_t top, left;
    int32_t groups;
    int32_t in_zp;
    const uint32_t *weights;
    int32_t small; /* tiles of two pixels instead of four */
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv2d_s8_params;

typedef mcuc_conv2d_s8_params mcuc_conv2d_any_s8_params;

/* Elements [k, k + count) of pixel i of the tile, from x or, where it is NULL, from the padding. */
MCUC_KERNEL void mcuc_conv2d_put(const mcuc_conv2d_s8_params *p, uint32_t *tile, int32_t n,
                                 int32_t i, int32_t k, const int8_t *x, int32_t count) {
    if (p->cin / p->groups % 4 == 0) {
        const uint32_t padding = (uint32_t)(uint8_t)p->in_zp * 0x01010101u;
        uint32_t *d = tile + (k >> 1) * n + i;
        for (int32_t e = 0; e < count; e += 4) {
            uint32_t v = x == NULL ? padding : mcuc_load32(x + e);
            d[0] = mcuc_even8(v);
            d[n] = mcuc_odd8(v);
            d += 2 * n;
        }
        return;
    }
    for (int32_t e = 0; e < count; e++) {
        mcuc_gemm_put_one(tile, n, i, k + e, x == NULL ? p->in_zp : x[e]);
    }
}

/* The part of the windows of n pixels that lies in one input row: elements k.. of the tile. row:
 * its first pixel, from the first channel of the group on; ix: the left edge of the first window.
 */
MCUC_KERNEL void mcuc_conv2d_gather(const mcuc_conv2d_s8_params *p, const int8_t *row, int32_t ix,
                                    uint32_t *tile, int32_t n, int32_t k) {
    const int32_t channels = p->cin / p->groups, last = ix + (n - 1) * p->sw + p->kw;
    if (p->groups == 1 && p->dw == 1 && ix >= 0 && last <= p->in_w) {
        mcuc_gemm_put(tile, n, k, row + ix * p->cin, p->sw * p->cin, p->kw * channels,
                      channels % 4 == 0);
        return;
    }
    for (int32_t i = 0; i < n; i++) {
        for (int32_t kx = 0; kx < p->kw; kx++) {
            int32_t at = ix + i * p->sw + kx * p->dw;
            const int8_t *x = at >= 0 && at < p->in_w ? row + at * p->cin : NULL;
            mcuc_conv2d_put(p, tile, n, i, k + kx * channels, x, channels);
        }
    }
}

/* Output pixels [ox, ox + n) of row y to o, `pitch` bytes apart. */
MCUC_KERNEL void mcuc_conv2d_tile(const mcuc_conv2d_s8_params *p, const mcuc_src *in, int32_t y,
                                  int32_t ox, int32_t n, int8_t *o, int32_t pitch, uint32_t *tile,
                                  int32_t wide, mcuc_rescale rescale) {
    const int32_t channels = p->cin / p->groups, row_elements = p->kw * channels;
    const uint32_t *w = p->weights;
    for (int32_t g = 0; g < p->groups; g++) {
        int32_t iy = y * p->sh - p->top, k = 0;
        for (int32_t ky = 0; ky < p->kh; ky++) {
            if (iy >= 0 && iy < p->in_h) {
                mcuc_conv2d_gather(p, mcuc_src_row(in, iy) + g * channels, ox * p->sw - p->left,
                                   tile, n, k);
            } else {
                for (int32_t i = 0; i < n; i++) {
                    mcuc_conv2d_put(p, tile, n, i, k, NULL, row_elements);
                }
            }
            k += row_elements;
            iy += p->dh;
        }
        w = mcuc_gemm_tile(tile, w, (k + 1) / 2, n, wide, p->cout / p->groups, o, pitch, rescale);
        o += p->cout / p->groups;
    }
}

/* `count` output pixels of row y to o, `pitch` bytes apart. */
MCUC_KERNEL void mcuc_conv2d_row(const mcuc_conv2d_s8_params *p, const mcuc_src *in, int32_t y,
                                 int32_t count, int8_t *o, int32_t pitch, uint32_t *tile,
                                 int32_t wide, mcuc_rescale rescale) {
    int32_t ox = 0;
    for (; !p->small && ox + 4 <= count; ox += 4) {
        mcuc_conv2d_tile(p, in, y, ox, 4, o + ox * pitch, pitch, tile, wide, rescale);
    }
    for (int32_t i = p->small ? count / 2 : count / 2 % 2; i > 0; i--) {
        mcuc_conv2d_tile(p, in, y, ox, 2, o + ox * pitch, pitch, tile, wide, rescale);
        ox += 2;
    }
    if (count & 1) {
        mcuc_conv2d_tile(p, in, y, ox, 1, o + ox * pitch, pitch, tile, wide, rescale);
    }
}

MCUC_KERNEL void mcuc_conv2d_rows(const mcuc_conv2d_s8_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                  int32_t wide, mcuc_rescale rescale) {
    for (int32_t y = y0; y < y1; y++) {
        mcuc_conv2d_row(p, in, y, p->out_w, mcuc_dst_row(out, y), p->cout, (uint32_t *)scratch,
                        wide, rescale);
    }
}

MCUC_KERNEL void mcuc_conv2d_s8(const mcuc_conv2d_s8_params *p, const mcuc_src *in,
                                const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv2d_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv2d_any_s8(const mcuc_conv2d_any_s8_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv2d_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv2d_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
