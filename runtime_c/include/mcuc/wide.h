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

/* acc + sum of (x - zp) * w over `count` numbers of a row from number `first` on. */
MCUC_KERNEL int64_t mcuc_wide_dot(int64_t acc, const int8_t *row, int32_t first, int32_t bits,
                                  int32_t zp, const int8_t *w, int32_t count) {
    while (count > 0) {
        const int32_t block = count < 256 ? count : 256;
        int32_t sum = 0;
        for (int32_t i = 0; i < block; i++) {
            sum += (mcuc_wide_get(row, first + i, bits) - zp) * w[i];
        }
        acc += sum;
        first += block;
        w += block;
        count -= block;
    }
    return acc;
}

#endif
