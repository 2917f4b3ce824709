/* The matrix multiplication under every convolution and dense layer: n pixels (4, 2 or 1) by two
 * output channels at a time, all sums in registers.
 *
 * tile     The activations of the n pixels, expanded once to int16 lanes and interleaved by pixel:
 *          word j * n + p holds elements (2j, 2j+1) of pixel p. `words` words per pixel.
 * weights  One stream per pair of output channels, walked by one pointer:
 *              bias0, bias1, words[0 .. words), m0, m1
 *          bytes of a word: (c0 e0, c1 e0, c0 e1, c1 e1) for the elements (e0, e1) of a tile word.
 *          Odd sizes are padded with zero weights. Elements stand in the order in which the
 *          activations are expanded (mcuc_gemm_put).
 * wide     0: as two int16 lanes, a stream word is c0 + 256 * c1, so that one SMLAD sums both
 *          channels and SXTB16 extracts channel 0 exactly; channel 1 is the difference divided by
 *          256 (bias1 in the stream is bias0 + 256 * bias1). The compiler proved |sum1| < 2^23.
 *          1: any weights, at one more instruction per word.
 *
 * 16 multiply-accumulates take 12 instructions (wide: 13), 11 in the assembly of arch/gemm_dsp.h.
 */
#ifndef MCUC_GEMM_H
#define MCUC_GEMM_H

#include "mcuc/mcuc.h"

/* The loop over pairs of channels exists in assembly, too, for most tiles of four pixels. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && __ARM_ARCH_PROFILE == 'M' &&                \
    defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__) && !defined(MCUC_PORTABLE) &&        \
    !defined(MCUC_REQUANT_TFLITE)
#include "mcuc/arch/gemm_dsp.h"
#endif

/* `blocks` blocks of 4 * fours elements of four pixels that lie `stride` bytes apart, to d. Returns
 * the end. */
MCUC_KERNEL uint32_t *mcuc_gemm_put_fours(uint32_t *d, const int8_t *x, int32_t stride,
                                          int32_t blocks, int32_t fours) {
    for (; blocks > 0; blocks--) {
#pragma GCC unroll 2
        for (int32_t i = 0; i < fours; i++) {
            const uint32_t a = mcuc_load32(x), b = mcuc_load32(x + stride);
            const uint32_t c = mcuc_load32(x + 2 * stride), e = mcuc_load32(x + 3 * stride);
            d = mcuc_store_four(d, mcuc_even8(a), mcuc_even8(b), mcuc_even8(c), mcuc_even8(e));
            d = mcuc_store_four(d, mcuc_odd8(a), mcuc_odd8(b), mcuc_odd8(c), mcuc_odd8(e));
            x += 4;
        }
    }
    return d;
}

/* Elements [k, k + count) of all n pixels of the tile; those of pixel p come from x + p * stride.
 * With `by_word`, k, count and stride are multiples of 4, x is 4-byte aligned, and every four
 * elements stand in the order 0, 2, 1, 3. */
MCUC_KERNEL void mcuc_gemm_put(uint32_t *tile, int32_t n, int32_t k, const int8_t *x,
                               int32_t stride, int32_t count, int32_t by_word) {
    uint32_t *d = tile + (k >> 1) * n;
    if (by_word) {
        if (n == 4) {
            d = mcuc_gemm_put_fours(d, x, stride, count >> 3, 2);
            mcuc_gemm_put_fours(d, x + (count & -8), stride, count >> 2 & 1, 1);
            return;
        }
        for (const int8_t *end = x + count; x != end; x += 4) {
#pragma GCC unroll 2
            for (int32_t p = 0; p < n; p++) {
                uint32_t v = mcuc_load32(x + p * stride);
                d[p] = mcuc_even8(v);
                d[n + p] = mcuc_odd8(v);
            }
            d += 2 * n;
        }
        return;
    }
    if (k & 1) { /* the other half of words that are there already */
#pragma GCC unroll 4
        for (int32_t p = 0; p < n; p++) {
            d[p] = mcuc_pack16(mcuc_lo16(d[p]), x[p * stride]);
        }
        d += n;
        x++;
        count--;
    }
    for (const int8_t *end = x + (count & ~1); x != end; x += 2) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < n; p++) {
            d[p] = mcuc_pack16(x[p * stride], x[p * stride + 1]);
        }
        d += n;
    }
    if (count & 1) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < n; p++) {
            d[p] = mcuc_pack16(x[p * stride], 0);
        }
    }
}

/* Element k of pixel p of the tile. */
MCUC_KERNEL void mcuc_gemm_put_one(uint32_t *tile, int32_t n, int32_t p, int32_t k, int32_t value) {
    mcuc_store16((char *)(tile + (k >> 1) * n + p) + 2 * (k & 1), value);
}

/* Results of channels 0 and 1 of one pixel. Without `wide`, the difference of the sums is 256 times
 * that of channel 1. */
MCUC_KERNEL void mcuc_gemm_emit(int8_t *o, int32_t sum0, int32_t sum1, int32_t m0, int32_t m1,
                                int32_t wide, int32_t both, mcuc_rescale r) {
    const int32_t difference = (int32_t)((uint32_t)sum1 - (uint32_t)sum0);
    o[0] = mcuc_rescale_apply(r, sum0, m0);
    if (!both) {
        return;
    }
    if (wide) {
        o[1] = mcuc_rescale_apply(r, sum1, m1);
    } else if (mcuc_is_shifted(r.shift)) {
        o[1] = mcuc_rescale_apply(r, difference >> 8, m1);
    } else {
        const int32_t scaled = mcuc_mul_floor(difference, m1, 256 * r.zp + 128);
        o[1] = mcuc_limit8(mcuc_shift_sat8(scaled, 8), r.lo, r.hi);
    }
}

/* The word v of weights times the words of one or two pixels. */
#define MCUC_GEMM_MAC(v, i, a)                                                                     \
    do {                                                                                           \
        t##i = mcuc_smlad_wrap(wide ? mcuc_odd8(v) : (v), (a), t##i);                              \
        s##i = mcuc_smlad(mcuc_even8(v), (a), s##i);                                               \
    } while (0)

/* One word of weights against n words of the tile. */
#define MCUC_GEMM_STEP(x, w)                                                                       \
    do {                                                                                           \
        uint32_t v = *(w), a, b;                                                                   \
        if (n == 1) {                                                                              \
            MCUC_GEMM_MAC(v, 0, *(x));                                                             \
        } else {                                                                                   \
            mcuc_load_pair((x), &a, &b);                                                           \
            MCUC_GEMM_MAC(v, 0, a);                                                                \
            MCUC_GEMM_MAC(v, 1, b);                                                                \
        }                                                                                          \
        if (n == 4) {                                                                              \
            mcuc_load_pair((x) + 2, &a, &b);                                                       \
            MCUC_GEMM_MAC(v, 2, a);                                                                \
            MCUC_GEMM_MAC(v, 3, b);                                                                \
        }                                                                                          \
    } while (0)

/* Two words. */
#define MCUC_GEMM_TWO(x, w)                                                                        \
    do {                                                                                           \
        if (n == 1) {                                                                              \
            uint32_t u, v, a, b;                                                                   \
            mcuc_load_pair((x), &a, &b);                                                           \
            mcuc_load_pair((w), &u, &v);                                                           \
            MCUC_GEMM_MAC(u, 0, a);                                                                \
            MCUC_GEMM_MAC(v, 0, b);                                                                \
        } else {                                                                                   \
            MCUC_GEMM_STEP(x, w);                                                                  \
            MCUC_GEMM_STEP((x) + n, (w) + 1);                                                      \
        }                                                                                          \
    } while (0)

/* Two channels of n pixels, `pitch` bytes apart, to o; `both` is 0 where only the first channel
 * exists. Returns the stream of the next pair. */
MCUC_KERNEL const uint32_t *mcuc_gemm_pair(const uint32_t *x, const uint32_t *w, int32_t words,
                                           int32_t n, int32_t wide, int32_t both, int8_t *o,
                                           int32_t pitch, mcuc_rescale rescale) {
    MCUC_OPAQUE(x);
    int32_t s0 = (int32_t)w[0], s1 = s0, s2 = s0, s3 = s0;
    int32_t t0 = (int32_t)w[1], t1 = t0, t2 = t0, t3 = t0;
    w += 2;
    for (int32_t block = words >> 3; block > 0; block--) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 8; i += 2) {
            MCUC_GEMM_TWO(x + i * n, w + i);
        }
        x += 8 * n;
        w += 8;
        MCUC_OPAQUE(x);
        MCUC_OPAQUE(w);
    }
    if (words & 4) {
        MCUC_GEMM_TWO(x, w);
        MCUC_GEMM_TWO(x + 2 * n, w + 2);
        x += 4 * n;
        w += 4;
    }
    if (words & 2) {
        MCUC_GEMM_TWO(x, w);
        x += 2 * n;
        w += 2;
    }
    if (words & 1) {
        MCUC_GEMM_STEP(x, w);
        w++;
    }
    const int32_t m0 = (int32_t)w[0], m1 = (int32_t)w[1];
    mcuc_gemm_emit(o, s0, t0, m0, m1, wide, both, rescale);
    if (n >= 2) {
        mcuc_gemm_emit(o + pitch, s1, t1, m0, m1, wide, both, rescale);
    }
    if (n == 4) {
        mcuc_gemm_emit(o + 2 * pitch, s2, t2, m0, m1, wide, both, rescale);
        mcuc_gemm_emit(o + 3 * pitch, s3, t3, m0, m1, wide, both, rescale);
    }
    return w + 2;
}

/* All `channels` of n pixels, pair by pair. Returns the end of their streams. */
MCUC_KERNEL const uint32_t *mcuc_gemm_pairs(const uint32_t *tile, const uint32_t *w, int32_t words,
                                            int32_t n, int32_t wide, int32_t channels, int8_t *o,
                                            int32_t pitch, mcuc_rescale rescale) {
    for (int32_t c = 0; c < channels; c += 2) {
        int32_t both = channels % 2 == 0 || c + 1 < channels;
        w = mcuc_gemm_pair(tile, w, words, n, wide, both, o + c, pitch, rescale);
    }
    return w;
}

#ifdef MCUC_TILE4
/* Clamps the results of n pixels. */
MCUC_KERNEL void mcuc_gemm_clamp(int8_t *o, int32_t n, int32_t channels, int32_t pitch, int32_t lo,
                                 int32_t hi) {
    for (int32_t p = 0; p < n; p++) {
        if (channels % 4 == 0 && pitch % 4 == 0) {
            for (int32_t c = 0; c < channels; c += 4) {
                mcuc_store32(o + c, mcuc_clamp8x4(mcuc_load32(o + c), lo, hi));
            }
        } else {
            for (int32_t c = 0; c < channels; c++) {
                o[c] = mcuc_clamp8(o[c], lo, hi);
            }
        }
        o += pitch;
    }
}

/* As mcuc_gemm_pairs, in assembly. */
MCUC_KERNEL const uint32_t *mcuc_gemm_tile4(const uint32_t *tile, const uint32_t *w, int32_t words,
                                            int32_t wide, int32_t channels, int8_t *o,
                                            int32_t pitch, mcuc_rescale r) {
    if (wide) {
        w = words % 8 ? mcuc_tile4_words4_wide(tile, w, o, words, channels, pitch, r.zp)
                      : mcuc_tile4_words8_wide(tile, w, o, words, channels, pitch, r.zp);
    } else {
        w = words % 8 ? mcuc_tile4_words4(tile, w, o, words, channels, pitch, r.zp)
                      : mcuc_tile4_words8(tile, w, o, words, channels, pitch, r.zp);
    }
    if (r.lo > -128 || r.hi < 127) {
        mcuc_gemm_clamp(o, 4, channels, pitch, r.lo, r.hi);
    }
    return w;
}
#endif

/* All `channels` of n pixels. Returns the end of their streams. o is 2-byte aligned if channels and
 * pitch are even, and 4-byte aligned if they are multiples of 4. */
MCUC_KERNEL const uint32_t *mcuc_gemm_tile(const uint32_t *tile, const uint32_t *w, int32_t words,
                                           int32_t n, int32_t wide, int32_t channels, int8_t *o,
                                           int32_t pitch, mcuc_rescale rescale) {
#ifdef MCUC_TILE4
    if (n == 4 && words % 4 == 0 && channels % 2 == 0 && pitch % 2 == 0 && rescale.shift == 0) {
        return mcuc_gemm_tile4(tile, w, words, wide, channels, o, pitch, rescale);
    }
#endif
    return mcuc_gemm_pairs(tile, w, words, n, wide, channels, o, pitch, rescale);
}

#endif
