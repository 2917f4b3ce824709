/* mcuc_depthwise_<kh>x<kw>s<s>r<step>_s8: depthwise convolution without dilation, for one window
 * size, horizontal stride and number of output rows at a time each.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx] * x[iy][ix][c]) with
 *                iy = oy * sh - top + ky, ix = ox * s - left + kx; outside of the input x is in_zp
 * layout         NHWC; weights[channels][kh][kw], bias[channels], m[channels]
 * preconditions  the input zero-point is folded into the bias; sums stay within int32
 * aliasing       the output may take the place of the input if both have the same shape: four
 *                channels at a time, an input row is expanded before any output row is written
 *                that is not above it
 * scratch        words: 4 * slots * pairs for the input, 4 * kh * (kw - 1) for the weights, with
 *                slots = (step - 1) * s + kh
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 0.53 for 3x3s1 on rows of 48 pixels, 0.42 of 5;
 *                0.33 for 3x3s2; 0.68 for 5x5s1 and 0.83 for 7x7s1 on rows of 12
 *
 * The input rows that the next `step` output rows need lie in scratch as int16 lanes of four
 * channels, two pixels per word: word (j * slots + row) * 4 + c holds pixels 2j and 2j + 1 of
 * channel c, pixel 0 being the left edge of the padding. One address with constant offsets reaches
 * a whole window. Rows that are needed again move to the first slots. The weights stand in scratch
 * as the pairs (w[i], w[i + 1]), so that SMLAD takes two taps wherever a window starts; those of a
 * small window stay in registers for all `step` rows.
 *
 * If the vertical stride is another than s, rows are computed one at a time. The kernels named
 * `any` are for layers with a shift or a clamp.
 */
#ifndef MCUC_DEPTHWISE_H
#define MCUC_DEPTHWISE_H

#include "mcuc/mcuc.h"

#define MCUC_DEPTHWISE_RESIDENT 6 /* words of a channel's weights that registers hold */
#define MCUC_DEPTHWISE_STEP 6     /* output rows at a time, at most */

typedef struct {
    int32_t in_h, in_w, out_w, channels;
    int32_t sh, top, left;
    int32_t
        pairs; /* words per expanded row: all that words of windows reach, and all of the input */
    int32_t in_zp;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *m;
    int32_t shift, zp, lo, hi;
} mcuc_depthwise_params;

/* `count` channels of a pixel as bytes of a word; `by_word`: x is 4-byte aligned. */
MCUC_KERNEL uint32_t mcuc_depthwise_load(const int8_t *x, int32_t count, int32_t by_word) {
    uint32_t v = 0;
    if (by_word) {
        return mcuc_load32(x);
    }
    for (int32_t i = 0; i < count; i++) {
        v |= (uint32_t)(uint8_t)x[i] << (8 * i);
    }
    return v;
}

/* Two neighbouring pixels a and b (four channels each) to the four words at d. */
MCUC_KERNEL void mcuc_depthwise_store_pair(uint32_t *d, uint32_t a, uint32_t b) {
    uint32_t a_even = mcuc_even8(a), a_odd = mcuc_odd8(a);
    uint32_t b_even = mcuc_even8(b), b_odd = mcuc_odd8(b);
    d[0] = mcuc_pack_lo(a_even, b_even);
    d[1] = mcuc_pack_lo(a_odd, b_odd);
    d[2] = mcuc_pack_hi(a_even, b_even);
    d[3] = mcuc_pack_hi(a_odd, b_odd);
}

/* Expands one input row of `count` channels (x: its first pixel; NULL: padding) to a slot;
 * consecutive pairs are `step` words apart. The padding beside the row is already there. */
MCUC_KERNEL void mcuc_depthwise_expand(const mcuc_depthwise_params *p, const int8_t *x,
                                       int32_t count, uint32_t *slot, int32_t step) {
    const int32_t channels = p->channels, by_word = channels % 4 == 0;
    const uint32_t zp = (uint32_t)(uint8_t)p->in_zp * 0x01010101u;
    uint32_t *d = slot + (p->left >> 1) * step;
    int32_t width = p->in_w;
    if (x == NULL) {
        for (int32_t i = (p->left & 1) + width; i > 0; i -= 2) {
            mcuc_depthwise_store_pair(d, zp, zp);
            d += step;
        }
        return;
    }
    if (p->left & 1) {
        mcuc_depthwise_store_pair(d, zp, mcuc_depthwise_load(x, count, by_word));
        x += channels;
        d += step;
        width--;
    }
#pragma GCC unroll 2
    for (int32_t i = width >> 1; i > 0; i--) {
        mcuc_depthwise_store_pair(d, mcuc_depthwise_load(x, count, by_word),
                                  mcuc_depthwise_load(x + channels, count, by_word));
        x += 2 * channels;
        d += step;
    }
    if (width & 1) {
        mcuc_depthwise_store_pair(d, mcuc_depthwise_load(x, count, by_word), zp);
    }
}

/* The kh x kw weights of a channel as pairs of lanes; three rows at once. */
MCUC_KERNEL void mcuc_depthwise_unpack(const int8_t *weights, uint32_t *w, int32_t kh, int32_t kw) {
    const int32_t at_once = kh == 3 ? 3 : 1;
    for (int32_t row = 0; row < kh; row += at_once) {
#pragma GCC unroll 3
        for (int32_t r = 0; r < at_once; r++) {
#pragma GCC unroll 16
            for (int32_t i = 0; i + 1 < kw; i++) {
                w[i] = mcuc_pack16(weights[i], weights[i + 1]);
            }
            weights += kw;
            w += kw - 1;
        }
    }
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

/* `rows` output rows of one channel, whose windows are `down` slots apart; o[row] + c: where a row
 * starts. */
MCUC_KERNEL void mcuc_depthwise_channel_rows(const uint32_t *x,
                                             const mcuc_depthwise_channel *channel, int32_t kh,
                                             int32_t kw, int32_t s, int32_t slots, int32_t rows,
                                             int32_t down, int8_t *const *o, int32_t c,
                                             int32_t channels, int32_t width) {
    const int32_t rest = width & 3, ends_in_5 = rest == 1 && width > 1;
    uint32_t w[MCUC_DEPTHWISE_RESIDENT];
    if (mcuc_depthwise_is_resident(kh, kw)) {
        mcuc_depthwise_load_weights(channel->w, w, kh * (kw - 1));
    }
    for (int32_t row = 0; row < rows; row++) {
        const uint32_t *v = x + row * down * 4;
        int8_t *d = o[row] + c;
        MCUC_OPAQUE(d); /* or gcc keeps sums of c and multiples of channels */
        for (int32_t i = (width >> 2) - ends_in_5; i > 0; i--) {
            mcuc_depthwise_block(v, channel, w, kh, kw, s, slots, 4, d, channels);
            v += 2 * s * slots * 4;
            d += 4 * channels;
        }
        if (ends_in_5) {
            mcuc_depthwise_block(v, channel, w, kh, kw, s, slots, 5, d, channels);
        } else if (rest == 3) {
            mcuc_depthwise_block(v, channel, w, kh, kw, s, slots, 3, d, channels);
        } else if (rest == 2) {
            mcuc_depthwise_block(v, channel, w, kh, kw, s, slots, 2, d, channels);
        } else if (rest == 1) {
            mcuc_depthwise_block(v, channel, w, kh, kw, s, slots, 1, d, channels);
        }
    }
}

/* Moves the `kept` rows from slot `from` on to slot 0. */
MCUC_KERNEL void mcuc_depthwise_move(uint32_t *x, int32_t pairs, int32_t slots, int32_t from,
                                     int32_t kept) {
    for (int32_t j = pairs; j > 0; j--) {
#pragma GCC unroll 16
        for (int32_t i = 0; i < kept; i++) {
            uint32_t *d = x + 4 * i, *v = d + 4 * from, a, b;
            mcuc_load_pair(v, &a, &b);
            mcuc_store_pair(d, a, b);
            mcuc_load_pair(v + 2, &a, &b);
            mcuc_store_pair(d + 2, a, b);
        }
        x += 4 * slots;
    }
}

/* At most `step` output rows at a time, if rows are `s` apart. */
MCUC_KERNEL void mcuc_depthwise_rows(const mcuc_depthwise_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                     int32_t kh, int32_t kw, int32_t s, int32_t step,
                                     mcuc_rescale rescale) {
    const int32_t channels = p->channels, down = p->sh, slots = (step - 1) * s + kh;
    const int32_t at_once = down == s ? step : 1, kept = kh - down;
    const int32_t weight_words = kh * (kw - 1);
    uint32_t *x = (uint32_t *)scratch, *w = x + 4 * slots * p->pairs;
    const uint32_t padding = mcuc_pack16(p->in_zp, p->in_zp);
    for (int32_t i = 0; i < 4 * slots * p->pairs; i++) {
        x[i] = padding;
    }
    for (int32_t c0 = 0; c0 < channels; c0 += 4) {
        const int32_t count = channels % 4 == 0 || c0 + 4 <= channels ? 4 : channels - c0;
        int32_t slot = 0; /* the first that has not been filled */
        for (int32_t c = 0; c < count; c++) {
            mcuc_depthwise_unpack(p->weights + (c0 + c) * kh * kw, w + c * weight_words, kh, kw);
        }
        for (int32_t y = y0; y < y1; y += at_once) {
            const int32_t rows = at_once == 1 || y1 - y < at_once ? y1 - y : at_once;
            const int32_t n = at_once == 1 ? 1 : rows;
            const int32_t first = y * down - p->top;
            int8_t *o[MCUC_DEPTHWISE_STEP];
            for (int32_t i = 0; i < n; i++) {
                o[i] = mcuc_dst_row(out, y + i) + c0;
            }
            for (; slot < (n - 1) * down + kh; slot++) {
                int32_t iy = first + slot, inside = iy >= 0 && iy < p->in_h;
                mcuc_depthwise_expand(p, inside ? mcuc_src_row(in, iy) + c0 : NULL, count,
                                      x + 4 * slot, 4 * slots);
            }
            for (int32_t c = 0; c < count; c++) {
                mcuc_depthwise_channel channel = {w + c * weight_words, p->bias[c0 + c],
                                                  p->m[c0 + c], rescale};
                mcuc_depthwise_channel_rows(x + c, &channel, kh, kw, s, slots, n, down, o, c,
                                            channels, p->out_w);
            }
            slot = 0;
            if (kept > 0 && y + at_once < y1) {
                mcuc_depthwise_move(x, p->pairs, slots, at_once * down, kept);
                slot = kept;
            }
        }
    }
}

/* The kernels for one window size, horizontal stride and number of output rows at a time. */
#define MCUC_DEPTHWISE(name, kh, kw, s, step)                                                      \
    typedef mcuc_depthwise_params name##_s8_params;                                                \
    typedef mcuc_depthwise_params name##_any_s8_params;                                            \
    MCUC_KERNEL void name##_s8(const mcuc_depthwise_params *p, const mcuc_src *in,                 \
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {       \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, step,                          \
                            mcuc_rescale_plain(p->zp));                                            \
    }                                                                                              \
    MCUC_KERNEL void name##_any_s8(const mcuc_depthwise_params *p, const mcuc_src *in,             \
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {   \
        mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};                                    \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, step, rescale);                \
    }

MCUC_DEPTHWISE(mcuc_depthwise_3x3s1r2, 3, 3, 1, 2)
MCUC_DEPTHWISE(mcuc_depthwise_3x3s1r6, 3, 3, 1, 6)
MCUC_DEPTHWISE(mcuc_depthwise_3x3s1r4, 3, 3, 1, 4)
MCUC_DEPTHWISE(mcuc_depthwise_3x3s2r2, 3, 3, 2, 2)
MCUC_DEPTHWISE(mcuc_depthwise_3x3s2r3, 3, 3, 2, 3)
MCUC_DEPTHWISE(mcuc_depthwise_5x5s1r2, 5, 5, 1, 2)
MCUC_DEPTHWISE(mcuc_depthwise_5x5s2r1, 5, 5, 2, 1)
MCUC_DEPTHWISE(mcuc_depthwise_7x7s1r2, 7, 7, 1, 2)
MCUC_DEPTHWISE(mcuc_depthwise_7x7s2r1, 7, 7, 2, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x3s1r1, 1, 3, 1, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x5s1r1, 1, 5, 1, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x7s1r1, 1, 7, 1, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x9s1r1, 1, 9, 1, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x10s1r1, 1, 10, 1, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x15s1r1, 1, 15, 1, 1)

#endif
