/* The matrix multiplication of gemm.h for weights of which many are zero, in blocks of 1x4: four
 * neighbouring elements of one output channel. Only the other blocks are stored and multiplied.
 *
 * tile     as in gemm.h, of 4 pixels or of 2, elements in word order. The last tile of a row may
 *          have fewer pixels: the last of them is repeated, and its results are not written again.
 * weights  One stream per output channel, walked by one pointer:
 *              deltas, weights, weights of the first two blocks, size, bias, pairs of blocks, m
 *          a pair of blocks:
 *              deltas, weights of the first block, weights of the second block
 *          deltas: two int16, how far each block begins behind the end of the one before, be that
 *          of another channel (the very first: behind the beginning of the tile), in bytes of a
 *          tile of four pixels, so multiples of 32. weights: one byte per element. size: of the
 *          pairs, in bytes, times 2; and 1 if the second of the first two blocks does not exist. A
 *          channel without blocks has one with weights of zero.
 *
 * A block costs 6 bytes and, for a tile of four pixels, 15 instructions in the assembly of
 * arch/gemm_sparse_dsp.h; a channel 12 bytes and 25 instructions besides.
 */
#ifndef MCUC_GEMM_SPARSE_H
#define MCUC_GEMM_SPARSE_H

#include "mcuc/gemm.h"

#ifdef MCUC_TILE4
#include "mcuc/arch/gemm_sparse_dsp.h"
#endif

/* `count` elements at x, a multiple of 4, to one of the `size` pixels of a tile, which begins at d.
 */
MCUC_KERNEL void mcuc_sparse_put(uint32_t *d, int32_t size, const int8_t *x, int32_t count) {
    for (const int8_t *end = x + count; x != end; x += 4) {
        const uint32_t v = mcuc_load32(x);
        d[0] = mcuc_even8(v);
        d[size] = mcuc_odd8(v);
        d += 2 * size;
    }
}

/* Two elements of all pixels at x times weights v, as lanes. */
#define MCUC_SPARSE_MAC(v, x)                                                                      \
    do {                                                                                           \
        s0 = mcuc_smlad((v), (x)[0], s0);                                                          \
        s1 = mcuc_smlad((v), (x)[1], s1);                                                          \
        if (size == 4) {                                                                           \
            s2 = mcuc_smlad((v), (x)[2], s2);                                                      \
            s3 = mcuc_smlad((v), (x)[3], s3);                                                      \
        }                                                                                          \
    } while (0)

/* The block `delta` further on with the weights `word`. */
#define MCUC_SPARSE_BLOCK(delta, word)                                                             \
    do {                                                                                           \
        x += (delta) / 16 * size;                                                                  \
        const uint32_t lanes0 = mcuc_even8(word), lanes1 = mcuc_odd8(word);                        \
        MCUC_SPARSE_MAC(lanes0, x);                                                                \
        MCUC_SPARSE_MAC(lanes1, x + size);                                                         \
        x += 2 * size;                                                                             \
    } while (0)

/* All `channels` of the first n pixels of a tile of `size` (4 or 2) pixels, `pitch` bytes apart, to
 * o. Returns the end of their streams. */
MCUC_KERNEL const uint32_t *mcuc_sparse_channels(const uint32_t *x, const uint32_t *w, int32_t size,
                                                 int32_t n, int32_t channels, int8_t *o,
                                                 int32_t pitch, mcuc_rescale rescale) {
    for (const int8_t *stop = o + channels; o != stop; o++) {
        const uint32_t deltas = w[0], first = w[1], second = w[2], length = w[3];
        int32_t s0 = (int32_t)w[4], s1 = s0, s2 = s0, s3 = s0;
        MCUC_SPARSE_BLOCK(mcuc_lo16(deltas), first);
        if (length % 2 == 0) {
            MCUC_SPARSE_BLOCK(mcuc_hi16(deltas), second);
        }
        w += 5;
        for (const uint32_t *end = w + length / 8; w != end; w += 3) {
            const uint32_t both = w[0], even = w[1], odd = w[2];
            MCUC_SPARSE_BLOCK(mcuc_lo16(both), even);
            MCUC_SPARSE_BLOCK(mcuc_hi16(both), odd);
        }
        const int32_t m = (int32_t)*w++;
        o[0] = mcuc_rescale_apply(rescale, s0, m);
        if (n >= 2) {
            o[pitch] = mcuc_rescale_apply(rescale, s1, m);
        }
        if (n >= 3) {
            o[2 * pitch] = mcuc_rescale_apply(rescale, s2, m);
        }
        if (n == 4) {
            o[3 * pitch] = mcuc_rescale_apply(rescale, s3, m);
        }
    }
    return w;
}

/* The same, in assembly where there is that. */
MCUC_KERNEL const uint32_t *mcuc_sparse_tile(const uint32_t *tile, const uint32_t *w, int32_t size,
                                             int32_t n, int32_t channels, int8_t *o, int32_t pitch,
                                             mcuc_rescale rescale) {
#ifdef MCUC_TILE4
    if (size == 4 && rescale.shift == 0) {
        w = mcuc_sparse_tile4(tile, w, o, channels, rescale.zp, n > 1 ? pitch : 0,
                              n > 2 ? 2 * pitch : 0, n > 3 ? 3 * pitch : 0);
        if (rescale.lo > -128 || rescale.hi < 127) {
            mcuc_gemm_clamp(o, n, channels, pitch, rescale.lo, rescale.hi);
        }
        return w;
    }
#endif
    return mcuc_sparse_channels(tile, w, size, n, channels, o, pitch, rescale);
}

#endif
