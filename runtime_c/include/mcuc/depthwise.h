/* mcuc_depthwise_<kh>x<kw>s<s>_s8: depthwise convolution without dilation, for one window size and
 * horizontal stride each.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx] * x[iy][ix][c]) with
 *                iy = oy * sh - top + ky, ix = ox * s - left + kx; outside of the input x is in_zp
 * layout         NHWC; weights[channels][kh][kw], bias[channels], m[channels]
 * preconditions  the input zero-point is folded into the bias; sums stay within int32
 * aliasing       the output may take the place of the input if both have the same shape: four
 *                channels at a time, an input row is expanded before any output row is written
 *                that is not above it
 * scratch        words: 4 * kh * pairs for the input, 4 * (2 * kh - 1) * (kw - 1) for the weights
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 0.51 for 3x3s1 on rows of 48 pixels, 0.38 of 5;
 *                0.33 for 3x3s2; 0.66 for 5x5s1 and 0.78 for 7x7s1 on rows of 12; 0.39 for 1x10
 *
 * The last kh input rows of four channels lie in scratch as int16 lanes, two pixels per word: word
 * (j * kh + slot) * 4 + c holds pixels 2j and 2j + 1 of channel c, pixel 0 being the left edge of
 * the padding. One address with constant offsets reaches a whole window. Slots are a ring; instead
 * of moving rows, the weights are rotated: their rows stand twice in scratch. They stand there as
 * the pairs (w[i], w[i + 1]), so that SMLAD takes two taps wherever a window starts.
 *
 * The kernels named `any` are for layers with a shift or a clamp.
 */
#ifndef MCUC_DEPTHWISE_H
#define MCUC_DEPTHWISE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t in_h, in_w, out_w, channels;
    int32_t sh, top, left;
    int32_t pairs; /* words per expanded row: all that the windows of out_w pixels, rounded up to
                      a multiple of 4, reach, and all of the input */
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

/* The kh x kw weights of a channel as pairs of lanes, every row but the last twice. */
MCUC_KERNEL void mcuc_depthwise_unpack(const int8_t *weights, uint32_t *w, int32_t kh, int32_t kw) {
    for (int32_t row = 0; row < kh; row++) {
        for (int32_t i = 0; i + 1 < kw; i++) {
            uint32_t pair = mcuc_pack16(weights[i], weights[i + 1]);
            w[i] = pair;
            if (row + 1 < kh) {
                w[kh * (kw - 1) + i] = pair;
            }
        }
        weights += kw;
        w += kw - 1;
    }
}

/* Adds the taps that a word of two pixels has in a window starting i pixels before it; w: the pairs
 * of a row of k weights. All but v and acc are compile-time constants. */
MCUC_KERNEL int32_t mcuc_depthwise_tap(uint32_t v, const uint32_t *w, int32_t i, int32_t k,
                                       int32_t acc) {
    if (i == -1) {
        return mcuc_smlatb(v, w[0], acc);
    }
    if (i == k - 1) {
        return mcuc_smlabt(v, w[k - 2], acc);
    }
    return i >= 0 && i < k - 1 ? mcuc_smlad(v, w[i], acc) : acc;
}

/* n (2 or 4) output pixels of one channel; the first `count` of them to o. */
MCUC_KERNEL void mcuc_depthwise_block(const uint32_t *x, const uint32_t *w, int32_t kh, int32_t kw,
                                      int32_t s, int32_t n, int32_t bias, int32_t m, int8_t *o,
                                      int32_t channels, int32_t count, mcuc_rescale rescale) {
    const int32_t words = ((n - 1) * s + kw + 1) / 2;
    MCUC_FORGET_MEMORY(); /* or gcc keeps pixels for the next block, and spills others for it */
    int32_t s0 = bias, s1 = bias, s2 = bias, s3 = bias;
#pragma GCC unroll 16
    for (int32_t row = 0; row < kh; row++) {
        const uint32_t *r = w + row * (kw - 1);
#pragma GCC unroll 16
        for (int32_t j = 0; j < words; j++) {
            uint32_t v = x[(j * kh + row) * 4];
            s0 = mcuc_depthwise_tap(v, r, 2 * j, kw, s0);
            s1 = mcuc_depthwise_tap(v, r, 2 * j - s, kw, s1);
            if (n == 4) {
                s2 = mcuc_depthwise_tap(v, r, 2 * j - 2 * s, kw, s2);
                s3 = mcuc_depthwise_tap(v, r, 2 * j - 3 * s, kw, s3);
            }
        }
    }
    o[0] = mcuc_rescale_apply(rescale, s0, m);
    if (count > 1) {
        o[channels] = mcuc_rescale_apply(rescale, s1, m);
    }
    if (n == 4 && count > 2) {
        o[2 * channels] = mcuc_rescale_apply(rescale, s2, m);
    }
    if (n == 4 && count > 3) {
        o[3 * channels] = mcuc_rescale_apply(rescale, s3, m);
    }
}

/* One output row of one channel. */
MCUC_KERNEL void mcuc_depthwise_row(const uint32_t *x, const uint32_t *w, int32_t kh, int32_t kw,
                                    int32_t s, int32_t bias, int32_t m, int8_t *o, int32_t channels,
                                    int32_t width, mcuc_rescale rescale) {
    for (int32_t i = width >> 2; i > 0; i--) {
        mcuc_depthwise_block(x, w, kh, kw, s, 4, bias, m, o, channels, 4, rescale);
        x += 2 * s * kh * 4;
        o += 4 * channels;
    }
    if ((width & 3) == 3) {
        mcuc_depthwise_block(x, w, kh, kw, s, 4, bias, m, o, channels, 3, rescale);
    } else if (width & 3) {
        mcuc_depthwise_block(x, w, kh, kw, s, 2, bias, m, o, channels, width & 3, rescale);
    }
}

MCUC_KERNEL void mcuc_depthwise_rows(const mcuc_depthwise_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch,
                                     int32_t kh, int32_t kw, int32_t s, mcuc_rescale rescale) {
    const int32_t channels = p->channels;
    const int32_t weight_words = (2 * kh - 1) * (kw - 1);
    uint32_t *x = (uint32_t *)scratch, *w = x + 4 * kh * p->pairs;
    const uint32_t padding = mcuc_pack16(p->in_zp, p->in_zp);
    for (int32_t i = 0; i < 4 * kh * p->pairs; i++) {
        x[i] = padding;
    }
    for (int32_t c0 = 0; c0 < channels; c0 += 4) {
        const int32_t count = channels % 4 == 0 || c0 + 4 <= channels ? 4 : channels - c0;
        int32_t iy = y0 * p->sh - p->top, slot = 0; /* the next row to expand, and where to */
        for (int32_t c = 0; c < count; c++) {
            mcuc_depthwise_unpack(p->weights + (c0 + c) * kh * kw, w + c * weight_words, kh, kw);
        }
        for (int32_t y = y0; y < y1; y++) {
            const int32_t end = y * p->sh - p->top + kh;
            for (; iy < end; iy++) {
                int32_t inside = iy >= 0 && iy < p->in_h;
                mcuc_depthwise_expand(p, inside ? mcuc_src_row(in, iy) + c0 : NULL, count,
                                      x + 4 * slot, 4 * kh);
                slot = slot + 1 == kh ? 0 : slot + 1;
            }
            /* The oldest row, which is the first of the window, lies in the next slot. */
            const int32_t turn = slot == 0 ? 0 : kh - slot;
            int8_t *o = mcuc_dst_row(out, y) + c0;
            for (int32_t c = 0; c < count; c++) {
                mcuc_depthwise_row(x + c, w + c * weight_words + turn * (kw - 1), kh, kw, s,
                                   p->bias[c0 + c], p->m[c0 + c], o + c, channels, p->out_w,
                                   rescale);
            }
        }
    }
}

/* The kernels for one window size and horizontal stride. */
#define MCUC_DEPTHWISE(name, kh, kw, s)                                                            \
    typedef mcuc_depthwise_params name##_s8_params;                                                \
    typedef mcuc_depthwise_params name##_any_s8_params;                                            \
    MCUC_KERNEL void name##_s8(const mcuc_depthwise_params *p, const mcuc_src *in,                 \
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {       \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, mcuc_rescale_plain(p->zp));    \
    }                                                                                              \
    MCUC_KERNEL void name##_any_s8(const mcuc_depthwise_params *p, const mcuc_src *in,             \
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {   \
        mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};                                    \
        mcuc_depthwise_rows(p, in, out, y0, y1, scratch, kh, kw, s, rescale);                      \
    }

MCUC_DEPTHWISE(mcuc_depthwise_3x3s1, 3, 3, 1)
MCUC_DEPTHWISE(mcuc_depthwise_3x3s2, 3, 3, 2)
MCUC_DEPTHWISE(mcuc_depthwise_5x5s1, 5, 5, 1)
MCUC_DEPTHWISE(mcuc_depthwise_5x5s2, 5, 5, 2)
MCUC_DEPTHWISE(mcuc_depthwise_7x7s1, 7, 7, 1)
MCUC_DEPTHWISE(mcuc_depthwise_7x7s2, 7, 7, 2)
MCUC_DEPTHWISE(mcuc_depthwise_1x3s1, 1, 3, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x5s1, 1, 5, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x7s1, 1, 7, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x9s1, 1, 9, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x10s1, 1, 10, 1)
MCUC_DEPTHWISE(mcuc_depthwise_1x15s1, 1, 15, 1)

#endif
