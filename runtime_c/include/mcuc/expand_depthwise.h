/* mcuc_expand_depthwise_<k>x<k>s<s>_s8: a pointwise convolution, and a depthwise one of its result,
 * for one square window and horizontal stride each.
 *
 * computes       what mcuc_conv1x1_s8 and mcuc_depthwise_<k>x<k>s<s>r1_s8 compute one after the
 *                other: e[iy][ix][c] = requant(bias[c] + sum_k w[c][k] * x[iy][ix][k]), then y of
 * e, which outside of the image is in_zp layout         x: cin, y: channels bytes per pixel.
 * expand_weights: see gemm.h, elements in word order if cin % 4 == 0, in natural order otherwise.
 * The others: see depthwise.h preconditions  those of both kernels order          A call takes the
 * channels four by four, and for all of them reads the input rows again. aliasing       none
 * scratch        words: 4 * k * pairs for rows of e, 4 * k * (k - 1) for the weights, and a tile of
 *                min(in_w, 4) * ceil(cin / 2)
 * exactness      the bits of the two kernels
 *
 * Of e there are never more than k rows of four channels, expanded to lanes, where the depthwise
 * convolution reads them. A call computes each row of e that it needs once, so that in calls for
 * one row each, k / sh times as many products are formed as if e were stored. What is read of x is
 * expanded for every four channels anew; that costs some 3 cin of 14 cin instructions per tile.
 */
#ifndef MCUC_EXPAND_DEPTHWISE_H
#define MCUC_EXPAND_DEPTHWISE_H

#include "mcuc/depthwise.h"
#include "mcuc/gemm.h"

typedef struct {
    int32_t in_h, in_w, out_w, channels;
    int32_t sh, top, left;
    int32_t pairs;
    int32_t in_zp; /* of e */
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *m;
    mcuc_shift shift;
    int32_t zp, lo, hi;
    int32_t cin;
    int32_t wide;
    const uint32_t *expand_weights;
    mcuc_shift expand_shift;
    int32_t expand_lo, expand_hi;
} mcuc_expand_depthwise_params;

/* The pointwise convolution. */
typedef struct {
    int32_t cin, wide;
    const uint32_t *weights;
    uint32_t *tile;
    mcuc_rescale rescale;
} mcuc_expand;

/* n pixels of four channels, from e on, as lanes: from pixel `at` of a slot on. */
MCUC_KERNEL void mcuc_expand_put(const uint32_t *e, int32_t n, char *slot, int32_t pitch,
                                 int32_t at) {
#pragma GCC unroll 4
    for (int32_t i = 0; i < n; i++) {
        char *d = slot + ((at + i) >> 1) * pitch + 2 * ((at + i) & 1);
        const uint32_t even = mcuc_even8(e[i]), odd = mcuc_odd8(e[i]);
        mcuc_store16(d, mcuc_lo16(even));
        mcuc_store16(d + 4, mcuc_lo16(odd));
        mcuc_store16(d + 8, mcuc_hi16(even));
        mcuc_store16(d + 12, mcuc_hi16(odd));
    }
}

/* The n pixels from x on, of which the first one is pixel `at` of the slot. w: the streams of the
 * four channels. */
MCUC_KERNEL void mcuc_expand_pixels(const mcuc_expand *h, const int8_t *x, int32_t n,
                                    const uint32_t *w, int32_t count, char *slot, int32_t pitch,
                                    int32_t at) {
    uint32_t e[4] = {0, 0, 0, 0};
    mcuc_gemm_put(h->tile, n, 0, x, h->cin, h->cin, h->cin % 4 == 0);
    mcuc_gemm_tile(h->tile, w, (h->cin + 1) / 2, n, h->wide, count, (int8_t *)e, 4, h->rescale);
    mcuc_expand_put(e, n, slot, pitch, at);
}

/* See mcuc_depthwise_fetch: of rows that are computed from x. */
MCUC_KERNEL void mcuc_expand_fetch(const mcuc_depthwise_params *p, const void *how, const int8_t *x,
                                   int32_t c, int32_t count, uint32_t *slot, int32_t rows,
                                   const mcuc_depthwise_row *row) {
    const mcuc_expand *h = (const mcuc_expand *)how;
    const uint32_t *w = h->weights + c / 2 * ((h->cin + 1) / 2 + 4);
    const uint32_t padding = mcuc_pack16(p->in_zp, p->in_zp);
    const int32_t first = p->left & 1, end = first + p->in_w, pitch = row->pitch;
    for (; rows > 0; rows--) {
        char *d = (char *)slot;
        const int8_t *v = x;
        int32_t at = first;
        if (first) { /* a lane of padding beside the row */
            mcuc_depthwise_fill(slot, padding, 1, 4);
        }
        if (end & 1) {
            mcuc_depthwise_fill(slot + (end >> 1) * pitch / 4, padding, 1, 4);
        }
        for (int32_t i = p->in_w >> 2; i > 0; i--) {
            mcuc_expand_pixels(h, v, 4, w, count, d, pitch, at);
            v += 4 * h->cin;
            at += 4;
        }
        if (p->in_w & 2) {
            mcuc_expand_pixels(h, v, 2, w, count, d, pitch, at);
            v += 2 * h->cin;
            at += 2;
        }
        if (p->in_w & 1) {
            mcuc_expand_pixels(h, v, 1, w, count, d, pitch, at);
        }
        x += row->stride;
        slot += 4;
    }
}

/* wide, expand, rescale: of the pointwise convolution, and of the depthwise one. */
MCUC_KERNEL void mcuc_expand_depthwise_rows(const mcuc_expand_depthwise_params *p,
                                            const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                            int32_t y1, void *scratch, int32_t k, int32_t s,
                                            int32_t wide, mcuc_rescale expand, mcuc_rescale rescale,
                                            mcuc_depthwise_core *core, mcuc_depthwise_tail *tail) {
    const mcuc_depthwise_params depthwise = {
        p->in_h,  p->in_w,    p->out_w, p->channels, p->sh,    p->top, p->left, p->pairs,
        p->in_zp, p->weights, p->bias,  p->m,        p->shift, p->zp,  p->lo,   p->hi};
    uint32_t *tile = (uint32_t *)scratch + 4 * k * p->pairs + 4 * k * (k - 1);
    const mcuc_expand how = {p->cin, wide, p->expand_weights, tile, expand};
    mcuc_depthwise_rows(&depthwise, in, out, y0, y1, scratch, k, k, s, 1, rescale, core, tail,
                        mcuc_expand_fetch, &how);
}

/* The kernels for one window size and horizontal stride. */
#define MCUC_EXPAND_DEPTHWISE(name, k, s, core, tail)                                              \
    typedef mcuc_expand_depthwise_params name##_s8_params;                                         \
    typedef mcuc_expand_depthwise_params name##_any_s8_params;                                     \
    MCUC_KERNEL void name##_s8(const mcuc_expand_depthwise_params *p, const mcuc_src *in,          \
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {       \
        mcuc_expand_depthwise_rows(p, in, out, y0, y1, scratch, k, s, 0,                           \
                                   mcuc_rescale_plain(p->in_zp), mcuc_rescale_plain(p->zp), core,  \
                                   tail);                                                          \
    }                                                                                              \
    MCUC_KERNEL void name##_any_s8(const mcuc_expand_depthwise_params *p, const mcuc_src *in,      \
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {   \
        mcuc_rescale expand = {p->expand_shift, p->in_zp, p->expand_lo, p->expand_hi};             \
        mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};                                    \
        mcuc_expand_depthwise_rows(p, in, out, y0, y1, scratch, k, s, p->wide, expand, rescale,    \
                                   NULL, NULL);                                                    \
    }

#ifdef MCUC_DEPTHWISE_CORE
#define MCUC_EXPAND_DEPTHWISE_SQUARE(window, k, s)                                                 \
    MCUC_EXPAND_DEPTHWISE(mcuc_expand_depthwise_##window, k, s, mcuc_depthwise_##window##r1_run,   \
                          mcuc_depthwise_##window##r1_tail(mcuc_depthwise_rest(p->out_w)))
#else
#define MCUC_EXPAND_DEPTHWISE_SQUARE(window, k, s)                                                 \
    MCUC_EXPAND_DEPTHWISE(mcuc_expand_depthwise_##window, k, s, NULL, NULL)
#endif

MCUC_EXPAND_DEPTHWISE_SQUARE(3x3s1, 3, 1)
MCUC_EXPAND_DEPTHWISE_SQUARE(3x3s2, 3, 2)
MCUC_EXPAND_DEPTHWISE_SQUARE(5x5s1, 5, 1)
MCUC_EXPAND_DEPTHWISE_SQUARE(5x5s2, 5, 2)
MCUC_EXPAND_DEPTHWISE_SQUARE(7x7s1, 7, 1)
MCUC_EXPAND_DEPTHWISE_SQUARE(7x7s2, 7, 2)

#endif
