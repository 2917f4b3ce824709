/* mcuc_dense_sparse_s8: dense layer of one vector with block-sparse weights.
 *
 * computes       y[c] = requant(bias[c] + sum_k w[c][k] * x[k]), where many weights are zero in
 *                blocks of 4x4: four neighbouring elements of four neighbouring channels
 * layout         one row: x has bytes in fours from a 4-byte aligned address, y cout bytes
 * weights        One stream per four output channels, the last ones with zeros beside them:
 *                    bias[4], four words for each block, m[4]
 *                Words and `wide` as in gemm.h: those of the first two elements of both pairs of
 *                channels, in word order, then those of the others.
 * blocks         For each stream: how many blocks, and the first element of each.
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`
 * aliasing       none: the last results need the first elements
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 *
 * mcuc_dense_sparse_s8 is for layers with shift 0, no clamp and not wide; mcuc_dense_sparse_any_s8
 * for all.
 */
#ifndef MCUC_DENSE_SPARSE_H
#define MCUC_DENSE_SPARSE_H

#include "mcuc/dense.h"

typedef struct {
    int32_t cout;
    const uint32_t *weights;
    const uint16_t *blocks;
    int32_t wide;
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_dense_sparse_s8_params;

typedef mcuc_dense_sparse_s8_params mcuc_dense_sparse_any_s8_params;

/* Two elements v, as lanes, times their words of two pairs of channels. */
#define MCUC_DENSE_SPARSE_STEP(v, w)                                                               \
    do {                                                                                           \
        uint32_t first, second;                                                                    \
        mcuc_load_pair((w), &first, &second);                                                      \
        MCUC_DENSE_MAC(0, first, v);                                                               \
        MCUC_DENSE_MAC(1, second, v);                                                              \
    } while (0)

/* Four channels, of which `count` exist, from the blocks [at, end) to o. Returns the stream of the
 * next ones. */
MCUC_KERNEL const uint32_t *mcuc_dense_sparse_channels(const int8_t *x, const uint32_t *w,
                                                       const uint16_t *at, const uint16_t *end,
                                                       int32_t count, int32_t wide, int8_t *o,
                                                       mcuc_rescale rescale) {
    const int32_t shared = 0, m = 0;
    int32_t s0, t0, s1, t1;
    MCUC_DENSE_BIAS(0);
    MCUC_DENSE_BIAS(1);
    for (w += 4; at != end; at++) {
        const uint32_t four = mcuc_load32(x + *at);
        const uint32_t even = mcuc_even8(four), odd = mcuc_odd8(four);
        MCUC_DENSE_SPARSE_STEP(even, w);
        MCUC_DENSE_SPARSE_STEP(odd, w + 2);
        w += 4;
    }
    MCUC_DENSE_EMIT(0, count > 1);
    if (count > 2) {
        MCUC_DENSE_EMIT(1, count > 3);
    }
    return w + 4;
}

MCUC_KERNEL void mcuc_dense_sparse_rows(const mcuc_dense_sparse_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1, int32_t wide,
                                        mcuc_rescale rescale) {
    for (int32_t y = y0; y < y1; y++) {
        const uint32_t *w = p->weights;
        const uint16_t *at = p->blocks;
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->cout; c += 4) {
            const int32_t count = p->cout % 4 == 0 || c + 4 <= p->cout ? 4 : p->cout % 4;
            const uint16_t *end = at + 1 + *at;
            w = mcuc_dense_sparse_channels(mcuc_src_row(in, y), w, at + 1, end, count, wide, o + c,
                                           rescale);
            at = end;
        }
    }
}

MCUC_KERNEL void mcuc_dense_sparse_s8(const mcuc_dense_sparse_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    mcuc_dense_sparse_rows(p, in, out, y0, y1, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_dense_sparse_any_s8(const mcuc_dense_sparse_any_s8_params *p,
                                          const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                          int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    (void)scratch;
    if (p->wide) {
        mcuc_dense_sparse_rows(p, in, out, y0, y1, 1, rescale);
    } else {
        mcuc_dense_sparse_rows(p, in, out, y0, y1, 0, rescale);
    }
}

#endif
