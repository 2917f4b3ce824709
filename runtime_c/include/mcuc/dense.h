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
 *                within 2^23 unless `wide`
 * aliasing       none
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): large: 1.00 for cin = 640,
 *                0.94 for 128; otherwise 0.88 and 0.84
 *
 * mcuc_dense_s8 and mcuc_dense_large_s8 (more code, fewer instructions) are for layers with shift
 * 0, no clamp and not wide; mcuc_dense_any_s8 for all.
 */
#ifndef MCUC_DENSE_H
#define MCUC_DENSE_H

#include "mcuc/gemm.h"

#define MCUC_DENSE_BLOCK (MCUC_HAS_DSP ? 64 : 8) /* elements per turn of the largest loop */

typedef struct {
    int32_t cin, cout;
    const uint32_t *weights;
    int32_t m;
    int32_t wide;
    int32_t shift, zp, lo, hi;
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

/* Up to 2 * pairs channels (`count` of them exist) to o. block: elements that the main loop takes
 * at once, a power of two. end: where they end, if that is kept in memory: the loop over eight
 * channels has no register for it. shared: m is the multiplier of all channels. Returns the stream
 * of the next ones. */
MCUC_KERNEL const uint32_t *mcuc_dense_channels(const int8_t *x, const uint32_t *w, int32_t cin,
                                                const int8_t *const volatile *end, int32_t block,
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
    const int8_t *stop = x + (cin & -block);
    while (x != (end != NULL ? *end : stop)) {
#pragma GCC unroll 16
        for (int32_t i = 0; i < block; i += 4) {
            MCUC_DENSE_FOUR(x + i, w + i / 2 * pairs);
        }
        x += block;
        w += block / 2 * pairs;
        MCUC_OPAQUE(x);
        MCUC_OPAQUE(w);
    }
    if (cin & (block - 1)) {
        for (int32_t i = cin & (block - 4); i > 0; i -= 4) {
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

/* One row, with the channels in eights as long as there are if `eights`. */
MCUC_KERNEL void mcuc_dense_row(const mcuc_dense_s8_params *p, const int8_t *x, int8_t *o,
                                int32_t eights, int32_t wide, int32_t shared,
                                mcuc_rescale rescale) {
    const int32_t cin = p->cin, m = p->m, block = eights ? 8 : 16;
    const int8_t *const volatile end = x + (cin & -MCUC_DENSE_BLOCK);
    const uint32_t *w = p->weights;
    int32_t left = p->cout;
    for (; eights && left >= 8; left -= 8) {
        w = mcuc_dense_channels(x, w, cin, &end, MCUC_DENSE_BLOCK, 4, 8, wide, shared, m, o,
                                rescale);
        o += 8;
    }
    for (; left > 2; left -= 4) {
        int32_t count = eights ? left : p->cout % 4 == 0 || left >= 4 ? 4 : 3;
        w = mcuc_dense_channels(x, w, cin, NULL, block, 2, count, wide, shared, m, o, rescale);
        o += 4;
    }
    if (left > 0) {
        mcuc_dense_channels(x, w, cin, NULL, block, 1, left, wide, shared, m, o, rescale);
    }
}

/* Constant parameters save next to nothing where layers are large: they share these functions. */
MCUC_SHARED void mcuc_dense_own_m(const mcuc_dense_s8_params *p, const int8_t *x, int8_t *o) {
    mcuc_dense_row(p, x, o, 1, 0, 0, mcuc_rescale_plain(p->zp));
}

MCUC_SHARED void mcuc_dense_one_m(const mcuc_dense_s8_params *p, const int8_t *x, int8_t *o) {
    mcuc_dense_row(p, x, o, 1, 0, 1, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_dense_large_s8(const mcuc_dense_large_s8_params *p, const mcuc_src *in,
                                     const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        if (p->m != 0) {
            mcuc_dense_one_m(p, mcuc_src_row(in, y), mcuc_dst_row(out, y));
        } else {
            mcuc_dense_own_m(p, mcuc_src_row(in, y), mcuc_dst_row(out, y));
        }
    }
}

MCUC_KERNEL void mcuc_dense_s8(const mcuc_dense_s8_params *p, const mcuc_src *in,
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_dense_row(p, mcuc_src_row(in, y), mcuc_dst_row(out, y), 0, 0, 0,
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
            mcuc_dense_row(p, x, mcuc_dst_row(out, y), 0, 1, 0, rescale);
        } else {
            mcuc_dense_row(p, x, mcuc_dst_row(out, y), 0, 0, 0, rescale);
        }
    }
}

#endif
