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
    defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__) && !defined(MCUC_PORTABLE)
#include "mcuc/arch/gemm_dsp.h"
#endif

/* Elements [k, k + count) of all n pixels of the tile; those of pixel p come from x + p * stride.
 * With `by_word`, k, count and stride are multiples of 4, x is 4-byte aligned, and every four
 * elements stand in the order 0, 2, 1, 3. */
MCUC_KERNEL void mcuc_gemm_put(uint32_t *tile, int32_t n, int32_t k, const int8_t *x,
                               int32_t stride, int32_t count, int32_t by_word) {
    uint32_t *d = tile + (k >> 1) * n;
    if (by_word) {
        for (const int8_t *end = x + count; x != end; x += 4) {
#pragma GCC unroll 4
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

/* Results of channels 0 and 1 of one pixel. */
MCUC_KERNEL void mcuc_gemm_emit(int8_t *o, int32_t sum0, int32_t sum1, int32_t m0, int32_t m1,
                                int32_t wide, int32_t both, mcuc_rescale rescale) {
    if (!wide) {
        sum1 = (int32_t)((uint32_t)sum1 - (uint32_t)sum0) >> 8;
    }
    o[0] = mcuc_rescale_apply(rescale, sum0, m0);
    if (both) {
        o[1] = mcuc_rescale_apply(rescale, sum1, m1);
    }
}

/* One word of weights against n words of the tile. */
#define MCUC_GEMM_STEP(x, w)                                                                       \
    do {                                                                                           \
        uint32_t w1 = *(w), w0 = mcuc_even8(w1), a, b;                                             \
        w1 = wide ? mcuc_odd8(w1) : w1;                                                            \
        if (n == 1) {                                                                              \
            a = *(x);                                                                              \
        } else {                                                                                   \
            mcuc_load_pair((x), &a, &b);                                                           \
        }                                                                                          \
        s0 = mcuc_smlad(w0, a, s0);                                                                \
        t0 = mcuc_smlad_wrap(w1, a, t0);                                                           \
        if (n >= 2) {                                                                              \
            s1 = mcuc_smlad(w0, b, s1);                                                            \
            t1 = mcuc_smlad_wrap(w1, b, t1);                                                       \
        }                                                                                          \
        if (n == 4) {                                                                              \
            mcuc_load_pair((x) + 2, &a, &b);                                                       \
            s2 = mcuc_smlad(w0, a, s2);                                                            \
            t2 = mcuc_smlad_wrap(w1, a, t2);                                                       \
            s3 = mcuc_smlad(w0, b, s3);                                                            \
            t3 = mcuc_smlad_wrap(w1, b, t3);                                                       \
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
#pragma GCC unroll 8
        for (int32_t i = 0; i < 8; i++) {
            MCUC_GEMM_STEP(x + i * n, w + i);
        }
        x += 8 * n;
        w += 8;
        MCUC_OPAQUE(x);
        MCUC_OPAQUE(w);
    }
    if (words & 4) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; i++) {
            MCUC_GEMM_STEP(x + i * n, w + i);
        }
        x += 4 * n;
        w += 4;
    }
    if (words & 2) {
        MCUC_GEMM_STEP(x, w);
        MCUC_GEMM_STEP(x + n, w + 1);
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
/* Clamps the results of four pixels. */
MCUC_KERNEL void mcuc_gemm_clamp(int8_t *o, int32_t channels, int32_t pitch, int32_t lo,
                                 int32_t hi) {
    for (int32_t p = 0; p < 4; p++) {
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
        mcuc_gemm_clamp(o, channels, pitch, r.lo, r.hi);
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
