/* What the kernels with float32 numbers share: arithmetic that gives the same bits everywhere.
 *
 * Each operation is one of IEEE 754 in 32 bits. mcuc_rounded keeps a C compiler from making one of
 * two, as a fused multiply-add is, whatever its flags.
 *
 * exactness      equals mcucompile.quant.float32
 */
#ifndef MCUC_FLOAT32_H
#define MCUC_FLOAT32_H

#include <float.h>

#include "mcuc/mcuc.h"

#if defined(__FAST_MATH__) || FLT_EVAL_METHOD == 1 || FLT_EVAL_METHOD == 2
#error "float arithmetic must be that of IEEE 754 in 32 bits: no -ffast-math, no x87"
#endif

typedef float __attribute__((may_alias)) mcuc_float;

/* v, of which the C compiler does not know how it was computed. */
MCUC_KERNEL float mcuc_rounded(float v) {
#if defined(__arm__) && defined(__ARM_FP)
    __asm__("" : "+t"(v));
#elif defined(__x86_64__) || defined(__SSE__)
    __asm__("" : "+x"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#else
    __asm__("" : "+g"(v));
#endif
    return v;
}

/* sum + x * w, rounded twice. */
MCUC_KERNEL float mcuc_add_product(float sum, float x, float w) {
    return sum + mcuc_rounded(x * w);
}

/* y within [lo, hi]; NaN becomes lo. */
MCUC_KERNEL float mcuc_clamp_f32(float y, float lo, float hi) {
    y = y > lo ? y : lo;
    return y < hi ? y : hi;
}

MCUC_KERNEL const mcuc_float *mcuc_float_src(const mcuc_src *t, int32_t y) {
    const int8_t *row = mcuc_src_row(t, y);
    MCUC_REQUIRE(mcuc_is_aligned(row));
    return (const mcuc_float *)(const void *)row;
}

MCUC_KERNEL mcuc_float *mcuc_float_dst(const mcuc_dst *t, int32_t y) {
    int8_t *row = mcuc_dst_row(t, y);
    MCUC_REQUIRE(mcuc_is_aligned(row));
    return (mcuc_float *)(void *)row;
}

#endif
