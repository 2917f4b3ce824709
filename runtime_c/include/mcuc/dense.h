/* mcuc_dense_s8: dense layer of one vector (and convolution whose window is the whole input).
 *
 * computes       y[c] = requant(bias[c] + sum_k w[c][k] * x[k])
 * layout         one row: x has cin bytes from a 4-byte aligned address, y cout bytes
 * weights        One stream per four output channels (per two where at most two are left):
 *                    bias[4], words[ceil(cin / 2)] of channels (0, 1) and (2, 3) in turn, m[4]
 *                Words and `wide` as in gemm.h, elements in word order.
 * preconditions  the input zero-point is folded into the bias; sums stay within int32, and
 *                within 2^23 unless `wide`
 * aliasing       none
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant on exact sums
 * speed          MAC per instruction (Cortex-M4): 0.88 for cin = 640, 0.84 for 128
 *
 * mcuc_dense_s8 is for layers with shift 0, no clamp and not wide; mcuc_dense_any_s8 for all.
 */
#ifndef MCUC_DENSE_H
#define MCUC_DENSE_H

#include "mcuc/gemm.h"

typedef struct {
    int32_t cin, cout;
    const uint32_t *weights;
    int32_t wide;
    int32_t shift, zp, lo, hi;
} mcuc_dense_s8_params;

typedef mcuc_dense_s8_params mcuc_dense_any_s8_params;

/* Two elements x (as lanes) against the weights of `pairs` pairs of channels. */
#define MCUC_DENSE_STEP(x, w)                                                                      \
    do {                                                                                           \
        uint32_t a, b = 0;                                                                         \
        if (pairs == 1) {                                                                          \
            a = *(w);                                                                              \
        } else {                                                                                   \
            mcuc_load_pair((w), &a, &b);                                                           \
        }                                                                                          \
        s0 = mcuc_smlad(mcuc_even8(a), x, s0);                                                     \
        t0 = mcuc_smlad_wrap(wide ? mcuc_odd8(a) : a, x, t0);                                      \
        if (pairs == 2) {                                                                          \
            s1 = mcuc_smlad(mcuc_even8(b), x, s1);                                                 \
            t1 = mcuc_smlad_wrap(wide ? mcuc_odd8(b) : b, x, t1);                                  \
        }                                                                                          \
    } while (0)

/* Up to 2 * pairs channels (`count` of them exist) to o. Returns the stream of the next ones. */
MCUC_KERNEL const uint32_t *mcuc_dense_channels(const int8_t *x, const uint32_t *w, int32_t cin,
                                                int32_t pairs, int32_t count, int32_t wide,
                                                int8_t *o, mcuc_rescale rescale) {
    int32_t s0 = (int32_t)w[0], t0 = (int32_t)w[1], s1 = 0, t1 = 0;
    if (pairs == 2) {
        s1 = (int32_t)w[2];
        t1 = (int32_t)w[3];
    }
    w += 2 * pairs;
    for (int32_t block = cin / 16; block > 0; block--) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; i++) {
            uint32_t v = mcuc_load32(x + 4 * i), even = mcuc_even8(v), odd = mcuc_odd8(v);
            MCUC_DENSE_STEP(even, w + 2 * i * pairs);
            MCUC_DENSE_STEP(odd, w + (2 * i + 1) * pairs);
        }
        x += 16;
        w += 8 * pairs;
    }
    for (int32_t i = cin % 16 / 4; i > 0; i--) {
        uint32_t v = mcuc_load32(x), even = mcuc_even8(v), odd = mcuc_odd8(v);
        MCUC_DENSE_STEP(even, w);
        MCUC_DENSE_STEP(odd, w + pairs);
        x += 4;
        w += 2 * pairs;
    }
    for (int32_t k = cin % 4; k > 0; k -= 2) {
        uint32_t v = mcuc_pack16(x[0], k > 1 ? x[1] : 0);
        MCUC_DENSE_STEP(v, w);
        x += 2;
        w += pairs;
    }
    if (pairs == 1) {
        mcuc_gemm_emit(o, s0, t0, (int32_t)w[0], (int32_t)w[1], wide, count == 2, rescale);
        return w + 2;
    }
    const int32_t m2 = (int32_t)w[2], m3 = (int32_t)w[3];
    mcuc_gemm_emit(o, s0, t0, (int32_t)w[0], (int32_t)w[1], wide, 1, rescale);
    mcuc_gemm_emit(o + 2, s1, t1, m2, m3, wide, count == 4, rescale);
    return w + 4;
}

MCUC_KERNEL void mcuc_dense_row(const mcuc_dense_s8_params *p, const mcuc_src *in,
                                const mcuc_dst *out, int32_t y0, int32_t y1, int32_t wide,
                                mcuc_rescale rescale) {
    const int32_t cin = p->cin, cout = p->cout;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        const uint32_t *w = p->weights;
        int32_t left = cout;
        for (; left > 2; left -= 4) {
            int32_t count = cout % 4 == 0 || left >= 4 ? 4 : 3;
            w = mcuc_dense_channels(x, w, cin, 2, count, wide, o, rescale);
            o += 4;
        }
        if (left > 0) {
            mcuc_dense_channels(x, w, cin, 1, left, wide, o, rescale);
        }
    }
}

MCUC_KERNEL void mcuc_dense_s8(const mcuc_dense_s8_params *p, const mcuc_src *in,
                               const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    mcuc_dense_row(p, in, out, y0, y1, 0, mcuc_rescale_plain(p->zp));
}

MCUC_KERNEL void mcuc_dense_any_s8(const mcuc_dense_any_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    mcuc_rescale rescale = {p->shift, p->zp, p->lo, p->hi};
    (void)scratch;
    if (p->wide) {
        mcuc_dense_row(p, in, out, y0, y1, 1, rescale);
    } else {
        mcuc_dense_row(p, in, out, y0, y1, 0, rescale);
    }
}

#endif
