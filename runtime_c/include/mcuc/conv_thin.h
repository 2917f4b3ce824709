/* mcuc_conv_thin_s8: convolution of few input channels, as first layers are.
 *
 * computes       as conv2d.h, for dw == 1 and groups == 1
 * layout         NHWC; weights: see gemm.h, elements (ky, kx, k) in natural order, each kernel row
 *                padded to an even number of them
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`; kh <= MCUC_THIN_ROWS
 * aliasing       Rows are computed from top to bottom. In one call an input row is read once, and
 *                all that row y sees is read before its first result is written: row y and those
 *                after it may overwrite the input down to row y * sh - top + (kh - 1) * dh,
 *                inclusive. A later call, for rows from y on, reads from row y * sh - top on again.
 * scratch        4 * ((kh - 1) * dh + 1) * pitch bytes: a ring of expanded input rows
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 1.09 for 10x8 from 1 to 8 channels with stride 2,
 *                0.90 for 10x4 from 1 to 64, 0.90 for 3x3 from 3 to 16, 0.80 for 3x3 from 3 to 8
 *                with stride 2
 *
 * Each input row is expanded once to int16, between its padding. What a pixel sees of it is then a
 * run of words, from which the matrix product reads without gathering anything. Runs start `step`
 * elements apart. If that is odd, every other one would start amid a word: then each row has two
 * copies, interleaved word by word, the second one `step` elements ahead:
 *     word 2j: elements (2j, 2j + 1), word 2j + 1: elements (2j + step, 2j + step + 1)
 * They have another use, where step is even and there is memory for them: the words of two
 * neighbouring pixels are a pair that one instruction loads (as they are in one copy if step is 2).
 *
 * mcuc_conv_thin_s8 is for layers with shift 0, no clamp and not wide; mcuc_conv_thin_any_s8 for
 * all.
 */
#ifndef MCUC_CONV_THIN_H
#define MCUC_CONV_THIN_H

#include "mcuc/gemm.h"

#define MCUC_THIN_ROWS 16 /* kernel rows at most */

/* Kernel words that earn code without a loop over kernel rows. */
#define MCUC_THIN_UNROLL (MCUC_HAS_DSP ? 40 : 0)

typedef struct {
    int32_t in_h, in_w, cin;
    int32_t out_w, cout;
    int32_t kh, kw, sh, sw, dh;
    int32_t top, left;
    int32_t copies; /* of expanded rows: 1 or 2 */
    int32_t lead;   /* words before an expanded row that are written in vain */
    int32_t pitch;  /* words of an expanded row with its lead and copies */
    int32_t in_zp;
    const uint32_t *weights;
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_conv_thin_s8_params;

typedef mcuc_conv_thin_s8_params mcuc_conv_thin_any_s8_params;

/* Where the words of a tile of pixels lie: word j of pixel 0 at j * copies, pixels 1 and 2 so many
 * words behind it. */
typedef struct {
    int32_t copies, second, third;
} mcuc_thin_grid;

MCUC_KERNEL mcuc_thin_grid mcuc_thin_grid_of(const mcuc_conv_thin_s8_params *p) {
    const int32_t step = p->sw * p->cin;
    mcuc_thin_grid one = {1, step / 2, step}, two = {2, 1, 2 * step};
    return p->copies == 2 ? two : one;
}

typedef struct {
    int32_t s0, s1, s2, s3, t0, t1, t2, t3;
} mcuc_thin_sums;

MCUC_KERNEL void mcuc_thin_load(const uint32_t *x, mcuc_thin_grid grid, uint32_t *a, uint32_t *b) {
    if (grid.second == 1) {
        mcuc_load_pair(x, a, b);
    } else {
        *a = x[0];
        *b = x[grid.second];
    }
}

/* A pixel's word x times the words w0 and w1 of two channels. */
#define MCUC_THIN_MAC(i, x)                                                                        \
    do {                                                                                           \
        s->s##i = first ? mcuc_smlad_from(w0, (x), s->s##i) : mcuc_smlad(w0, (x), s->s##i);        \
        s->t##i = first ? mcuc_smlad_from(w1, (x), s->t##i) : mcuc_smlad_wrap(w1, (x), s->t##i);   \
    } while (0)

/* Word w[0] of the weights against the word at x of n pixels. */
MCUC_KERNEL void mcuc_thin_step(mcuc_thin_sums *s, const uint32_t *x, const uint32_t *w, int32_t n,
                                mcuc_thin_grid grid, int32_t wide, int32_t first) {
    uint32_t w1 = w[0], w0 = mcuc_even8(w1), a, b = 0;
    w1 = wide ? mcuc_odd8(w1) : w1;
    if (n > 1) {
        mcuc_thin_load(x, grid, &a, &b);
    } else {
        a = x[0];
    }
    MCUC_THIN_MAC(0, a);
    if (n > 1) {
        MCUC_THIN_MAC(1, b);
    }
    if (n == 4) {
        mcuc_thin_load(x + grid.third, grid, &a, &b);
        MCUC_THIN_MAC(2, a);
        MCUC_THIN_MAC(3, b);
    }
}

/* One kernel row of `words` words. Returns the weights of the next one. */
MCUC_KERNEL const uint32_t *mcuc_thin_run(mcuc_thin_sums *s, const uint32_t *x, const uint32_t *w,
                                          int32_t words, int32_t n, mcuc_thin_grid grid,
                                          int32_t wide, int32_t first) {
    const int32_t c = grid.copies;
    for (int32_t block = words >> 3; block > 0; block--) {
#pragma GCC unroll 8
        for (int32_t i = 0; i < 8; i++) {
            MCUC_OPAQUE(x);
            mcuc_thin_step(s, x + i * c, w + i, n, grid, wide, 0);
        }
        x += 8 * c;
        w += 8;
    }
    int32_t i = 0;
    if (words & 4) {
#pragma GCC unroll 4
        for (; i < 4; i++) {
            MCUC_OPAQUE(x);
            mcuc_thin_step(s, x + i * c, w + i, n, grid, wide, first && i == 0 && words < 8);
        }
    }
    if (words & 2) {
        MCUC_OPAQUE(x);
        mcuc_thin_step(s, x + i * c, w + i, n, grid, wide, first && i == 0 && words < 8);
        MCUC_OPAQUE(x);
        mcuc_thin_step(s, x + (i + 1) * c, w + i + 1, n, grid, wide, 0);
        i += 2;
    }
    if (words & 1) {
        MCUC_OPAQUE(x);
        mcuc_thin_step(s, x + i * c, w + i, n, grid, wide, first && i == 0 && words < 8);
        i++;
    }
    return w + i;
}

/* Two channels of n pixels, `pitch` bytes apart, to o. rows: where the run of the first pixel
 * starts in each kernel row. Returns the stream of the next pair. */
MCUC_KERNEL const uint32_t *mcuc_thin_pair(const uint32_t *const *rows, const uint32_t *w,
                                           int32_t kh, int32_t words, int32_t n,
                                           mcuc_thin_grid grid, int32_t wide, int32_t both,
                                           int8_t *o, int32_t pitch, mcuc_rescale rescale) {
    const int32_t s0 = (int32_t)w[0], t0 = (int32_t)w[1];
    mcuc_thin_sums s = {s0, s0, s0, s0, t0, t0, t0, t0};
    w += 2;
    if (__builtin_constant_p(kh * words) && kh * words <= MCUC_THIN_UNROLL) {
#pragma GCC unroll 16
        for (int32_t ky = 0; ky < kh; ky++) {
            w = mcuc_thin_run(&s, rows[ky], w, words, n, grid, wide, ky == 0);
        }
    } else {
        for (const uint32_t *const *row = rows; row < rows + kh; row++) {
            w = mcuc_thin_run(&s, *row, w, words, n, grid, wide, 0);
        }
    }
    const int32_t m0 = (int32_t)w[0], m1 = (int32_t)w[1];
    mcuc_gemm_emit(o, s.s0, s.t0, m0, m1, wide, both, rescale);
    if (n >= 2) {
        mcuc_gemm_emit(o + pitch, s.s1, s.t1, m0, m1, wide, both, rescale);
    }
    if (n == 4) {
        mcuc_gemm_emit(o + 2 * pitch, s.s2, s.t2, m0, m1, wide, both, rescale);
        mcuc_gemm_emit(o + 3 * pitch, s.s3, s.t3, m0, m1, wide, both, rescale);
    }
    return w + 2;
}

/* All channels of n pixels to o; then moves `rows` to the next pixels. */
MCUC_KERNEL void mcuc_thin_tile(const mcuc_conv_thin_s8_params *p, const uint32_t **rows, int32_t n,
                                int32_t wide, int8_t *o, mcuc_rescale rescale) {
    const int32_t step = p->sw * p->cin, words = (p->kw * p->cin + 1) / 2;
    const mcuc_thin_grid grid = mcuc_thin_grid_of(p);
    const uint32_t *w = p->weights;
    for (int32_t c = 0; c < p->cout; c += 2) {
        int32_t both = p->cout % 2 == 0 || c + 1 < p->cout;
        if (p->kh * words > 16) {
            MCUC_IN_MEMORY(o);
        }
        w = mcuc_thin_pair(rows, w, p->kh, words, n, grid, wide, both, o + c, p->cout, rescale);
    }
    for (int32_t ky = 0; ky < p->kh; ky++) {
        rows[ky] += n * step * grid.copies / 2;
    }
}

/* Two elements as a word at d, and at `twin` words from there unless that is 0. */
MCUC_KERNEL void mcuc_thin_word(uint32_t *d, int32_t twin, uint32_t v) {
    d[0] = v;
    if (twin != 0) {
        d[twin] = v;
    }
}

/* One element as that lane of the word at d. */
MCUC_KERNEL void mcuc_thin_lane(uint32_t *d, int32_t twin, int32_t lane, int32_t v) {
    mcuc_store16((char *)d + 2 * lane, v);
    if (twin != 0) {
        mcuc_store16((char *)(d + twin) + 2 * lane, v);
    }
}

/* Elements x[0 .. count) as elements at.. of the copy of a row that starts at d; those below 0 are
 * not in it. zp: what stands before them. */
MCUC_KERNEL void mcuc_thin_put(uint32_t *d, int32_t copies, int32_t twin, int32_t at,
                               const int8_t *x, int32_t count, int32_t zp) {
    if (at < 0) {
        x -= at;
        count += at;
        at = 0;
    }
    if (count <= 0) {
        return;
    }
    d += (at >> 1) * copies;
    if (mcuc_is_aligned(x)) {
        uint32_t last = mcuc_pack16(zp, zp); /* at & 1: the element before is its lane 0 */
#pragma GCC unroll 2
        for (const int8_t *end = x + (count & ~3); x != end; x += 4) {
            const uint32_t v = mcuc_load32(x), even = mcuc_even8(v);
            if (at & 1) {
                mcuc_thin_word(d, twin, mcuc_pack_lo(last, even));
                last = mcuc_odd8_swapped(v);
                mcuc_thin_word(d + copies, twin, mcuc_pack_hi(last, even));
            } else {
                const uint32_t odd = mcuc_odd8(v);
                mcuc_thin_word(d, twin, mcuc_pack_lo(even, odd));
                mcuc_thin_word(d + copies, twin, mcuc_pack_hi(even, odd));
            }
            d += 2 * copies;
        }
        count &= 3;
        if (at & 1) {
            mcuc_thin_lane(d, twin, 0, mcuc_lo16(last));
        }
    }
    if ((at & 1) && count > 0) {
        mcuc_thin_lane(d, twin, 1, x[0]);
        d += copies;
        x++;
        count--;
    }
    for (; count >= 2; count -= 2) {
        mcuc_thin_word(d, twin, mcuc_pack16(x[0], x[1]));
        d += copies;
        x += 2;
    }
    if (count == 1) {
        mcuc_thin_lane(d, twin, 0, x[0]);
    }
}

/* The ring: row r of the padded input in its slot. Padding on the left and on the right is there
 * from the start, and so is that above the input. */
MCUC_KERNEL void mcuc_thin_fill(const mcuc_conv_thin_s8_params *p, const mcuc_src *in, int32_t r,
                                uint32_t *slot) {
    const int32_t y = r - p->top, step = p->sw * p->cin, count = p->in_w * p->cin;
    if (y >= p->in_h) {
        for (int32_t i = 0; i < p->pitch; i++) {
            slot[i] = mcuc_pack16(p->in_zp, p->in_zp);
        }
    } else if (y >= 0) {
        const int8_t *x = mcuc_src_row(in, y);
        const int32_t at = p->left * p->cin, twin = p->copies == 2 && step % 2 == 0 ? 1 - step : 0;
        mcuc_thin_put(slot + p->lead, p->copies, twin, at, x, count, p->in_zp);
        if (p->copies == 2 && twin == 0) {
            mcuc_thin_put(slot + p->lead + 1, p->copies, 0, at - step, x, count, p->in_zp);
        }
    }
}

MCUC_KERNEL void mcuc_conv_thin_rows(const mcuc_conv_thin_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                     int32_t wide, mcuc_rescale rescale) {
    const int32_t slots = (p->kh - 1) * p->dh + 1, pitch = p->pitch;
    uint32_t *ring = (uint32_t *)scratch;
    for (int32_t i = 0; i < slots * pitch; i++) {
        ring[i] = mcuc_pack16(p->in_zp, p->in_zp);
    }
    int32_t have = y0 * p->sh;
    for (int32_t y = y0; y < y1; y++) {
        const int32_t first = y * p->sh;
        for (have = have > first ? have : first; have < first + slots; have++) {
            mcuc_thin_fill(p, in, have, ring + have % slots * pitch);
        }
        const uint32_t *rows[MCUC_THIN_ROWS];
        for (int32_t ky = 0; ky < p->kh; ky++) {
            rows[ky] = ring + (first + ky * p->dh) % slots * pitch + p->lead;
        }
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = p->out_w / 4; i > 0; i--) {
            mcuc_thin_tile(p, rows, 4, wide, o, rescale);
            o += 4 * p->cout;
        }
        if (p->out_w & 2) {
            mcuc_thin_tile(p, rows, 2, wide, o, rescale);
            o += 2 * p->cout;
        }
        if (p->out_w & 1) {
            mcuc_thin_tile(p, rows, 1, wide, o, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_conv_thin_s8(const mcuc_conv_thin_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_conv_thin_rows(p, in, out, y0, y1, scratch, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_conv_thin_any_s8(const mcuc_conv_thin_any_s8_params *p, const mcuc_src *in,
                                       const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    if (p->wide) {
        mcuc_conv_thin_rows(p, in, out, y0, y1, scratch, 1, rescale);
    } else {
        mcuc_conv_thin_rows(p, in, out, y0, y1, scratch, 0, rescale);
    }
}

#endif
