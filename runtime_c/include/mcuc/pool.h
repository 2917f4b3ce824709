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
 * aliasing       the output may take the place of the input unless there is padding at the top or
 *                left: a group of channels is read before it is written, and later windows start
 *                further on
 * scratch        none
 * exactness      max moves bytes; average equals mcucompile.quant.mean.MeanRule
 * speed          average 8.0, max 4.2 instructions per result of 2x2 windows in words; 3x3: 12 and
 *                8 (Cortex-M4)
 */
#ifndef MCUC_POOL_H
#define MCUC_POOL_H

#include "mcuc/mcuc.h"

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

/* Positions [first, end) of a window on one axis. */
typedef struct {
    int32_t first, end;
} mcuc_taps;

/* Those of `taps` positions start, start + dilation, ... that lie in [lo, hi). */
MCUC_KERNEL mcuc_taps mcuc_taps_within(int32_t start, int32_t dilation, int32_t taps, int32_t lo,
                                       int32_t hi) {
    mcuc_taps t = {0, taps};
    if (start < lo) {
        t.first = (lo - start + dilation - 1) / dilation;
    }
    if (start + (taps - 1) * dilation >= hi) {
        t.end = (hi - start + dilation - 1) / dilation;
    }
    return t;
}

/* `rows` rows of `taps` numbers; the first is at x, they are `step` bytes apart, the rows
 * `row_step`. In a ring (wrap > 0) the row after `last` is `wrap` bytes before it comes. */
typedef struct {
    const int8_t *x;
    int32_t rows, taps;
    int32_t step, row_step;
    const int8_t *last;
    int32_t wrap;
} mcuc_window;

/* The window of output pixel (ox, y); `row` is the first of `rows` in memory that it covers. */
MCUC_KERNEL mcuc_window mcuc_window_at(const mcuc_pool_s8_params *p, const mcuc_src *in,
                                       mcuc_taps rows, const int8_t *row, int32_t ox) {
    const int32_t start = ox * p->stride_w - p->pad_left;
    mcuc_taps t = {0, p->kernel_w};
    if (p->padded) {
        t = mcuc_taps_within(start, p->dilation_w, p->kernel_w, 0, p->width);
    }
    mcuc_window w;
    w.x = row + (start + t.first * p->dilation_w) * p->channels;
    w.rows = rows.end - rows.first;
    w.taps = t.end - t.first;
    w.step = p->dilation_w * p->channels;
    w.row_step = p->dilation_h * in->stride;
    w.wrap = in->rows < p->height ? in->rows * in->stride : 0;
    w.last = in->base + in->rows * in->stride - 1;
    return w;
}

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

/* Small windows of a size known at compile time are unrolled, others are loops. */
#define MCUC_SMALL(n) (__builtin_constant_p(n) && (n) <= 4)

/* -- Max ------------------------------------------------------------------------------------- */

MCUC_KERNEL uint32_t mcuc_max_row_word(const mcuc_window *w, const int8_t *x, uint32_t y) {
    const int32_t s = w->step;
    if (MCUC_SMALL(w->taps)) {
        y = mcuc_max8x4(y, mcuc_load32(x));
        y = w->taps > 1 ? mcuc_max8x4(y, mcuc_load32(x + s)) : y;
        y = w->taps > 2 ? mcuc_max8x4(y, mcuc_load32(x + 2 * s)) : y;
        return w->taps > 3 ? mcuc_max8x4(y, mcuc_load32(x + 3 * s)) : y;
    }
    for (int32_t i = 0; i < w->taps; i++, x += s) {
        y = mcuc_max8x4(y, mcuc_load32(x));
    }
    return y;
}

/* Four channels from `c` on: the largest of each. */
MCUC_KERNEL uint32_t mcuc_max_word(const mcuc_window *w, int32_t c) {
    const int8_t *x = w->x + c;
    uint32_t y = mcuc_max_row_word(w, x, 0x80808080u);
    if (MCUC_SMALL(w->rows)) {
        y = w->rows > 1 ? mcuc_max_row_word(w, x = mcuc_window_next(w, x), y) : y;
        y = w->rows > 2 ? mcuc_max_row_word(w, x = mcuc_window_next(w, x), y) : y;
        return w->rows > 3 ? mcuc_max_row_word(w, x = mcuc_window_next(w, x), y) : y;
    }
    for (int32_t i = 1; i < w->rows; i++) {
        y = mcuc_max_row_word(w, x = mcuc_window_next(w, x), y);
    }
    return y;
}

MCUC_KERNEL int32_t mcuc_max_byte(const mcuc_window *w, int32_t c) {
    const int8_t *row = w->x + c;
    int32_t y = -128;
    for (int32_t i = 0; i < w->rows; i++, row = mcuc_window_next(w, row)) {
        const int8_t *x = row;
        for (int32_t j = 0; j < w->taps; j++, x += w->step) {
            y = *x > y ? *x : y;
        }
    }
    return y;
}

MCUC_KERNEL void mcuc_max_pixel(const mcuc_pool_s8_params *p, const mcuc_window *w, int words,
                                int8_t *o) {
    if (words) {
        for (int32_t c = 0; c < p->channels; c += 4) {
            mcuc_store32(o + c, mcuc_clamp8x4(mcuc_max_word(w, c), p->lo, p->hi));
        }
    } else {
        for (int32_t c = 0; c < p->channels; c++) {
            o[c] = mcuc_clamp8(mcuc_max_byte(w, c), p->lo, p->hi);
        }
    }
}

/* -- Average --------------------------------------------------------------------------------- */

/* Sums of four channels in lanes of 16 bits: channels 0 and 2, 1 and 3. */
typedef struct {
    uint32_t even, odd;
} mcuc_sums;

MCUC_KERNEL mcuc_sums mcuc_sums_add(mcuc_sums s, const int8_t *x) {
    const uint32_t v = mcuc_load32(x);
    mcuc_sums r = {mcuc_even8_add(s.even, v), mcuc_odd8_add(s.odd, v)};
    return r;
}

MCUC_KERNEL mcuc_sums mcuc_average_row_word(const mcuc_window *w, const int8_t *x, mcuc_sums y) {
    const int32_t s = w->step;
    if (MCUC_SMALL(w->taps)) {
        y = mcuc_sums_add(y, x);
        y = w->taps > 1 ? mcuc_sums_add(y, x + s) : y;
        y = w->taps > 2 ? mcuc_sums_add(y, x + 2 * s) : y;
        return w->taps > 3 ? mcuc_sums_add(y, x + 3 * s) : y;
    }
    for (int32_t i = 0; i < w->taps; i++, x += s) {
        y = mcuc_sums_add(y, x);
    }
    return y;
}

MCUC_KERNEL mcuc_sums mcuc_average_sums(const mcuc_window *w, const int8_t *x, mcuc_sums y) {
    y = mcuc_average_row_word(w, x, y);
    if (MCUC_SMALL(w->rows)) {
        y = w->rows > 1 ? mcuc_average_row_word(w, x = mcuc_window_next(w, x), y) : y;
        y = w->rows > 2 ? mcuc_average_row_word(w, x = mcuc_window_next(w, x), y) : y;
        return w->rows > 3 ? mcuc_average_row_word(w, x = mcuc_window_next(w, x), y) : y;
    }
    for (int32_t i = 1; i < w->rows; i++) {
        y = mcuc_average_row_word(w, x = mcuc_window_next(w, x), y);
    }
    return y;
}

MCUC_KERNEL int32_t mcuc_average_scale(const mcuc_pool_s8_params *p, int32_t sum, int32_t m) {
    return mcuc_sat8(mcuc_mul_round_even(sum * (int32_t)(1u << p->shift), m, p->zp));
}

/* Four channels from `c` on. The sums start at -zero = -n * zp_in: no number less its zero-point
 * exceeds 255, so that 128 of them fit into a lane. */
MCUC_KERNEL uint32_t mcuc_average_word(const mcuc_pool_s8_params *p, const mcuc_window *w,
                                       int32_t c, int32_t zero, int32_t m) {
    const uint32_t start = mcuc_pack16(-zero, -zero);
    const mcuc_sums empty = {start, start};
    const mcuc_sums s = mcuc_average_sums(w, w->x + c, empty);
    const int32_t y0 = mcuc_average_scale(p, mcuc_lo16(s.even), m);
    const int32_t y1 = mcuc_average_scale(p, mcuc_lo16(s.odd), m);
    const int32_t y2 = mcuc_average_scale(p, mcuc_hi16(s.even), m);
    const int32_t y3 = mcuc_average_scale(p, mcuc_hi16(s.odd), m);
    return mcuc_clamp8x4(mcuc_join8(y0, y1, y2, y3), p->lo, p->hi);
}

MCUC_KERNEL int32_t mcuc_average_byte(const mcuc_window *w, int32_t c) {
    const int8_t *row = w->x + c;
    int32_t sum = 0;
    for (int32_t i = 0; i < w->rows; i++, row = mcuc_window_next(w, row)) {
        const int8_t *x = row;
        for (int32_t j = 0; j < w->taps; j++, x += w->step) {
            sum += *x;
        }
    }
    return sum;
}

MCUC_KERNEL void mcuc_average_pixel(const mcuc_pool_s8_params *p, const mcuc_window *w, int words,
                                    int32_t m, int8_t *o) {
    const int32_t zero = w->rows * w->taps * p->zp_in;
    if (words) {
        for (int32_t c = 0; c < p->channels; c += 4) {
            mcuc_store32(o + c, mcuc_average_word(p, w, c, zero, m));
        }
    } else {
        for (int32_t c = 0; c < p->channels; c++) {
            const int32_t sum = mcuc_average_byte(w, c) - zero;
            o[c] = mcuc_clamp8(mcuc_average_scale(p, sum, m), p->lo, p->hi);
        }
    }
}

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

/* -- Both ------------------------------------------------------------------------------------ */

/* Output rows [y0, y1). A window inside the image has its size at compile time. */
MCUC_KERNEL void mcuc_pool(const mcuc_pool_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                           int32_t y0, int32_t y1, int words, int average) {
    for (int32_t y = y0; y < y1; y++) {
        const int32_t start = y * p->stride_h - p->pad_top;
        mcuc_taps rows = {0, p->kernel_h};
        if (p->padded) {
            rows = mcuc_taps_within(start, p->dilation_h, p->kernel_h, 0, p->height);
        }
        const int8_t *row = mcuc_src_row(in, start + rows.first * p->dilation_h);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t ox = 0; ox < p->out_width; ox++, o += p->channels) {
            mcuc_window w = mcuc_window_at(p, in, rows, row, ox);
            const int32_t m = average && p->padded ? mcuc_average_multiplier(p, ox, y) : p->m;
            if (w.rows == p->kernel_h && w.taps == p->kernel_w) {
                w.rows = p->kernel_h, w.taps = p->kernel_w;
                average ? mcuc_average_pixel(p, &w, words, m, o) : mcuc_max_pixel(p, &w, words, o);
            } else {
                average ? mcuc_average_pixel(p, &w, words, m, o) : mcuc_max_pixel(p, &w, words, o);
            }
        }
    }
}

MCUC_KERNEL void mcuc_max_pool_s8(const mcuc_max_pool_s8_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    mcuc_pool(p, in, out, y0, y1, mcuc_pool_by_words(p, in, out), 0);
}

MCUC_KERNEL void mcuc_average_pool_s8(const mcuc_average_pool_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    const int words = p->kernel_h * p->kernel_w <= 128 && mcuc_pool_by_words(p, in, out);
    mcuc_pool(p, in, out, y0, y1, words, 1);
}

#endif
