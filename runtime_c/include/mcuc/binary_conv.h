/* mcuc_binary_conv_b1, mcuc_binary_conv_s8: convolution of bits with weights of -1 and +1.
 *
 * computes       the sum of x * w over the window, exactly (see binary.h), and from it
 *                b1: the bit sum >= t[c]
 *                s8: requant(unit[c] * sum + bias[c])
 *                What a window sees outside of the image is `pad`: -1, 0 or +1
 * layout         Pixels are words of 32 channels, channel c at bit c % 32 of word c / 32; the bits
 *                beyond the last channel are 0. The channels of an input pixel are divided into
 *                blocks of 96 (the last may have fewer). weights: for each 32 output channels a
 *                word per tap (ky, kx), block and channel, and after each block a word of zeros.
 *                pads: (pad == 0) for each 32 output channels and each tap the number of its
 *                weights of +1, `pad_planes` words. limits: (b1) for each 32 output channels
 *                t + 2 V, and then 2 V + 1 - t, `planes` words each. channels: (s8) of each output
 *                channel bias - 2 V unit, bias + 2 V unit, unit, and the multiplier
 * preconditions  kh * kw * (cin + blocks) <= 65536
 * aliasing       Rows are computed from top to bottom; each input row is read once in a call,
 *                before the first row of the result that needs it.
 *
 * scratch        for each pixel of the input rows of a window and each block, the indices of its
 *                ones from below and those of its zeros from above, a byte each; how many ones
 *                there are; and the list of the weights that are counted
 *
 * exactness      sums are exact; s8 equals mcucompile.quant.numbers.Requant on them
 *
 * speed          see the table in bench/layers.py; the cost depends on the data but little, as the
 *                activations that are fewer are visited
 */
#ifndef MCUC_BINARY_CONV_H
#define MCUC_BINARY_CONV_H

#include "mcuc/binary_window.h"

typedef struct {
    int32_t in_h, in_w, cin, out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw, top, left;
    int32_t pad;
    int32_t direct; /* windows straight from the input, without expanded rows */
    int32_t planes; /* bits of X */
    int32_t pad_planes;
    const uint32_t *weights;
    const uint32_t *pads;
    const uint32_t *limits;
} mcuc_binary_conv_b1_params;

typedef struct {
    int32_t in_h, in_w, cin, out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw, top, left;
    int32_t pad;
    int32_t direct; /* windows straight from the input, without expanded rows */
    int32_t planes; /* bits of X */
    int32_t pad_planes;
    const uint32_t *weights;
    const uint32_t *pads;
    const int32_t *channels;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_binary_conv_s8_params;

/* X of 32 output channels, group g. */
MCUC_KERNEL void mcuc_binary_sum(const mcuc_binary_conv *p, const mcuc_binary_window *window,
                                 int32_t g, mcuc_binary_at at, uint32_t *planes) {
    const int32_t taps = p->kh * p->kw;
    mcuc_binary_set(planes, p->planes, window->least);
    for (int32_t tap = 0; tap < taps && p->pad_planes > 0 && !window->whole; tap++) {
        const int32_t iy = at.iy + tap / p->kw * p->dh, ix = at.ix + tap % p->kw * p->dw;
        if (!mcuc_binary_inside(iy, p->in_h) || !mcuc_binary_inside(ix, p->in_w)) {
            mcuc_binary_add(planes + 1, p->pads + (g * taps + tap) * p->pad_planes, p->pad_planes);
        }
    }
    mcuc_binary_count(planes + 2, p->weights + g * taps * mcuc_binary_tap(p), window->list,
                      window->sixteens);
}

/* Where the windows of a row of the result come from. */
typedef struct {
    const mcuc_src *in;
    mcuc_binary_ring ring;
    uint32_t *list;
    int32_t next; /* input row to expand */
} mcuc_binary_source;

/* The scratch memory, divided. */
MCUC_KERNEL mcuc_binary_source mcuc_binary_begin(const mcuc_binary_conv *p, const mcuc_src *in,
                                                 void *scratch) {
    mcuc_binary_source s = {in, {(uint8_t *)scratch, NULL, 0}, (uint32_t *)scratch, 0};
    if (!p->direct) {
        s.ring.rows = (p->kh - 1) * p->dh + 1;
        const int32_t cells = s.ring.rows * p->in_w * mcuc_binary_blocks(p);
        s.ring.counts = s.ring.cells + cells * mcuc_binary_cell(p);
        s.list = (uint32_t *)(void *)(s.ring.counts + ((cells + 3) & ~3));
    }
    return s;
}

/* The first window of row y of the result. */
MCUC_KERNEL mcuc_binary_at mcuc_binary_row(const mcuc_binary_conv *p, mcuc_binary_source *s,
                                           int32_t y) {
    mcuc_binary_at at = {y * p->sh - p->top, -p->left, 0};
    if (!p->direct) {
        mcuc_binary_advance(p, s->in, &s->ring, y, &s->next);
        at.slot = at.iy % s->ring.rows;
        at.slot += at.slot < 0 ? s->ring.rows : 0;
    }
    return at;
}

MCUC_KERNEL mcuc_binary_window mcuc_binary_see(const mcuc_binary_conv *p,
                                               const mcuc_binary_source *s, mcuc_binary_at at) {
    return p->direct ? mcuc_binary_of_input(p, s->in, (uint16_t *)(void *)s->list, at)
                     : mcuc_binary_of_ring(p, &s->ring, s->list, at);
}

MCUC_KERNEL void mcuc_binary_conv_b1(const mcuc_binary_conv_b1_params *params, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_binary_conv conv = MCUC_BINARY_CONV_OF(params), *p = &conv;
    mcuc_binary_source source = mcuc_binary_begin(p, in, scratch);
    uint32_t planes[MCUC_BINARY_PLANES];
    for (int32_t y = y0; y < y1; y++) {
        mcuc_binary_at at = mcuc_binary_row(p, &source, y);
        uint32_t *o = (uint32_t *)(void *)mcuc_dst_row(out, y);
        for (int32_t x = 0; x < p->out_w; x++) {
            const mcuc_binary_window window = mcuc_binary_see(p, &source, at);
            for (int32_t g = 0; g * 32 < p->cout; g++) {
                mcuc_binary_sum(p, &window, g, at, planes);
                const uint32_t *limit = params->limits + (2 * g + !window.ones) * p->planes;
                uint32_t yes = mcuc_binary_at_least(planes, limit, p->planes);
                yes = window.ones ? yes : ~yes;
                if (p->cout - g * 32 < 32) {
                    yes &= (1u << (p->cout & 31)) - 1u;
                }
                *o++ = yes;
            }
            at.ix += p->sw;
        }
    }
}

/* int8 results of the 32 channels of a group, or as many as there are, from their X. */
MCUC_KERNEL void mcuc_binary_results(const mcuc_binary_conv_s8_params *p, uint32_t *planes,
                                     const int32_t *channels, int32_t count, int32_t ones,
                                     int8_t *o) {
    const int32_t sign = ones ? 1 : -1;
    mcuc_binary_to_bytes(planes);
    mcuc_binary_to_bytes(planes + 8);
    for (int32_t q = 0; q < 8 && q < count; q++) { /* channels q, q + 8, q + 16, q + 24 */
        uint32_t low = planes[q], high = planes[q + 8];
        const int32_t *channel = channels + 4 * q;
        for (int32_t c = q; c < count; c += 8) {
            int32_t x = (int32_t)((low & 0xFFu) | ((high & 0xFFu) << 8)) * sign;
            x = x * channel[2] + channel[!ones];
            o[c] = mcuc_requant(x, channel[3], p->shift, p->zp, p->lo, p->hi);
            low >>= 8;
            high >>= 8;
            channel += 32;
        }
    }
}

MCUC_KERNEL void mcuc_binary_conv_s8(const mcuc_binary_conv_s8_params *params, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const mcuc_binary_conv conv = MCUC_BINARY_CONV_OF(params), *p = &conv;
    mcuc_binary_source source = mcuc_binary_begin(p, in, scratch);
    uint32_t planes[MCUC_BINARY_PLANES];
    for (int32_t y = y0; y < y1; y++) {
        mcuc_binary_at at = mcuc_binary_row(p, &source, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t x = 0; x < p->out_w; x++) {
            const mcuc_binary_window window = mcuc_binary_see(p, &source, at);
            for (int32_t c = 0; c < p->cout; c += 32) {
                const int32_t count = p->cout - c < 32 ? p->cout - c : 32;
                mcuc_binary_set(planes + p->planes, MCUC_BINARY_PLANES - p->planes, 0);
                mcuc_binary_sum(p, &window, c / 32, at, planes);
                mcuc_binary_results(params, planes, params->channels + 4 * c, count, window.ones,
                                    o + c);
            }
            o += p->cout;
            at.ix += p->sw;
        }
    }
}

#endif
