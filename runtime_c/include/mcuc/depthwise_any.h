/* mcuc_depthwise_s8: depthwise convolution of any window, stride and dilation.
 *
 * computes       y[oy][ox][c] = requant(bias[c] + sum w[c][ky][kx] * x[iy][ix][c]) with
 *                iy = oy * sh - top + ky * dh, ix = ox * sw - left + kx * dw; outside of the input
 *                x is in_zp
 * layout         NHWC; weights[channels][kh][kw], bias[channels], m[channels]
 * preconditions  the input zero-point is folded into the bias; sums stay within int32
 * aliasing       the output may take the place of the input if its rows are not longer: up to
 *                four channels at a time, an input row is expanded before any output row is
 *                written that is not above it
 * scratch        bytes: 8 * slots * dw * lane, slots = (kh - 1) * dh + 1, for the input;
 *                16 * kh * (kw + 1) for the weights
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 0.13 for 1x10; depthwise.h has faster kernels for
 *                the usual windows
 *
 * The last `slots` input rows of four channels lie in scratch as int16 lanes: row [slot][c] has
 * `dw` phases of `lane` pixels; phase f holds the pixels f, f + dw, f + 2 dw..., so that the taps
 * of a dilated window are neighbours. The weights are the pairs (w[i - 1], w[i]), i = 0 .. kw, with
 * zeros beyond both ends, so that SMLAD takes two taps wherever a window starts.
 */
#ifndef MCUC_DEPTHWISE_ANY_H
#define MCUC_DEPTHWISE_ANY_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t in_h, in_w, out_w, channels;
    int32_t kh, kw, sh, sw, dh, dw;
    int32_t top, left;
    int32_t lane; /* pixels per phase, even: all that the windows reach, and all of the input */
    int32_t in_zp;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *m;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_depthwise_s8_params;

/* Expands one input row of `count` channels (x: its first pixel; NULL: padding) to a slot. The
 * padding beside the row is already there. */
MCUC_KERNEL void mcuc_depthwise_any_expand(const mcuc_depthwise_s8_params *p, const int8_t *x,
                                           int32_t count, char *slot) {
    int32_t phase = p->left % p->dw, position = p->left / p->dw;
    for (int32_t ix = 0; ix < p->in_w; ix++) {
        char *d = slot + 2 * (phase * p->lane + position);
        for (int32_t c = 0; c < count; c++) {
            mcuc_store16(d, x == NULL ? p->in_zp : x[ix * p->channels + c]);
            d += 2 * p->dw * p->lane;
        }
        phase++;
        if (phase == p->dw) {
            phase = 0;
            position++;
        }
    }
}

MCUC_KERNEL void mcuc_depthwise_any_unpack(const int8_t *weights, uint32_t *w, int32_t kh,
                                           int32_t kw) {
    for (int32_t row = 0; row < kh; row++) {
        int32_t last = 0;
        for (int32_t i = 0; i < kw; i++) {
            *w++ = mcuc_pack16(last, weights[i]);
            last = weights[i];
        }
        *w++ = mcuc_pack16(last, 0);
        weights += kw;
    }
}

/* The sum of one window: `start` is its first pixel in the phase of lanes x; its rows lie in slots
 * top, top + dh, ... */
MCUC_KERNEL int32_t mcuc_depthwise_any_sum(const mcuc_depthwise_s8_params *p, const uint32_t *x,
                                           const uint32_t *w, int32_t start, int32_t top,
                                           int32_t sum) {
    const int32_t slots = (p->kh - 1) * p->dh + 1, row_words = 2 * p->dw * p->lane;
    const int32_t odd = start & 1, words = (p->kw + 1 + odd) / 2;
    x += start >> 1;
    w += 1 - odd;
    for (int32_t ky = 0; ky < p->kh; ky++) {
        const uint32_t *v = x + top * row_words, *pair = w;
#pragma GCC unroll 2
        for (int32_t i = words; i > 0; i--) {
            sum = mcuc_smlad(*v++, *pair, sum);
            pair += 2;
        }
        w += p->kw + 1;
        top = top + p->dh >= slots ? top + p->dh - slots : top + p->dh;
    }
    return sum;
}

MCUC_KERNEL void mcuc_depthwise_s8(const mcuc_depthwise_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    const int32_t channels = p->channels, slots = (p->kh - 1) * p->dh + 1;
    const int32_t row_words = 2 * p->dw * p->lane, channel_words = row_words / 4;
    const int32_t weight_words = p->kh * (p->kw + 1);
    uint32_t *x = (uint32_t *)scratch, *w = x + slots * row_words;
    for (int32_t i = 0; i < slots * row_words; i++) {
        x[i] = mcuc_pack16(p->in_zp, p->in_zp);
    }
    for (int32_t c0 = 0; c0 < channels; c0 += 4) {
        const int32_t count = c0 + 4 <= channels ? 4 : channels - c0;
        int32_t iy = y0 * p->sh - p->top, slot = 0; /* the next row to expand, and where to */
        for (int32_t c = 0; c < count; c++) {
            mcuc_depthwise_any_unpack(p->weights + (c0 + c) * p->kh * p->kw, w + c * weight_words,
                                      p->kh, p->kw);
        }
        for (int32_t y = y0; y < y1; y++) {
            const int32_t end = y * p->sh - p->top + slots;
            for (; iy < end; iy++) {
                int32_t inside = iy >= 0 && iy < p->in_h;
                mcuc_depthwise_any_expand(p, inside ? mcuc_src_row(in, iy) + c0 : NULL, count,
                                          (char *)(x + slot * row_words));
                slot = slot + 1 == slots ? 0 : slot + 1;
            }
            int8_t *o = mcuc_dst_row(out, y) + c0;
            for (int32_t ox = 0; ox < p->out_w; ox++) {
                int32_t phase = ox * p->sw % p->dw, start = ox * p->sw / p->dw;
                for (int32_t c = 0; c < count; c++) {
                    const uint32_t *lanes = x + c * channel_words + phase * p->lane / 2;
                    int32_t sum = mcuc_depthwise_any_sum(p, lanes, w + c * weight_words, start,
                                                         slot, p->bias[c0 + c]);
                    o[c] = mcuc_rescale_apply(rescale, sum, p->m[c0 + c]);
                }
                o += channels;
            }
        }
    }
}

#endif
