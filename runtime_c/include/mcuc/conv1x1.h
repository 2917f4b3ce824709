/* mcuc_conv1x1_s8: pointwise convolution, and dense layers over many pixels.
 *
 * computes       y[p][c] = requant(bias[c] + sum_k w[c][k] * x[p][k]) for each pixel p of a row
 * layout         rows of `width` pixels; x: cin, y: cout bytes per pixel. weights: see gemm.h,
 *                elements in word order if cin % 4 == 0, in natural order otherwise
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`
 * aliasing       Pixels are taken from left to right in tiles of 4 (2 if `small`), the last of
 *                which may be smaller. All of a tile is read before its first result is written,
 *                and not again. So results may overwrite the pixels of their own tile and of all
 *                before it: in a call for one row, the output may take the place of the input if
 *                cout <= cin.
 *                The kernels named `back` take the pixels from right to left, and the rows from
 * below to above. So their output may take the place of the input if cout >= cin, rows of both
 * following each other. scratch        16 (8 if `small`) * ceil(cin / 2) bytes: a tile exactness
 * equals mcucompile.quant.numbers.Requant on exact sums speed          MAC per instruction
 * (Cortex-M4): 1.22 for cin = 64, 0.95 for 16, 0.73 for 8
 *
 * mcuc_conv1x1_s8 is for layers with shift 0, no clamp and not wide; mcuc_conv1x1_any_s8 for all.
 * mcuc_conv1x1_back_s8 and mcuc_conv1x1_back_any_s8 do not know `small`.
 */
#ifndef MCUC_CONV1X1_H
#define MCUC_CONV1X1_H

#include "mcuc/gemm.h"

typedef struct {
    int32_t width;
    int32_t cin, cout;
    const uint32_t *weights;
    int32_t small; /* tiles of two pixels instead of four */
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv1x1_s8_params;

typedef mcuc_conv1x1_s8_params mcuc_conv1x1_any_s8_params;
typedef mcuc_conv1x1_s8_params mcuc_conv1x1_back_s8_params;
typedef mcuc_conv1x1_s8_params mcuc_conv1x1_back_any_s8_params;

/* n pixels at x to the tile. */
MCUC_KERNEL void mcuc_conv1x1_put(const mcuc_conv1x1_s8_params *p, uint32_t *tile, int32_t n,
                                  const int8_t *x) {
    mcuc_gemm_put(tile, n, 0, x, p->cin, p->cin, p->cin % 4 == 0);
}

/* The results of the n pixels of the tile, `pitch` bytes apart. */
MCUC_KERNEL void mcuc_conv1x1_get(const mcuc_conv1x1_s8_params *p, const uint32_t *tile, int32_t n,
                                  int8_t *o, int32_t pitch, int32_t wide, mcuc_rescale rescale) {
    mcuc_gemm_tile(tile, p->weights, (p->cin + 1) / 2, n, wide, p->cout, o, pitch, rescale);
}

/* Rows whose pixels are `pitch` bytes apart in the result. */
MCUC_KERNEL void mcuc_conv1x1_rows(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t pitch, int32_t y0, int32_t y1,
                                   void *scratch, int32_t wide, mcuc_rescale rescale) {
    const int32_t width = p->width, small = p->small;
    const int32_t fours = small ? 0 : width / 4, twos = small ? width / 2 : width / 2 % 2;
    uint32_t *tile = (uint32_t *)scratch;
    /* Three pixels that are left are two tiles, of which both are read first. */
    uint32_t *last = twos > 0 && !small ? tile + 2 * ((p->cin + 1) / 2) : tile;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = fours; i > 0; i--) {
            mcuc_conv1x1_put(p, tile, 4, x);
            mcuc_conv1x1_get(p, tile, 4, o, pitch, wide, rescale);
            x += 4 * p->cin;
            o += 4 * pitch;
        }
        if ((width & 1) && !small) {
            mcuc_conv1x1_put(p, last, 1, x + 2 * twos * p->cin);
        }
        for (int32_t i = twos; i > 0; i--) {
            mcuc_conv1x1_put(p, tile, 2, x);
            mcuc_conv1x1_get(p, tile, 2, o, pitch, wide, rescale);
            x += 2 * p->cin;
            o += 2 * pitch;
        }
        if ((width & 1) && small) {
            mcuc_conv1x1_put(p, last, 1, x);
        }
        if (width & 1) {
            mcuc_conv1x1_get(p, last, 1, o, pitch, wide, rescale);
        }
    }
}

/* The same from the last pixel to the first. */
MCUC_KERNEL void mcuc_conv1x1_back_rows(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                        int32_t wide, mcuc_rescale rescale) {
    const int32_t fours = p->width / 4, twos = p->width & 2;
    uint32_t *tile = (uint32_t *)scratch, *last = tile + twos * ((p->cin + 1) / 2);
    MCUC_REQUIRE(!p->small);
    for (int32_t y = y1 - 1; y >= y0; y--) {
        const int8_t *x = mcuc_src_row(in, y) + 4 * fours * p->cin;
        int8_t *o = mcuc_dst_row(out, y) + 4 * fours * p->cout;
        if (twos) {
            mcuc_conv1x1_put(p, tile, 2, x);
        }
        if (p->width & 1) {
            mcuc_conv1x1_put(p, last, 1, x + twos * p->cin);
        }
        if (twos) {
            mcuc_conv1x1_get(p, tile, 2, o, p->cout, wide, rescale);
        }
        if (p->width & 1) {
            mcuc_conv1x1_get(p, last, 1, o + twos * p->cout, p->cout, wide, rescale);
        }
        for (int32_t i = fours; i > 0; i--) {
            x -= 4 * p->cin;
            o -= 4 * p->cout;
            mcuc_conv1x1_put(p, tile, 4, x);
            mcuc_conv1x1_get(p, tile, 4, o, p->cout, wide, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv1x1_s8(const mcuc_conv1x1_s8_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv1x1_rows(p, in, out, p->cout, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_any_s8(const mcuc_conv1x1_any_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv1x1_rows(p, in, out, p->cout, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv1x1_rows(p, in, out, p->cout, y0, y1, scratch, 0, rescale);
    }
}

MCUC_KERNEL void mcuc_conv1x1_back_s8(const mcuc_conv1x1_back_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv1x1_back_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv1x1_back_any_s8(const mcuc_conv1x1_back_any_s8_params *p,
                                          const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                          int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv1x1_back_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv1x1_back_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
