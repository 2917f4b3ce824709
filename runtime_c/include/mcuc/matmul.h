/* mcuc_matmul_s8: the product of two matrices, of which none is constant, for each of a batch.
 *
 * computes       y[m][n] = requant(sum over k of (a[m][k] - zp_a) * (b[n][k] - zp_b)); b lies
 *                transposed, so that both are read along their rows
 * layout         a row of the result is one m of one matrix: `width` numbers n; a has rows of
 *                `depth` bytes, those of one matrix or of all; b is one row, with one matrix of
 *                width * depth bytes or one for each `height` rows
 * preconditions  255 * 255 * depth << shift is within int32; b_step is width * depth, or 0 where
 *                there is one matrix only
 * aliasing       none
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant
 * speed          1.9 instructions per multiplication where depth is a multiple of 4, else 3.6
 *                (Cortex-M4)
 */
#ifndef MCUC_MATMUL_H
#define MCUC_MATMUL_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t height, width, depth;
    int32_t b_step;
    int32_t zp_a, zp_b;
    int32_t m, shift;
    int32_t zp;
    int32_t lo, hi;
} mcuc_matmul_s8_params;

/* The sums of two rows of a and two rows of b: in words as long as all are aligned, then bytes. */
MCUC_KERNEL void mcuc_matmul_2x2(const mcuc_matmul_s8_params *p, const int8_t *a0, const int8_t *a1,
                                 const int8_t *b0, const int8_t *b1, int32_t *sum) {
    const uint32_t minus_a = mcuc_pack16(-p->zp_a, -p->zp_a);
    const uint32_t minus_b = mcuc_pack16(-p->zp_b, -p->zp_b);
    int32_t s00 = 0, s01 = 0, s10 = 0, s11 = 0, k = 0;
    if (p->depth % 4 == 0 && mcuc_is_aligned(a0) && mcuc_is_aligned(b0)) {
        for (; k < p->depth; k += 4) {
            uint32_t v0 = mcuc_load32(a0 + k), v1 = mcuc_load32(a1 + k);
            uint32_t w0 = mcuc_load32(b0 + k), w1 = mcuc_load32(b1 + k);
            uint32_t v0e = mcuc_even8_add(minus_a, v0), v0o = mcuc_odd8_add(minus_a, v0);
            uint32_t v1e = mcuc_even8_add(minus_a, v1), v1o = mcuc_odd8_add(minus_a, v1);
            uint32_t we = mcuc_even8_add(minus_b, w0), wo = mcuc_odd8_add(minus_b, w0);
            s00 = mcuc_smlad(v0o, wo, mcuc_smlad(v0e, we, s00));
            s10 = mcuc_smlad(v1o, wo, mcuc_smlad(v1e, we, s10));
            we = mcuc_even8_add(minus_b, w1), wo = mcuc_odd8_add(minus_b, w1);
            s01 = mcuc_smlad(v0o, wo, mcuc_smlad(v0e, we, s01));
            s11 = mcuc_smlad(v1o, wo, mcuc_smlad(v1e, we, s11));
        }
    }
    for (; k < p->depth; k++) {
        int32_t v0 = a0[k] - p->zp_a, v1 = a1[k] - p->zp_a;
        int32_t w0 = b0[k] - p->zp_b, w1 = b1[k] - p->zp_b;
        s00 += v0 * w0, s01 += v0 * w1;
        s10 += v1 * w0, s11 += v1 * w1;
    }
    sum[0] = s00, sum[1] = s01, sum[2] = s10, sum[3] = s11;
}

MCUC_KERNEL int8_t mcuc_matmul_scale(const mcuc_matmul_s8_params *p, int32_t sum) {
    return mcuc_requant(sum, p->m, p->shift, p->zp, p->lo, p->hi);
}

/* Two rows of the result; where there is one only, both are the same. */
MCUC_KERNEL void mcuc_matmul_rows(const mcuc_matmul_s8_params *p, const int8_t *a0,
                                  const int8_t *a1, const int8_t *b, int8_t *o0, int8_t *o1) {
    int32_t sum[4];
    for (int32_t n = 0; n < p->width; n += 2, b += 2 * p->depth) {
        const int32_t is_last = n + 1 == p->width;
        mcuc_matmul_2x2(p, a0, a1, b, is_last ? b : b + p->depth, sum);
        o0[n] = mcuc_matmul_scale(p, sum[0]);
        o1[n] = mcuc_matmul_scale(p, sum[2]);
        if (!is_last) {
            o0[n + 1] = mcuc_matmul_scale(p, sum[1]);
            o1[n + 1] = mcuc_matmul_scale(p, sum[3]);
        }
    }
}

MCUC_KERNEL void mcuc_matmul_s8(const mcuc_matmul_s8_params *p, const mcuc_src *in,
                                const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1;) {
        /* The next row too, if it is there and of the same matrix. */
        const int32_t next = y + 1 < y1 && (y + 1) % p->height != 0 ? y + 1 : y;
        mcuc_matmul_rows(p, mcuc_src_row(&in[0], y), mcuc_src_row(&in[0], next),
                         in[1].base + y / p->height * p->b_step, mcuc_dst_row(out, y),
                         mcuc_dst_row(out, next));
        y = next + 1;
    }
}

#endif
