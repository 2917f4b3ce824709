/* mcuc_dense_s8: dense layer of one vector (and convolution whose window is the whole input).
 *
 * computes       y[c] = requant(bias[c] + sum_k w[c][k] * x[k])
 * layout         one row: x has cin bytes from a 4-byte aligned address, y cout bytes
 * weights        One stream per four output channels, and one per two where at most two are left
 *                (mcuc_dense_large_s8: one per eight as long as there are):
 *                    bias[n], words[ceil(cin / 2)] of the pairs of channels in turn, m[n]
 *                Words and `wide` as in gemm.h, elements in word order. mcuc_dense_large_s8: if
 *                the parameter m is not 0, it is that of all channels, and there is none in the
 *                streams.
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`. mcuc_dense_large_s8: cin % 4 == 0, cout >= 8
 * aliasing       none: the last results need the first elements
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): large: 1.03 for cin = 640,
 *                0.99 for 128; otherwise 0.88 and 0.84
 *
 * mcuc_dense_s8 and mcuc_dense_large_s8 (fewer instructions, for more code) are for layers with
 * shift 0, no clamp and not wide; mcuc_dense_any_s8 for all.
 */
#ifndef MCUC_DENSE_H
#define MCUC_DENSE_H

#include "mcuc/gemm.h"

/* Eight channels at a time exist in assembly, too. */
#ifdef MCUC_TILE4
#include "mcuc/arch/dense_dsp.h"
#endif

typedef struct {
    int32_t cin, cout;
    const uint32_t *weights;
    int32_t m;
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_dense_s8_params;

typedef mcuc_dense_s8_params mcuc_dense_any_s8_params;
typedef mcuc_dense_s8_params mcuc_dense_large_s8_params;

/* The word w of pair i of channels times two elements v (as lanes). */
#define MCUC_DENSE_MAC(i, w, v)                                                                    \
    do {                                                                                           \
        t##i = mcuc_smlad_wrap(wide ? mcuc_odd8(w) : (w), (v), t##i);                              \
        s##i = mcuc_smlad(mcuc_even8(w), (v), s##i);                                               \
    } while (0)

/* The biases of pair i of channels. */
#define MCUC_DENSE_BIAS(i)                                                                         \
    do {                                                                                           \
        uint32_t even, odd;                                                                        \
        mcuc_load_pair(w + 2 * (i), &even, &odd);                                                  \
        s##i = (int32_t)even;                                                                      \
        t##i = (int32_t)odd;                                                                       \
    } while (0)

/* Two elements v against the weights of `pairs` pairs of channels. */
#define MCUC_DENSE_STEP(v, w)                                                                      \
    do {                                                                                           \
        uint32_t a, b;                                                                             \
        if (pairs == 1) {                                                                          \
            a = *(w);                                                                              \
            MCUC_DENSE_MAC(0, a, v);                                                               \
        } else {                                                                                   \
            mcuc_load_pair((w), &a, &b);                                                           \
            MCUC_DENSE_MAC(0, a, v);                                                               \
            MCUC_DENSE_MAC(1, b, v);                                                               \
        }                                                                                          \
        if (pairs == 4) {                                                                          \
            mcuc_load_pair((w) + 2, &a, &b);                                                       \
            MCUC_DENSE_MAC(2, a, v);                                                               \
            MCUC_DENSE_MAC(3, b, v);                                                               \
        }                                                                                          \
    } while (0)

/* Four elements at x, and four words per channel pair at w. */
#define MCUC_DENSE_FOUR(x, w)                                                                      \
    do {                                                                                           \
        uint32_t four = mcuc_load32(x), even = mcuc_even8(four);                                   \
        MCUC_DENSE_STEP(even, w);                                                                  \
        four = mcuc_odd8(four);                                                                    \
        MCUC_DENSE_STEP(four, (w) + pairs);                                                        \
    } while (0)

/* Pair i of channels to o; `both` is 0 where only the first one exists. */
#define MCUC_DENSE_EMIT(i, both)                                                                   \
    mcuc_gemm_emit(o + 2 * (i), s##i, t##i, shared ? m : (int32_t)w[2 * (i)],                      \
                   shared ? m : (int32_t)w[2 * (i) + 1], wide, both, rescale)

/* Up to 2 * pairs channels (`count` of them exist) to o. shared: m is the multiplier of all
 * channels. Returns the stream of the next ones. */
MCUC_KERNEL const uint32_t *mcuc_dense_channels(const int8_t *x, const uint32_t *w, int32_t cin,
                                                int32_t pairs, int32_t count, int32_t wide,
                                                int32_t shared, int32_t m, int8_t *o,
                                                mcuc_rescale rescale) {
    int32_t s0, t0, s1 = 0, t1 = 0, s2 = 0, t2 = 0, s3 = 0, t3 = 0;
    MCUC_DENSE_BIAS(0);
    if (pairs > 1) {
        MCUC_DENSE_BIAS(1);
    }
    if (pairs == 4) {
        MCUC_DENSE_BIAS(2);
        MCUC_DENSE_BIAS(3);
    }
    w += 2 * pairs;
    const int8_t *stop = x + (cin & -16);
    while (x != stop) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 16; i += 4) {
            MCUC_DENSE_FOUR(x + i, w + i / 2 * pairs);
        }
        x += 16;
        w += 8 * pairs;
        MCUC_OPAQUE(x);
        MCUC_OPAQUE(w);
    }
    if (cin & 15) {
        for (int32_t i = cin & 12; i > 0; i -= 4) {
            MCUC_DENSE_FOUR(x, w);
            x += 4;
            w += 2 * pairs;
        }
        for (int32_t i = cin & 3; i > 0; i -= 2) {
            uint32_t two = mcuc_pack16(x[0], i > 1 ? x[1] : 0);
            MCUC_DENSE_STEP(two, w);
            x += 2;
            w += pairs;
        }
    }
    MCUC_DENSE_EMIT(0, count > 1);
    if (pairs > 1) {
        MCUC_DENSE_EMIT(1, count > 3);
    }
    if (pairs == 4) {
        MCUC_DENSE_EMIT(2, 1);
        MCUC_DENSE_EMIT(3, 1);
    }
    return shared ? w : w + 2 * pairs;
}

#ifndef MCUC_DENSE8_MAC
/* `channels`, a multiple of 8, from `cin` elements, a multiple of 4 and not 0. Returns the end of
 * their streams. */
MCUC_SHARED const uint32_t *mcuc_dense_eights(const int8_t *x, const uint32_t *w, int8_t *o,
                                              int32_t cin, int32_t channels, int32_t zp,
                                              int32_t m) {
    for (; channels > 0; channels -= 8, o += 8) {
        w = mcuc_dense_channels(x, w, cin, 4, 8, 0, m != 0, m, o, mcuc_rescale_plain(zp));
    }
    return w;
}
#endif

/* Channels [c, cout) of one row. */
MCUC_KERNEL void mcuc_dense_row(const mcuc_dense_s8_params *p, const int8_t *x, const uint32_t *w,
                                int32_t c, int8_t *o, int32_t wide, int32_t m,
                                mcuc_rescale rescale) {
    const int32_t shared = m != 0;
    const int32_t cout = p->cout;
    for (; c < cout - 2; c += 4) {
        const int32_t count = cout % 4 == 0 || c + 4 <= cout ? 4 : 3;
        w = mcuc_dense_channels(x, w, p->cin, 2, count, wide, shared, m, o + c, rescale);
    }
    if (c < cout) {
        mcuc_dense_channels(x, w, p->cin, 1, cout - c, wide, shared, m, o + c, rescale);
    }
}

MCUC_KERNEL void mcuc_dense_large_s8(const mcuc_dense_large_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    const int32_t eights = p->cout & -8;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        const uint32_t *w = mcuc_dense_eights(x, p->weights, o, p->cin, eights, p->zp, p->m);
        if (p->cout & 7) {
            mcuc_dense_row(p, x, w, eights, o, 0, p->m, mcuc_rescale_plain(p->zp));
        }
    }
}

MCUC_KERNEL void mcuc_dense_s8(const mcuc_dense_s8_params *p, const mcuc_src *in,
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_dense_row(p, mcuc_src_row(in, y), p->weights, 0, mcuc_dst_row(out, y), 0, 0,
                       mcuc_rescale_plain(p->zp));
    }
}

MCUC_KERNEL void mcuc_dense_any_s8(const mcuc_dense_any_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        if (p->wide) {
            mcuc_dense_row(p, x, p->weights, 0, mcuc_dst_row(out, y), 1, 0, rescale);
        } else {
            mcuc_dense_row(p, x, p->weights, 0, mcuc_dst_row(out, y), 0, 0, rescale);
        }
    }
}

#endif
