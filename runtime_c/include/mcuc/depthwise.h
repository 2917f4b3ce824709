/* mcuc_depthwise_<kh>x<kw>s<s>r<step>_s8: depthwise convolution without dilation, for one window
 * size, horizontal stride and number of output rows at a time each.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx] * x[iy][ix][c]) with
 *                iy = oy * sh - top + ky, ix = ox * s - left + kx; outside of the input x is in_zp
 * layout         NHWC; weights[channels][kh][kw], bias[channels], m[channels]
 * preconditions  the input zero-point is folded into the bias; sums stay within int32
 * order          A call takes the channels four by four. Of these it reads each input row at most
 *                once, from above to below, and writes an output row y after it has read the input
 *                rows up to y * sh - top + kh - 1.
 * aliasing       Where output and input lie a whole number of pixels apart, an output row y may
 *                cover, also in part, input rows up to y * sh - top + kh - 1 that no later call
 *                reads (these begin with row y1 * sh - top): rows of four channels have been read
 *                by then, and the others stay as they are. So the output may take the place of the
 *                input if its rows are not longer and top < kh, and the row of a call for one that
 *                of the first input row it reads.
 * scratch        words: 4 * slots * pairs for the input, 4 * kh * (kw - 1) for the weights, with
 *                slots = (step - 1) * s + kh
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 0.58 for 3x3s1 on rows of 48 pixels, 0.48 of 5;
 *                0.39 for 3x3s2; 0.81 for 5x5s1 and 0.96 for 7x7s1 on rows of 12. One row per call:
 *                0.47 for 3x3s1 on rows of 48; two rows: 0.53
 *
 * The input rows that the next `step` output rows need lie in scratch, expanded (see
 * `depthwise_expand.h`). Rows that are needed again move to the first slots. The weights of four
 * channels stand in scratch, too, as the pairs (w[i], w[i + 1]), so that SMLAD takes two taps
 * wherever a window starts; those of a small window stay in registers for all `step` rows.
 *
 * A call for fewer rows than `step` does no work for the others. If the vertical stride is another
 * than s, rows are computed one at a time. The kernels named `any` are for layers with a shift or a
 * clamp; there is no assembly for them (see `arch/depthwise_dsp.h`).
 */
#ifndef MCUC_DEPTHWISE_H
#define MCUC_DEPTHWISE_H

#include "mcuc/depthwise_expand.h"

#define MCUC_DEPTHWISE_RESIDENT 6 /* words of a channel's weights that registers hold */

typedef struct {
    int32_t in_h, in_w, out_w, channels;
    int32_t sh, top, left;
    int32_t
        pairs; /* words per expanded row: all that words of windows reach, and all of the input */
    int32_t in_zp;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *m;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_depthwise_params;

/* What computes a run; NULL where there is no assembly for it. x: the first window of the first
 * channel; w: the weights; o: the first result. */
typedef void mcuc_depthwise_core(const uint32_t *x, const uint32_t *w, int8_t *o,
                                 const mcuc_depthwise_run *run);

/* Expands `rows` input rows to neighbouring slots: channels [c, c + count) of those from x on. how:
 * what it needs besides. */
typedef void mcuc_depthwise_fetch(const mcuc_depthwise_params *p, const void *how, const int8_t *x,
                                  int32_t c, int32_t count, uint32_t *slot, int32_t rows,
                                  const mcuc_depthwise_row *row);

/* Of rows that are there. */
MCUC_KERNEL void mcuc_depthwise_fetch_stored(const mcuc_depthwise_params *p, const void *how,
                                             const int8_t *x, int32_t c, int32_t count,
                                             uint32_t *slot, int32_t rows,
                                             const mcuc_depthwise_row *row) {
    (void)how;
    if (p->channels % 4 == 0) {
        mcuc_depthwise_expand4(x + c, slot, rows, row);
    } else {
        mcuc_depthwise_expand_bytes(x + c, slot, rows, row, count);
    }
}

/* How many outputs the last block of a row has, after blocks of 4. */
MCUC_KERNEL int32_t mcuc_depthwise_rest(int32_t width) {
    return (width & 3) == 1 && width > 1 ? 5 : width & 3;
}

/* y % rows; a whole tensor needs no division. */
MCUC_KERNEL int32_t mcuc_depthwise_place(int32_t y, int32_t rows) {
    return y < rows ? y : y % rows;
}

/* `count` words from w to registers. */
MCUC_KERNEL void mcuc_depthwise_load_weights(const uint32_t *w, uint32_t *registers,
                                             int32_t count) {
#pragma GCC unroll 16
    for (int32_t i = 0; i + 1 < count; i += 2) {
        mcuc_load_pair(w + i, &registers[i], &registers[i + 1]);
    }
    if (count & 1) {
        registers[count - 1] = w[count - 1];
    }
}

/* Adds the taps that a word of two pixels has in a window starting i pixels before it; w: the pairs
 * of a row of k weights. The first taps of a window add to `bias`. All but v, bias and acc are
 * compile-time constants. */
MCUC_KERNEL int32_t mcuc_depthwise_tap(uint32_t v, const uint32_t *w, int32_t i, int32_t k,
                                       int32_t is_first, int32_t bias, int32_t acc) {
    if (i == -1) {
        return is_first ? mcuc_smlatb_from(v, w[0], bias) : mcuc_smlatb(v, w[0], acc);
    }
    if (i == 0 && is_first) {
        return mcuc_smlad_from(v, w[0], bias);
    }
    if (i == k - 1) {
        return mcuc_smlabt(v, w[k - 2], acc);
    }
    return i >= 0 && i < k - 1 ? mcuc_smlad(v, w[i], acc) : acc;
}

/* What the outputs of a channel have in common. Few weights stay in registers, others in scratch.
 */
typedef struct {
    const uint32_t *w;
    int32_t bias, m;
    mcuc_rescale rescale;
} mcuc_depthwise_channel;

MCUC_KERNEL int32_t mcuc_depthwise_is_resident(int32_t kh, int32_t kw) {
    return kh * (kw - 1) <= MCUC_DEPTHWISE_RESIDENT;
}

/* n (up to 5) output pixels of one channel to o; x: their windows, in `slots` slots. */
MCUC_KERNEL void mcuc_depthwise_block(const uint32_t *x, const mcuc_depthwise_channel *channel,
                                      const uint32_t *resident, int32_t kh, int32_t kw, int32_t s,
                                      int32_t slots, int32_t n, int8_t *o, int32_t channels) {
    const int32_t words = ((n - 1) * s + kw + 1) / 2;
    MCUC_FORGET_MEMORY(); /* or gcc keeps pixels for the next block, and spills others for it */
    const int32_t bias = channel->bias;
    const uint32_t *w = channel->w;
    int32_t acc[5] = {0, 0, 0, 0, 0};
#pragma GCC unroll 16
    for (int32_t row = 0; row < kh; row++) {
        uint32_t loaded[16];
        const uint32_t *r = resident + row * (kw - 1);
        if (!mcuc_depthwise_is_resident(kh, kw)) {
            MCUC_OPAQUE(w);
            mcuc_depthwise_load_weights(w + row * (kw - 1), loaded, kw - 1);
            r = loaded;
        }
#pragma GCC unroll 16
        for (int32_t j = 0; j < words; j++) {
            /* volatile: or gcc loads it again for each tap */
            uint32_t v = *(const volatile uint32_t *)(x + (j * slots + row) * 4);
#pragma GCC unroll 5
            for (int32_t i = 0; i < n; i++) {
                int32_t at = 2 * j - i * s; /* of the word in this window */
                acc[i] = mcuc_depthwise_tap(v, r, at, kw, row == 0 && at <= 0, bias, acc[i]);
            }
        }
    }
#pragma GCC unroll 5
    for (int32_t i = 0; i < n; i++) {
        o[i * channels] = mcuc_rescale_apply(channel->rescale, acc[i], channel->m);
    }
}

/* All output rows of a run; see mcuc_depthwise_core. */
MCUC_KERNEL void mcuc_depthwise_channels(const uint32_t *x, const uint32_t *weights, int8_t *o,
                                         const mcuc_depthwise_run *run, int32_t kh, int32_t kw,
                                         int32_t s, int32_t slots, mcuc_rescale rescale) {
    const int32_t pixel = run->pixel, rest = run->rest;
    for (int32_t c = 0; c < run->channels; c++) {
        mcuc_depthwise_channel channel = {weights, run->bias[c], run->m[c], rescale};
        uint32_t w[MCUC_DEPTHWISE_RESIDENT];
        int8_t *d = o + c;
        if (mcuc_depthwise_is_resident(kh, kw)) {
            mcuc_depthwise_load_weights(channel.w, w, kh * (kw - 1));
        }
        for (int32_t row = 0; row < run->rows; row++) {
            const uint32_t *v = x + c + row * s * 4;
            MCUC_OPAQUE(d); /* or gcc keeps sums of c and multiples of pixel */
            for (int32_t i = run->blocks; i > 0; i--) {
                mcuc_depthwise_block(v, &channel, w, kh, kw, s, slots, 4, d, pixel);
                v += 2 * s * slots * 4;
                d += 4 * pixel;
            }
            if (rest == 5) {
                mcuc_depthwise_block(v, &channel, w, kh, kw, s, slots, 5, d, pixel);
            } else if (rest == 3) {
                mcuc_depthwise_block(v, &channel, w, kh, kw, s, slots, 3, d, pixel);
            } else if (rest == 2) {
                mcuc_depthwise_block(v, &channel, w, kh, kw, s, slots, 2, d, pixel);
            } else if (rest == 1) {
                mcuc_depthwise_block(v, &channel, w, kh, kw, s, slots, 1, d, pixel);
            }
            d += run->skip;
        }
        weights += kh * (kw - 1);
    }
}

/* At most `step` output rows at a time, if rows are `s` apart. */
MCUC_KERNEL void mcuc_depthwise_rows(const mcuc_depthwise_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                     int32_t kh, int32_t kw, int32_t s, int32_t step,
                                     mcuc_rescale rescale, mcuc_depthwise_core *core,
                                     mcuc_depthwise_tail *tail, mcuc_depthwise_fetch *fetch,
                                     const void *how) {
    const int32_t channels = p->channels, down = p->sh, slots = (step - 1) * s + kh;
    const int32_t at_once = down == s ? step : 1, kept = kh - down, is_single = y1 - y0 <= at_once;
    const int32_t in_h = p->in_h, out_w = p->out_w, pairs = p->pairs;
    const int32_t is_odd = p->left & 1, width = p->in_w - is_odd;
    const int32_t before = p->left >> 1, seen = is_odd + ((width + 1) >> 1); /* pairs */
    const uint32_t padding = mcuc_pack16(p->in_zp, p->in_zp);
    const mcuc_depthwise_row row = {.pixel = channels,
                                    .pitch = 16 * slots,
                                    .stride = in->stride,
                                    .padding = (uint32_t)(uint8_t)p->in_zp * 0x01010101u,
                                    .is_odd = is_odd,
                                    .fours = width >> 2,
                                    .rest = width & 3};
    const int32_t rest = mcuc_depthwise_rest(out_w), blocks = (out_w - rest) >> 2;
    mcuc_depthwise_run run = {.rows = 1,
                              .channels = 4,
                              .pixel = channels,
                              .skip = out->stride - 4 * blocks * channels,
                              .blocks = blocks,
                              .tail = tail,
                              .zp = rescale.zp,
                              .bias = p->bias,
                              .m = p->m,
                              .rest = rest};
    uint32_t *x = (uint32_t *)scratch, *w = x + 4 * slots * pairs, *inner = x + 4 * slots * before;
    mcuc_depthwise_fill(x, padding, before * slots, 4);
    mcuc_depthwise_fill(inner + 4 * slots * seen, padding, (pairs - before - seen) * slots, 4);
    for (int32_t c = 0; c < channels; c += 4) {
        const int32_t count = channels % 4 == 0 || c + 4 <= channels ? 4 : channels - c;
        int32_t slot = 0; /* the first that has not been filled */
#pragma GCC unroll 1
        for (int32_t i = 0; i < count; i++) {
            mcuc_depthwise_unpack(p->weights + (c + i) * kh * kw, w + i * kh * (kw - 1), kh, kw);
        }
        run.channels = count;
        for (int32_t y = y0; y < y1; y += at_once) {
            const int32_t n = y1 - y < at_once ? y1 - y : at_once, end = (n - 1) * down + kh;
            int32_t iy = y * down - p->top + slot;
            while (slot < end) {
                int32_t rows = end - slot;
                if (iy < 0 || iy >= in_h) {
                    rows = 1;
                    if (c == 0 || !is_single) {
                        mcuc_depthwise_fill(inner + 4 * slot, padding, seen, 4 * slots);
                    }
                } else {
                    const int32_t place = mcuc_depthwise_place(iy, in->rows);
                    const int8_t *v = in->base + place * in->stride;
                    rows = rows < in_h - iy ? rows : in_h - iy;
                    rows = rows < in->rows - place ? rows : in->rows - place;
                    fetch(p, how, v, c, count, inner + 4 * slot, rows, &row);
                }
                slot += rows;
                iy += rows;
            }
            for (int32_t done = 0; done < n; done += run.rows) {
                const int32_t place = mcuc_depthwise_place(y + done, out->rows);
                const uint32_t *windows = x + 4 * s * done;
                int8_t *o = out->base + place * out->stride + c;
                run.rows = n - done < out->rows - place ? n - done : out->rows - place;
                if (core != NULL) {
                    core(windows, w, o, &run);
                } else {
                    mcuc_depthwise_channels(windows, w, o, &run, kh, kw, s, slots, rescale);
                }
            }
            slot = 0;
            if (kept > 0 && y + at_once < y1) {
                mcuc_depthwise_move(x, pairs, slots, at_once * down, kept, kh - s);
                slot = kept;
            }
        }
        run.bias += 4;
        run.m += 4;
    }
}

/* The kernels for one window size, horizontal stride and number of output rows at a time. */
#define MCUC_DEPTHWISE(name, kh, kw, s, step, core, tail)                                          \
    typedef mcuc_depthwise_params name##_s8_params;                                                \
    typedef mcuc_depthwise_params name##_any_s8_params;                                            \
    MCUC_KERNEL void name##_s8(const mcuc_depthwise_params *p, const mcuc_src *in,                 \
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {       \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, step,                          \
                            mcuc_rescale_plain(p->zp), core, tail, mcuc_depthwise_fetch_stored,    \
                            NULL);                                                                 \
    }                                                                                              \
    MCUC_KERNEL void name##_any_s8(const mcuc_depthwise_params *p, const mcuc_src *in,             \
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {   \
        mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};                                    \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, step, rescale, NULL, NULL,     \
                            mcuc_depthwise_fetch_stored, NULL);                                    \
    }

#ifdef MCUC_DEPTHWISE_CORE
#define MCUC_DEPTHWISE_SQUARE(name, k, s, step)                                                    \
    MCUC_DEPTHWISE_CORE(name, k, s, ((step - 1) * s + k))                                          \
    MCUC_DEPTHWISE(name, k, k, s, step, name##_run, name##_tail(mcuc_depthwise_rest(p->out_w)))
#else
#define MCUC_DEPTHWISE_SQUARE(name, k, s, step) MCUC_DEPTHWISE(name, k, k, s, step, NULL, NULL)
#endif

MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s1r1, 3, 1, 1)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s1r2, 3, 1, 2)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s1r3, 3, 1, 3)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s1r6, 3, 1, 6)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s2r1, 3, 2, 1)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s2r2, 3, 2, 2)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_3x3s2r3, 3, 2, 3)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_5x5s1r1, 5, 1, 1)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_5x5s1r2, 5, 1, 2)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_5x5s1r4, 5, 1, 4)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_5x5s2r1, 5, 2, 1)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_5x5s2r2, 5, 2, 2)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_7x7s1r1, 7, 1, 1)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_7x7s1r2, 7, 1, 2)
MCUC_DEPTHWISE_SQUARE(mcuc_depthwise_7x7s2r1, 7, 2, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x3s1r1, 1, 3, 1, 1, NULL, NULL)
MCUC_DEPTHWISE(mcuc_depthwise_1x5s1r1, 1, 5, 1, 1, NULL, NULL)
MCUC_DEPTHWISE(mcuc_depthwise_1x7s1r1, 1, 7, 1, 1, NULL, NULL)
MCUC_DEPTHWISE(mcuc_depthwise_1x9s1r1, 1, 9, 1, 1, NULL, NULL)
MCUC_DEPTHWISE(mcuc_depthwise_1x10s1r1, 1, 10, 1, 1, NULL, NULL)
MCUC_DEPTHWISE(mcuc_depthwise_1x15s1r1, 1, 15, 1, 1, NULL, NULL)

#endif
