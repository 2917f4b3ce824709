/* What the kernels with int16 activations share.
 *
 * An activation is int8 or int16, as its `bits` say. Sums are exact: 256 products of an activation
 * less its zero-point and a weight stay within int32, and their sum is one of 64 bits.
 *
 * exactness      equals mcucompile.quant.wide
 */
#ifndef MCUC_WIDE_H
#define MCUC_WIDE_H

#include "mcuc/mcuc.h"

/* Number i of a row. */
MCUC_KERNEL int32_t mcuc_wide_get(const int8_t *row, int32_t i, int32_t bits) {
    int16_t v;
    if (bits == 8) {
        return row[i];
    }
    MCUC_REQUIRE(((uintptr_t)row & 1u) == 0);
    memcpy(&v, __builtin_assume_aligned(row + 2 * i, 2), 2);
    return v;
}

MCUC_KERNEL void mcuc_wide_put(int8_t *row, int32_t i, int32_t bits, int32_t v) {
    if (bits == 8) {
        row[i] = (int8_t)v;
    } else {
        mcuc_store16(row + 2 * i, v);
    }
}

/* clamp(zp + floor((acc * m + 2^(shift - 1)) / 2^shift)); the compiler left room for the product.
 */
MCUC_KERNEL int32_t mcuc_wide_scale(int64_t acc, int32_t m, int32_t shift, int32_t zp, int32_t lo,
                                    int32_t hi) {
    const int64_t y = ((acc * m + ((int64_t)1 << (shift - 1))) >> shift) + zp;
    return y < lo ? lo : y > hi ? hi : (int32_t)y;
}

/* (x - zp) * w of number i. */
MCUC_KERNEL int32_t mcuc_wide_product(const int8_t *row, int32_t i, int32_t bits, int32_t zp,
                                      const int8_t *w) {
    return (mcuc_wide_get(row, i, bits) - zp) * w[i];
}

/* acc + sum of (x - zp) * w over `count` numbers of a row from number `first` on. */
MCUC_KERNEL int64_t mcuc_wide_dot(int64_t acc, const int8_t *row, int32_t first, int32_t bits,
                                  int32_t zp, const int8_t *w, int32_t count) {
    row += first * (bits / 8);
    while (count > 0) {
        const int32_t block = count < 256 ? count : 256;
        const int8_t *end = w + block;
        int32_t sum = 0;
        for (; end - w >= 4; w += 4, row += 4 * (bits / 8)) {
            sum += mcuc_wide_product(row, 0, bits, zp, w);
            sum += mcuc_wide_product(row, 1, bits, zp, w);
            sum += mcuc_wide_product(row, 2, bits, zp, w);
            sum += mcuc_wide_product(row, 3, bits, zp, w);
        }
        for (; w < end; w++, row += bits / 8) {
            sum += mcuc_wide_product(row, 0, bits, zp, w);
        }
        acc += sum;
        count -= block;
    }
    return acc;
}

/* The sum of four products of int16 numbers at x and weights in word order. */
MCUC_KERNEL int32_t mcuc_wide_four(const int8_t *x, const int8_t *w, int32_t sum) {
    const uint32_t word = mcuc_load32(w);
    sum = mcuc_smlad(mcuc_load32(x), mcuc_even8(word), sum);
    return mcuc_smlad(mcuc_load32(x + 4), mcuc_odd8(word), sum);
}

/* The same as mcuc_wide_dot for int16 numbers without zero-point: `first` and `count` are multiples
 * of four, the row is aligned, and the weights of each word are in word order: 0, 2, 1, 3. */
MCUC_KERNEL int64_t mcuc_wide_dot_words(int64_t acc, const int8_t *row, int32_t first,
                                        const int8_t *w, int32_t count) {
    row += 2 * first;
    while (count > 0) {
        const int32_t block = count < 256 ? count : 256;
        const int8_t *end = w + block;
        int32_t sum = 0;
        for (; end - w >= 8; w += 8, row += 16) {
            sum = mcuc_wide_four(row, w, sum);
            sum = mcuc_wide_four(row + 8, w + 4, sum);
        }
        for (; w < end; w += 4, row += 8) {
            sum = mcuc_wide_four(row, w, sum);
        }
        acc += sum;
        count -= block;
    }
    return acc;
}

#endif
