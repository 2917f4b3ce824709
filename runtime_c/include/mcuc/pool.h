/* mcuc_max_pool_s8, mcuc_average_pool_s8: the largest or the mean number in a sliding window.
 *
 * computes       max: clamp(largest of the window's numbers)
 *                average: requant(sum - n * zp_in) with the multiplier m where all positions of the
 *                window count, (numerator + count / 2) / count where `count` do; n is how many
 *                numbers are in the window, which is less than `count` where zeros around the
 *                image count too
 * layout         rows of width (out_width) pixels of `channels` bytes
 * preconditions  each window holds a number; 255 * kernel_h * kernel_w << shift is within int32;
 *                padded is 0 only if no window leaves the image
 * aliasing       Rows are computed from top to bottom, each from left to right, each pixel by 8,
 *                then 4 channels (or 1). What a window has of these channels is read before their
 *                results are written. So from row y on, input rows above y * stride_h - pad_top may
 *                be overwritten; when pixel ox has been computed, also what is left of (ox + 1) *
 *                stride_w - pad_left in that row, unless row y + 1 sees it. The output may take the
 *                place of the input unless there is padding at the top or left.
 * scratch        none
 * exactness      max moves bytes; average equals mcucompile.quant.mean.MeanRule
 * speed          average 5.6, max 3.1 instructions per result of 2x2 windows in words; 3x3: 8.8 and
 *                6.3 (Cortex-M4)
 */
#ifndef MCUC_POOL_H
#define MCUC_POOL_H

#include "mcuc/taps.h"

typedef struct {
    int32_t height, width, channels;
    int32_t out_width;
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_top, pad_left;
    int32_t padded;
    /* average only: padding that counts, and its arithmetic */
    int32_t count_top, count_left, count_bottom, count_right;
    int32_t zp_in;
    uint32_t numerator;
    int32_t m, shift;
    int32_t zp;
    /* both */
    int32_t lo, hi;
} mcuc_pool_s8_params;

typedef mcuc_pool_s8_params mcuc_max_pool_s8_params;
typedef mcuc_pool_s8_params mcuc_average_pool_s8_params;

/* -- Where a window's numbers are ------------------------------------------------------------ */

/* The numbers of a window; the first is at x[0], they are `step` bytes apart, the rows `row_step`.
 * In a ring (wrap > 0) the row after `last` is `wrap` bytes before it comes. Each row of a small
 * window has its pointer in x. */
typedef struct {
    const int8_t *x[4];
    int32_t step, row_step;
    const int8_t *last;
    int32_t wrap;
} mcuc_window;

/* The same number of the next row. */
MCUC_KERNEL const int8_t *mcuc_window_next(const mcuc_window *w, const int8_t *x) {
    x += w->row_step;
    return w->wrap > 0 && x > w->last ? x - w->wrap : x;
}

/* Are all groups of four channels words in memory? */
MCUC_KERNEL int mcuc_pool_by_words(const mcuc_pool_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out) {
    return p->channels % 4 == 0 && mcuc_is_aligned(in->base) && in->stride % 4 == 0 &&
           mcuc_is_aligned(out->base) && out->stride % 4 == 0;
}

/* -- What becomes of them -------------------------------------------------------------------- */

/* The mean, or the largest, of the `rows` x `taps` numbers of a window. */
typedef struct {
    int32_t rows, taps;
    int32_t average;
    int32_t m;      /* the multiplier of the mean */
    int32_t zero;   /* the zero-points in the sum */
    int32_t k;      /* the mean is in bits k.. of the sum, rounded; 0 where it is not so simple */
    uint32_t start; /* of what is made of words: two lanes of sums, or four numbers */
} mcuc_pool_rule;

/* `full`: all positions of the window count, and there is a number in each. */
MCUC_KERNEL mcuc_pool_rule mcuc_pool_rule_of(const mcuc_pool_s8_params *p, int32_t rows,
                                             int32_t taps, int32_t full, int32_t m,
                                             int32_t average) {
    const int32_t n = rows * taps, zero = n * p->zp_in;
    mcuc_pool_rule r = {rows, taps, average, m, zero, 0, 0x80808080u};
    if (average) {
        r.start = mcuc_pack16(-zero, -zero);
    }
    if (average && full && n > 1 && ((int64_t)m * n << p->shift) == (int64_t)1 << 32 &&
        p->zp == p->zp_in) { /* 2^k numbers, and a result with their scale */
        r.k = __builtin_ctz((unsigned)n);
        r.start = mcuc_pack16(n / 2 - 1, n / 2 - 1);
    }
    return r;
}

MCUC_KERNEL int32_t mcuc_average_scale(const mcuc_pool_s8_params *p, int32_t sum, int32_t m) {
    return mcuc_sat8(mcuc_mul_round_even(sum * (int32_t)(1u << p->shift), m, p->zp));
}

/* Two means in bits k.. of the lanes, of sums that started at one half less the least bit. That bit
 * is added where the mean, less its zero-point, would be odd: this rounds one half to even. */
MCUC_KERNEL uint32_t mcuc_average_round(const mcuc_pool_s8_params *p, uint32_t sums, int32_t k) {
    const uint32_t ones = 0x00010001u, mean = sums >> k;
    return mcuc_add16x2(sums, p->zp % 2 != 0 ? ones & ~mean : ones & mean);
}

/* Four means, from the sums of channels 0 and 2, 1 and 3.
 *
 * A sum of at most 128 numbers is below 2^15: its product with m can be halfway between two
 * integers only if m is a multiple of 2^17. Otherwise there is nothing to be rounded to even, and
 * SMLAW may drop 16 bits. Its results, plus 128, are saturated in pairs. */
MCUC_KERNEL uint32_t mcuc_average_word(const mcuc_pool_s8_params *p, mcuc_pool_rule r,
                                       uint32_t sums02, uint32_t sums13) {
    if (r.k > 0) {
        const uint32_t even = mcuc_average_round(p, sums02, r.k);
        const uint32_t odd = mcuc_average_round(p, sums13, r.k);
        return (even >> r.k & 0x00FF00FFu) | (odd << (8 - r.k) & 0xFF00FF00u);
    }
    if (p->shift == 0 && r.m % 65536 != 0) {
        const int32_t c = (p->zp + 128) * 65536 + 32768;
        const int32_t y0 = mcuc_smlawb(r.m, sums02, c), y2 = mcuc_smlawt(r.m, sums02, c);
        const int32_t y1 = mcuc_smlawb(r.m, sums13, c), y3 = mcuc_smlawt(r.m, sums13, c);
        const uint32_t even = mcuc_usat8x2(mcuc_pack_hi((uint32_t)y0, (uint32_t)y2));
        const uint32_t odd = mcuc_usat8x2(mcuc_pack_hi((uint32_t)y1, (uint32_t)y3));
        return (even | odd << 8) ^ 0x80808080u;
    }
    return mcuc_join8(mcuc_average_scale(p, mcuc_lo16(sums02), r.m),
                      mcuc_average_scale(p, mcuc_lo16(sums13), r.m),
                      mcuc_average_scale(p, mcuc_hi16(sums02), r.m),
                      mcuc_average_scale(p, mcuc_hi16(sums13), r.m));
}

/* -- Channels in words ----------------------------------------------------------------------- */

/* Small windows of a size known at compile time are unrolled, others are loops. */
#define MCUC_SMALL(n) (__builtin_constant_p(n) && (n) <= 4)

/* n (1 or 2) words of numbers at x into s. max: the largest so far, in s[0] and s[1]. average: sums
 * in lanes of 16 bits, of channels 0 and 2, 1 and 3, 4 and 6, 5 and 7. */
MCUC_KERNEL void mcuc_pool_take(uint32_t *s, const int8_t *x, int32_t n, int32_t average) {
    uint32_t v[2];
    if (n == 2) {
        mcuc_load_pair((const uint32_t *)(const void *)x, &v[0], &v[1]);
    } else {
        v[0] = mcuc_load32(x);
    }
#pragma GCC unroll 2
    for (int32_t i = 0; i < n; i++) {
        if (average) {
            s[2 * i] = mcuc_even8_add(s[2 * i], v[i]);
            s[2 * i + 1] = mcuc_odd8_add(s[2 * i + 1], v[i]);
        } else {
            s[i] = mcuc_max8x4(s[i], v[i]);
        }
    }
}

/* A row of the window. */
MCUC_KERNEL void mcuc_pool_take_row(uint32_t *s, const mcuc_window *w, const int8_t *x,
                                    mcuc_pool_rule r, int32_t n) {
    if (MCUC_SMALL(r.taps)) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < r.taps; i++) {
            mcuc_pool_take(s, x + i * w->step, n, r.average);
        }
    } else {
        for (int32_t i = 0; i < r.taps; i++, x += w->step) {
            mcuc_pool_take(s, x, n, r.average);
        }
    }
}

/* n words of results, from channel c on. */
MCUC_KERNEL void mcuc_pool_words(const mcuc_pool_s8_params *p, const mcuc_window *w,
                                 mcuc_pool_rule r, int32_t c, int32_t n, int8_t *o) {
    uint32_t s[4] = {r.start, r.start, r.start, r.start}, y[2];
    if (MCUC_SMALL(r.rows)) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < r.rows; i++) {
            mcuc_pool_take_row(s, w, w->x[i] + c, r, n);
        }
    } else {
        const int8_t *x = w->x[0] + c;
        for (int32_t i = 0; i < r.rows; i++, x = mcuc_window_next(w, x)) {
            mcuc_pool_take_row(s, w, x, r, n);
        }
    }
#pragma GCC unroll 2
    for (int32_t i = 0; i < n; i++) {
        y[i] = r.average ? mcuc_average_word(p, r, s[2 * i], s[2 * i + 1]) : s[i];
        y[i] = mcuc_clamp8x4(y[i], p->lo, p->hi);
    }
    if (n == 2) {
        mcuc_store_pair((uint32_t *)(void *)(o + c), y[0], y[1]);
    } else {
        mcuc_store32(o + c, y[0]);
    }
}

/* The window moves on by some channels. */
MCUC_KERNEL void mcuc_window_move(mcuc_window *w, mcuc_pool_rule r, int32_t channels) {
    const int32_t pointers = MCUC_SMALL(r.rows) ? r.rows : 1;
#pragma GCC unroll 4
    for (int32_t i = 0; i < pointers; i++) {
        w->x[i] += channels;
        MCUC_OPAQUE(w->x[i]);
    }
}

/* One pixel of the result, from a window of which x[0] is known. */
MCUC_KERNEL void mcuc_pool_pixel_by_words(const mcuc_pool_s8_params *p, mcuc_window *w,
                                          mcuc_pool_rule r, int8_t *o) {
    if (MCUC_SMALL(r.rows)) {
#pragma GCC unroll 4
        for (int32_t i = 1; i < r.rows; i++) {
            w->x[i] = mcuc_window_next(w, w->x[i - 1]);
        }
    }
    for (int32_t block = p->channels >> 4; block > 0; block--) {
        mcuc_pool_words(p, w, r, 0, 2, o);
        mcuc_pool_words(p, w, r, 8, 2, o);
        mcuc_window_move(w, r, 16);
        o += 16;
    }
    if (p->channels & 8) {
        mcuc_pool_words(p, w, r, 0, 2, o);
        mcuc_window_move(w, r, 8);
        o += 8;
    }
    if (p->channels & 4) {
        mcuc_pool_words(p, w, r, 0, 1, o);
    }
}

/* -- Channels in bytes ----------------------------------------------------------------------- */

MCUC_KERNEL void mcuc_pool_pixel_by_bytes(const mcuc_pool_s8_params *p, const mcuc_window *w,
                                          mcuc_pool_rule r, int8_t *o) {
    for (int32_t c = 0; c < p->channels; c++) {
        const int8_t *row = w->x[0] + c;
        int32_t sum = -r.zero, largest = -128;
        for (int32_t i = 0; i < r.rows; i++, row = mcuc_window_next(w, row)) {
            const int8_t *x = row;
            for (int32_t j = 0; j < r.taps; j++, x += w->step) {
                sum += *x;
                largest = *x > largest ? *x : largest;
            }
        }
        o[c] = mcuc_clamp8(r.average ? mcuc_average_scale(p, sum, r.m) : largest, p->lo, p->hi);
    }
}

/* -- Pixels and rows ------------------------------------------------------------------------- */

/* The multiplier of output pixel (ox, y). */
MCUC_KERNEL int32_t mcuc_average_multiplier(const mcuc_pool_s8_params *p, int32_t ox, int32_t y) {
    const mcuc_taps rows =
        mcuc_taps_within(y * p->stride_h - p->pad_top, p->dilation_h, p->kernel_h, -p->count_top,
                         p->height + p->count_bottom);
    const mcuc_taps columns =
        mcuc_taps_within(ox * p->stride_w - p->pad_left, p->dilation_w, p->kernel_w, -p->count_left,
                         p->width + p->count_right);
    const int32_t count = (rows.end - rows.first) * (columns.end - columns.first);
    if (count == p->kernel_h * p->kernel_w) {
        return p->m;
    }
    return (int32_t)((p->numerator + (uint32_t)count / 2) / (uint32_t)count);
}

MCUC_KERNEL void mcuc_pool_pixel(const mcuc_pool_s8_params *p, mcuc_window *w, mcuc_pool_rule r,
                                 int words, int8_t *o) {
    if (words) {
        mcuc_pool_pixel_by_words(p, w, r, o);
    } else {
        mcuc_pool_pixel_by_bytes(p, w, r, o);
    }
}

/* Output rows [y0, y1). A window inside the image has its size at compile time. */
MCUC_KERNEL void mcuc_pool(const mcuc_pool_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                           int32_t y0, int32_t y1, int words, int32_t average) {
    const mcuc_pool_rule whole = mcuc_pool_rule_of(p, p->kernel_h, p->kernel_w, 1, p->m, average);
    mcuc_window w;
    w.step = p->dilation_w * p->channels;
    w.row_step = p->dilation_h * in->stride;
    w.wrap = in->rows < p->height ? in->rows * in->stride : 0;
    w.last = in->base + in->rows * in->stride - 1;
    for (int32_t y = y0; y < y1; y++) {
        const int32_t top = y * p->stride_h - p->pad_top;
        mcuc_taps rows = {0, p->kernel_h}, taps = {0, p->kernel_w};
        if (p->padded) {
            rows = mcuc_taps_within(top, p->dilation_h, p->kernel_h, 0, p->height);
        }
        const int8_t *row = mcuc_src_row(in, top + rows.first * p->dilation_h);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t ox = 0; ox < p->out_width; ox++, o += p->channels) {
            const int32_t left = ox * p->stride_w - p->pad_left;
            if (p->padded) {
                taps = mcuc_taps_within(left, p->dilation_w, p->kernel_w, 0, p->width);
            }
            const int32_t h = rows.end - rows.first, v = taps.end - taps.first;
            w.x[0] = row + left * p->channels + taps.first * w.step;
            if (h == p->kernel_h && v == p->kernel_w) {
                mcuc_pool_pixel(p, &w, whole, words, o);
            } else {
                const int32_t m = average ? mcuc_average_multiplier(p, ox, y) : 0;
                mcuc_pool_pixel(p, &w, mcuc_pool_rule_of(p, h, v, 0, m, average), words, o);
            }
        }
    }
}

MCUC_KERNEL void mcuc_max_pool_s8(const mcuc_max_pool_s8_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    if (mcuc_pool_by_words(p, in, out)) {
        mcuc_pool(p, in, out, y0, y1, 1, 0);
    } else {
        mcuc_pool(p, in, out, y0, y1, 0, 0);
    }
}

MCUC_KERNEL void mcuc_average_pool_s8(const mcuc_average_pool_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    if (p->kernel_h * p->kernel_w <= 128 && mcuc_pool_by_words(p, in, out)) {
        mcuc_pool(p, in, out, y0, y1, 1, 1);
    } else {
        mcuc_pool(p, in, out, y0, y1, 0, 1);
    }
}

#endif
