/* mcuc_conv3x3_winograd_s8: 3x3 convolution with stride 1 by Winograd's F(2x2, 3x3), exact in
 * integers: 16 multiplications in place of 36 (Lavin & Gray, "Fast Algorithms for Convolutional
 * Neural Networks", 2015).
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx][k] * x[iy][ix][k]) with
 *                iy = oy - top + ky, ix = ox - left + kx; outside of the input x is in_zp
 * method         For every tile of 2x2 results, from the 4x4 inputs d that they see,
 *                    4 * sums = A' [sum over k of ((2G) w (2G)') * (B' d B)] A
 *                where * is element by element: 16 matrix products, one per position. (B' d B) is
 *                within 4 * 128 and ((2G) w (2G)') within 9 * 128, so both are int16 lanes. All
 *                further arithmetic is modulo 2^32, and the compiler proved that 4 * sum is within
 *                int32; its last two bits are zero.
 * layout         NHWC, any cin and cout. weights: one stream per pair of output channels,
 *                    16 positions of `words` x (lanes of channel 0, of channel 1),
 *                    bias0, bias1, m0, m1
 *                with words = 2 * ceil(cin / 4); words 2q and 2q + 1 hold the input channels
 *                4q + (0, 2) and 4q + (1, 3), zeros where there are none. Positions stand column by
 *                column, each in the order of rows 1, 2, 0, 3, the last one negated.
 * preconditions  the input zero-point is folded into the bias; 4 * (sum - bias) and
 *                sum << shift are within int32
 * aliasing       Rows are computed in twos from y0 on, each two from left to right in groups of 8
 *                pixels (4 if `tiles` is 2, and for the last 4). What a group sees of input rows y
 *                - top to y - top + 3 is read before its first result is written; the next group
 *                reads the last two columns again. So from row y on, where y - y0 is even, input
 *                rows above y - top may be overwritten.
 * scratch        64 * n * words + 64 * (n + 1) + in_w * cin bytes, n = `tiles`: the transformed
 *                inputs of n tiles, four channels half-way, a row of padding
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC of the convolution per instruction (Cortex-M4, M7): 2.0 from 16 to 16
 *                channels, 2.3 from 32 to 32, 2.6 from 64 to 64
 *
 * mcuc_conv3x3_winograd_s8 is for layers with shift 0 and no clamp; mcuc_conv3x3_winograd_any_s8
 * for all.
 */
#ifndef MCUC_CONV3X3_WINOGRAD_H
#define MCUC_CONV3X3_WINOGRAD_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t top, left;
    int32_t in_zp;
    int32_t tiles; /* computed together: 4, or 2 for less scratch and for results up to 4 wide */
    const uint32_t *weights;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv3x3_winograd_s8_params;

typedef mcuc_conv3x3_winograd_s8_params mcuc_conv3x3_winograd_any_s8_params;

/* What the tiles of a group see: four input rows and, of them, the columns from ix on. */
typedef struct {
    const int8_t *row[4];
    int32_t ix;
} mcuc_winograd_view;

/* Up to four channels of a pixel. */
MCUC_KERNEL uint32_t mcuc_winograd_load(const int8_t *x, int32_t count, int32_t by_word) {
    if (by_word) {
        return mcuc_load32(x);
    }
    return mcuc_join8(x[0], count > 1 ? x[1] : 0, count > 2 ? x[2] : 0, count > 3 ? x[3] : 0);
}

/* B' d for one column of four channels, given as bytes: 4 words for channels 0 and 2, 4 words for
 * 1 and 3. */
MCUC_KERNEL void mcuc_winograd_column(uint32_t *o, uint32_t d0, uint32_t d1, uint32_t d2,
                                      uint32_t d3) {
    uint32_t a = mcuc_even8(d1), b = mcuc_even8(d2);
    mcuc_store_pair(o, mcuc_add16x2(a, b), mcuc_sub16x2(b, a));
    mcuc_store_pair(o + 2, mcuc_sub16x2(mcuc_even8(d0), b), mcuc_sub16x2(a, mcuc_even8(d3)));
    a = mcuc_odd8(d1);
    b = mcuc_odd8(d2);
    mcuc_store_pair(o + 4, mcuc_add16x2(a, b), mcuc_sub16x2(b, a));
    mcuc_store_pair(o + 6, mcuc_sub16x2(mcuc_odd8(d0), b), mcuc_sub16x2(a, mcuc_odd8(d3)));
}

/* The same for `width` columns, from the one of the view on: those outside of the input are
 * padding. k: the first of the four channels. */
MCUC_KERNEL void mcuc_winograd_columns(const mcuc_conv3x3_winograd_s8_params *p,
                                       const mcuc_winograd_view *view, int32_t k, int32_t width,
                                       uint32_t *o) {
    const uint32_t padding = (uint32_t)(uint8_t)p->in_zp * 0x01010101u;
    const int32_t by_word = p->cin % 4 == 0, count = p->cin - k;
    int32_t ix = view->ix;
    const int32_t end = ix + width, inside_end = end < p->in_w ? end : p->in_w;
    for (; ix < 0 && ix < end; ix++) {
        mcuc_winograd_column(o, padding, padding, padding, padding);
        o += 8;
    }
    const int8_t *r0 = view->row[0], *r1 = view->row[1], *r2 = view->row[2], *r3 = view->row[3];
    int32_t at = ix * p->cin + k;
    for (const uint32_t *stop = o + (inside_end - ix) * 8; o < stop; o += 8) {
        mcuc_winograd_column(o, mcuc_winograd_load(r0 + at, count, by_word),
                             mcuc_winograd_load(r1 + at, count, by_word),
                             mcuc_winograd_load(r2 + at, count, by_word),
                             mcuc_winograd_load(r3 + at, count, by_word));
        at += p->cin;
    }
    for (ix = ix < inside_end ? inside_end : ix; ix < end; ix++) {
        mcuc_winograd_column(o, padding, padding, padding, padding);
        o += 8;
    }
}

/* (B' d) B for one row of n tiles: their four positions go to v, `pitch` words apart. c: the row's
 * words, 8 apart. */
MCUC_KERNEL void mcuc_winograd_row(const uint32_t *c, uint32_t *v, int32_t n, int32_t pitch) {
    uint32_t a = c[0], b = c[8];
#pragma GCC unroll 2
    for (int32_t t = 0; t < n; t += 2) {
        uint32_t d = c[16 * t + 16], e = c[16 * t + 24];
        uint32_t f = c[16 * t + 32], g = c[16 * t + 40];
        mcuc_store_pair(v + t, mcuc_sub16x2(a, d), mcuc_sub16x2(d, f));
        mcuc_store_pair(v + pitch + t, mcuc_add16x2(b, d), mcuc_add16x2(e, f));
        mcuc_store_pair(v + 2 * pitch + t, mcuc_sub16x2(d, b), mcuc_sub16x2(f, e));
        mcuc_store_pair(v + 3 * pitch + t, mcuc_sub16x2(b, e), mcuc_sub16x2(e, g));
        a = f;
        b = g;
    }
}

/* The transformed inputs of n tiles: word (position * words + j) * n + tile of v. */
MCUC_KERNEL void mcuc_winograd_input(const mcuc_conv3x3_winograd_s8_params *p,
                                     const mcuc_winograd_view *view, uint32_t *v, int32_t n,
                                     uint32_t *columns) {
    const int32_t words = (p->cin + 3) / 4 * 2;
    for (int32_t k = 0; k < p->cin; k += 4) {
        mcuc_winograd_columns(p, view, k, 2 * n + 2, columns);
        for (int32_t i = 0; i < 4; i++) {
            uint32_t *o = v + i * words * n;
            mcuc_winograd_row(columns + i, o, n, 4 * words * n);
            mcuc_winograd_row(columns + 4 + i, o + n, n, 4 * words * n);
        }
        v += 2 * n;
    }
}

/* Sums of up to four tiles (a to d) of two channels. */
typedef struct {
    int32_t a0, a1, b0, b1, c0, c1, d0, d1;
} mcuc_winograd_sums;

/* Where a product stands: the transformed inputs and weights that come next. */
typedef struct {
    const uint32_t *v, *w;
} mcuc_winograd_place;

#define MCUC_WINOGRAD_STEP(i)                                                                      \
    do {                                                                                           \
        uint32_t w0, w1, x, y;                                                                     \
        mcuc_load_pair(w + 2 * (i), &w0, &w1);                                                     \
        mcuc_load_pair(v + n * (i), &x, &y);                                                       \
        s.a0 = mcuc_smlad_wrap(w0, x, s.a0);                                                       \
        s.a1 = mcuc_smlad_wrap(w1, x, s.a1);                                                       \
        s.b0 = mcuc_smlad_wrap(w0, y, s.b0);                                                       \
        s.b1 = mcuc_smlad_wrap(w1, y, s.b1);                                                       \
        if (n == 4) {                                                                              \
            mcuc_load_pair(v + n * (i) + 2, &x, &y);                                               \
            s.c0 = mcuc_smlad_wrap(w0, x, s.c0);                                                   \
            s.c1 = mcuc_smlad_wrap(w1, x, s.c1);                                                   \
            s.d0 = mcuc_smlad_wrap(w0, y, s.d0);                                                   \
            s.d1 = mcuc_smlad_wrap(w1, y, s.d1);                                                   \
        }                                                                                          \
    } while (0)

/* Everything before is computed before everything after: pointers are advanced, and sums are used,
 * only then, or they would take registers that the products need. */
#define MCUC_WINOGRAD_FINISH()                                                                     \
    do {                                                                                           \
        __asm__("" : "+r"(v), "+r"(w), "+r"(s.a0), "+r"(s.a1), "+r"(s.b0), "+r"(s.b1));            \
        if (n == 4) {                                                                              \
            __asm__("" : "+r"(v), "+r"(w), "+r"(s.c0), "+r"(s.c1), "+r"(s.d0), "+r"(s.d1));        \
        }                                                                                          \
    } while (0)

/* s plus the product of one position. */
MCUC_KERNEL mcuc_winograd_sums mcuc_winograd_product(mcuc_winograd_sums s, mcuc_winograd_place *at,
                                                     int32_t words, int32_t n) {
    const uint32_t *v = at->v, *w = at->w;
    MCUC_OPAQUE(v);
    MCUC_OPAQUE(w);
    for (int32_t block = words >> 3; block > 0; block--) {
        if (words >= 16) {
            MCUC_IN_MEMORY(block);
        }
#pragma GCC unroll 8
        for (int32_t i = 0; i < 8; i++) {
            MCUC_WINOGRAD_STEP(i);
        }
        MCUC_WINOGRAD_FINISH();
        v += 8 * n;
        w += 16;
    }
    if (words & 4) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; i++) {
            MCUC_WINOGRAD_STEP(i);
        }
        v += 4 * n;
        w += 8;
    }
    if (words & 2) {
        MCUC_WINOGRAD_STEP(0);
        MCUC_WINOGRAD_STEP(1);
        v += 2 * n;
        w += 4;
    }
    at->v = v;
    at->w = w;
    return s;
}

MCUC_KERNEL void mcuc_winograd_store(uint32_t *o, mcuc_winograd_sums s, int32_t n) {
    mcuc_store_pair(o, (uint32_t)s.a0, (uint32_t)s.a1);
    mcuc_store_pair(o + 2, (uint32_t)s.b0, (uint32_t)s.b1);
    if (n == 4) {
        mcuc_store_pair(o + 4, (uint32_t)s.c0, (uint32_t)s.c1);
        mcuc_store_pair(o + 6, (uint32_t)s.d0, (uint32_t)s.d1);
    }
}

MCUC_KERNEL mcuc_winograd_sums mcuc_winograd_reload(const uint32_t *o, int32_t n) {
    uint32_t v[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    mcuc_load_pair(o, &v[0], &v[1]);
    mcuc_load_pair(o + 2, &v[2], &v[3]);
    if (n == 4) {
        mcuc_load_pair(o + 4, &v[4], &v[5]);
        mcuc_load_pair(o + 6, &v[6], &v[7]);
    }
    mcuc_winograd_sums s = {(int32_t)v[0], (int32_t)v[1], (int32_t)v[2], (int32_t)v[3],
                            (int32_t)v[4], (int32_t)v[5], (int32_t)v[6], (int32_t)v[7]};
    return s;
}

/* Two words of o become 2 * o - s. */
MCUC_KERNEL void mcuc_winograd_mirror(uint32_t *o, int32_t s0, int32_t s1) {
    uint32_t u, v;
    mcuc_load_pair(o, &u, &v);
    mcuc_store_pair(o, 2 * u - (uint32_t)s0, 2 * v - (uint32_t)s1);
}

/* One column of positions, rows already combined (A' M): n x 2 sums of row 0 of the tiles to m,
 * of row 1 to m + 8. All registers are for the products: m stays in memory meanwhile. */
MCUC_KERNEL void mcuc_winograd_products(mcuc_winograd_place *at, int32_t words, int32_t n,
                                        uint32_t *m) {
    int32_t zero = 0; /* left to itself, gcc keeps a register for it */
    MCUC_IN_MEMORY(zero);
    mcuc_winograd_sums s = {zero, zero, zero, zero, zero, zero, zero, zero};
    MCUC_IN_MEMORY(m);
    s = mcuc_winograd_product(s, at, words, n); /* M1 */
    MCUC_IN_MEMORY(m);
    mcuc_winograd_store(m + 8, s, n);
    s = mcuc_winograd_product(s, at, words, n); /* M1 + M2 */
    MCUC_IN_MEMORY(m);
    mcuc_winograd_mirror(m + 8, s.a0, s.a1); /* M1 - M2 */
    mcuc_winograd_mirror(m + 10, s.b0, s.b1);
    if (n == 4) {
        mcuc_winograd_mirror(m + 12, s.c0, s.c1);
        mcuc_winograd_mirror(m + 14, s.d0, s.d1);
    }
    s = mcuc_winograd_product(s, at, words, n); /* M0 + M1 + M2 */
    MCUC_IN_MEMORY(m);
    mcuc_winograd_store(m, s, n);
    s = mcuc_winograd_reload(m + 8, n);
    s = mcuc_winograd_product(s, at, words, n); /* M1 - M2 - M3 */
    MCUC_IN_MEMORY(m);
    mcuc_winograd_store(m + 8, s, n);
}

/* What turns the sums of two channels into results. */
typedef struct {
    int32_t bias0, bias1, m0, m1;
    mcuc_rescale rescale;
} mcuc_winograd_finish;

/* One pixel: two channels of four times the sum. */
MCUC_KERNEL void mcuc_winograd_emit(const mcuc_winograd_finish *f, int8_t *o, uint32_t sum0,
                                    uint32_t sum1, int32_t both) {
    o[0] = mcuc_rescale_apply(f->rescale, f->bias0 + ((int32_t)sum0 >> 2), f->m0);
    if (both) {
        o[1] = mcuc_rescale_apply(f->rescale, f->bias1 + ((int32_t)sum1 >> 2), f->m1);
    }
}

/* One row of tiles, `width` pixels: (A' M) A, from four columns of m that lie 16 words apart. */
MCUC_KERNEL void mcuc_winograd_output(const mcuc_winograd_finish *f, const uint32_t *m, int8_t *o,
                                      int32_t pitch, int32_t width, int32_t both) {
    for (int32_t x = 0; x < width; x += 2) {
        uint32_t a0, a1, b0, b1, c0, c1;
        mcuc_load_pair(m + 16, &a0, &a1);
        mcuc_load_pair(m + 32, &b0, &b1);
        mcuc_load_pair(m, &c0, &c1);
        c0 += a0 + b0;
        c1 += a1 + b1;
        mcuc_winograd_emit(f, o, c0, c1, both);
        if (x + 1 < width) {
            mcuc_load_pair(m + 48, &c0, &c1);
            mcuc_winograd_emit(f, o + pitch, a0 - b0 - c0, a1 - b1 - c1, both);
        }
        o += 2 * pitch;
        m += 2;
    }
}

/* Results of n tiles, the first `width` columns of them: one row to o0 and, if `two`, the next one
 * to o1. */
MCUC_KERNEL void mcuc_winograd_tiles(const mcuc_conv3x3_winograd_s8_params *p,
                                     const mcuc_winograd_view *view, int8_t *o0, int8_t *o1,
                                     int32_t two, int32_t n, int32_t width, uint32_t *scratch,
                                     mcuc_rescale rescale) {
    const int32_t words = (p->cin + 3) / 4 * 2, cout = p->cout;
    uint32_t *v = scratch + 16 * (n + 1), m[64];
    mcuc_winograd_input(p, view, v, n, scratch);
    mcuc_winograd_place at = {v, p->weights};
    int32_t zp = rescale.zp;
    for (int32_t c = 0; c < cout; c += 2) {
        at.v = v;
        MCUC_IN_MEMORY(o0);
        MCUC_IN_MEMORY(o1);
        MCUC_IN_MEMORY(c);
        MCUC_IN_MEMORY(zp);
        for (uint32_t *column = m; column != m + 64; column += 16) {
            mcuc_winograd_products(&at, words, n, column);
        }
        const mcuc_winograd_finish f = {(int32_t)at.w[0],
                                        (int32_t)at.w[1],
                                        (int32_t)at.w[2],
                                        (int32_t)at.w[3],
                                        {rescale.shift, zp, rescale.lo, rescale.hi}};
        const int32_t both = cout % 2 == 0 || c + 1 < cout;
        at.w += 4;
        mcuc_winograd_output(&f, m, o0 + c, cout, width, both);
        if (two) {
            mcuc_winograd_output(&f, m + 8, o1 + c, cout, width, both);
        }
    }
}

/* The input rows of a row of tiles, the first of which is iy; where there are none, or from `count`
 * on, the row `padding`. */
MCUC_KERNEL void mcuc_winograd_see(const mcuc_conv3x3_winograd_s8_params *p, const mcuc_src *in,
                                   int32_t iy, int32_t count, int8_t *padding,
                                   mcuc_winograd_view *view) {
    for (int32_t i = 0; i < 4; i++) {
        if (iy + i >= 0 && iy + i < p->in_h && i < count) {
            view->row[i] = mcuc_src_row(in, iy + i);
        } else {
            memset(padding, p->in_zp, (size_t)(p->in_w * p->cin));
            view->row[i] = padding;
        }
    }
}

MCUC_KERNEL void mcuc_winograd_rows(const mcuc_conv3x3_winograd_s8_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                    mcuc_rescale rescale) {
    const int32_t out_w = p->out_w, words = (p->cin + 3) / 4 * 2;
    uint32_t *s = (uint32_t *)scratch;
    int8_t *padding = (int8_t *)(s + 16 * (p->tiles + 1) + 16 * words * p->tiles);
    for (int32_t y = y0; y < y1; y += 2) {
        const int32_t two = y + 1 < y1;
        mcuc_winograd_view view;
        mcuc_winograd_see(p, in, y - p->top, 3 + two, padding, &view);
        int8_t *o0 = mcuc_dst_row(out, y), *o1 = two ? mcuc_dst_row(out, y + 1) : o0;
        int32_t ox = 0;
        for (; p->tiles == 4 && ox + 4 < out_w; ox += 8) {
            const int32_t rest = out_w - ox, width = out_w % 8 == 0 || rest > 8 ? 8 : rest;
            view.ix = ox - p->left;
            mcuc_winograd_tiles(p, &view, o0, o1, two, 4, width, s, rescale);
            o0 += 8 * p->cout;
            o1 += 8 * p->cout;
        }
        for (; ox < out_w; ox += 4) {
            const int32_t rest = out_w - ox, width = out_w % 4 == 0 || rest > 4 ? 4 : rest;
            view.ix = ox - p->left;
            mcuc_winograd_tiles(p, &view, o0, o1, two, 2, width, s, rescale);
            o0 += 4 * p->cout;
            o1 += 4 * p->cout;
        }
    }
}

MCUC_KERNEL void mcuc_conv3x3_winograd_s8(const mcuc_conv3x3_winograd_s8_params *p,
                                          const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                          int32_t y1, void *scratch) {
    mcuc_winograd_rows(p, in, out, y0, y1, scratch, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv3x3_winograd_any_s8(const mcuc_conv3x3_winograd_any_s8_params *p,
                                              const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                              int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    mcuc_winograd_rows(p, in, out, y0, y1, scratch, rescale);
}

#endif
