/* mcuc_normalize_s8: groups of numbers normalized to mean 0 and variance 1, then scaled by channel.
 *
 * computes       the integer algorithm of mcucompile.quant.normalize, step by step
 * layout         rows of `pixels` pixels of `groups` times `width` channels; a group is `width`
 *                channels side by side in all pixels of a row
 * preconditions  pixels * width < 2^17; gains and offsets, one per channel, keep to 32 bits
 * aliasing       the output may take the place of the input
 * scratch        none
 * exactness      equals mcucompile.quant.normalize.NormalizeRule
 * speed          15 instructions per number, and 150 per group (Cortex-M4)
 */
#ifndef MCUC_NORMALIZE_H
#define MCUC_NORMALIZE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, groups, width;
    int32_t centered, zp_in;
    int32_t epsilon_high, epsilon_low; /* halves of a number of 64 bits */
    int32_t half;
    const int32_t *gains, *offsets;
    int32_t shift;
    int32_t lo, hi;
} mcuc_normalize_s8_params;

/* What is done to each number q of a group: ((q * factor - center) >> right) * root. */
typedef struct {
    uint32_t factor, center;
    int32_t right, root;
} mcuc_normalize_group;

/* 1 / sqrt(w / 2^32) for w of [2^30, 2^32), 30 bits of fraction. */
MCUC_KERNEL int32_t mcuc_normalize_root(uint32_t w) {
    uint32_t r = 2290047083u - (uint32_t)(((uint64_t)w * 1308598333u) >> 32);
    for (int32_t i = 0; i < 3; i++) {
        uint32_t square = (uint32_t)(((uint64_t)r * r) >> 32);
        uint32_t product = (uint32_t)(((uint64_t)w * square) >> 32);
        r = (uint32_t)(((uint64_t)r * (0x30000000u - product)) >> 29);
    }
    return (int32_t)(r < 0x7FFFFFFFu ? r : 0x7FFFFFFFu);
}

/* From the sum of the numbers of a group and that of their squares. */
MCUC_SHARED mcuc_normalize_group mcuc_normalize_scale(const mcuc_normalize_s8_params *p,
                                                      int32_t sum, int32_t squares) {
    const int32_t n = p->pixels * p->width;
    const int32_t m = p->centered ? sum : n * p->zp_in;
    const uint64_t epsilon = (uint64_t)(uint32_t)p->epsilon_high << 32 | (uint32_t)p->epsilon_low;
    const int64_t spread = (int64_t)n * squares - 2 * (int64_t)m * sum + (int64_t)m * m;
    const uint64_t w = ((uint64_t)spread << 12) + epsilon;
    const int32_t bits = w != 0 ? __builtin_clzll(w) & ~1 : 62;
    const int32_t shift = bits / 2 + 5 - p->half;
    const int32_t left = mcuc_clamp(shift, 0, 31); /* above 30 all distances are 0 */
    mcuc_normalize_group g;
    g.root = mcuc_normalize_root(w != 0 ? (uint32_t)((w << bits) >> 32) : 1u << 30);
    g.right = shift < 0 ? -shift : 0;
    g.factor = (uint32_t)n << left;
    g.center = (uint32_t)m << left;
    return g;
}

/* Adds n neighbours and their squares to the sums: in words if they are aligned, then bytes. */
MCUC_KERNEL void mcuc_normalize_count(const int8_t *x, int32_t n, int32_t *sum, int32_t *squares) {
    const uint32_t ones = mcuc_pack16(1, 1);
    if (mcuc_is_aligned(x)) {
        for (; n >= 4; n -= 4, x += 4) {
            uint32_t v = mcuc_load32(x), even = mcuc_even8(v), odd = mcuc_odd8(v);
            *sum = mcuc_smlad(odd, ones, mcuc_smlad(even, ones, *sum));
            *squares = mcuc_smlad(odd, odd, mcuc_smlad(even, even, *squares));
        }
    }
    for (; n > 0; n--, x++) {
        *sum += *x;
        *squares += *x * *x;
    }
}

MCUC_KERNEL void mcuc_normalize_one(const mcuc_normalize_s8_params *p, const int8_t *x, int8_t *o,
                                    const int32_t *gains, const int32_t *offsets) {
    const int32_t channels = p->groups * p->width;
    int32_t sum = 0, squares = 0;
    for (int32_t i = 0; i < p->pixels; i++) {
        mcuc_normalize_count(x + i * channels, p->width, &sum, &squares);
    }
    const mcuc_normalize_group g = mcuc_normalize_scale(p, sum, squares);
    for (int32_t i = 0; i < p->pixels; i++) {
        for (int32_t c = 0; c < p->width; c++) {
            /* Modulo 2^32, as the difference is within int32 while its parts need not be. */
            int32_t d = (int32_t)((uint32_t)x[i * channels + c] * g.factor - g.center) >> g.right;
            int32_t z = mcuc_mul_round(d, g.root, 0);
            int32_t y = mcuc_mul_round(z, gains[c], offsets[c]) >> p->shift;
            o[i * channels + c] = mcuc_clamp8(y, p->lo, p->hi);
        }
    }
}

MCUC_KERNEL void mcuc_normalize_s8(const mcuc_normalize_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->groups * p->width; c += p->width) {
            mcuc_normalize_one(p, x + c, o + c, p->gains + c, p->offsets + c);
        }
    }
}

#endif
