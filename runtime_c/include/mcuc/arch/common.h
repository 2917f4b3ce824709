/* Arithmetic shared by all cores, built on the primitives of the arch header. */
#ifndef MCUC_ARCH_COMMON_H
#define MCUC_ARCH_COMMON_H

/* A word from 4-byte aligned memory of any type. */
MCUC_KERNEL uint32_t mcuc_load32(const void *p) {
    uint32_t v;
    MCUC_REQUIRE(((uintptr_t)p & 3u) == 0);
    memcpy(&v, __builtin_assume_aligned(p, 4), 4);
    return v;
}

/* A word to 4-byte aligned memory of any type. */
MCUC_KERNEL void mcuc_store32(void *p, uint32_t v) {
    MCUC_REQUIRE(((uintptr_t)p & 3u) == 0);
    memcpy(__builtin_assume_aligned(p, 4), &v, 4);
}

/* A lane to 2-byte aligned memory of any type. */
MCUC_KERNEL void mcuc_store16(void *p, int32_t v) {
    int16_t lane = (int16_t)v;
    MCUC_REQUIRE(((uintptr_t)p & 1u) == 0);
    memcpy(__builtin_assume_aligned(p, 2), &lane, 2);
}

MCUC_KERNEL int32_t mcuc_clamp(int32_t v, int32_t lo, int32_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* v, an int8, clamped to [lo, hi]; the full range costs nothing. */
MCUC_KERNEL int8_t mcuc_limit8(int32_t v, int32_t lo, int32_t hi) {
    if (lo > -128) {
        v = v < lo ? lo : v;
    }
    if (hi < 127) {
        v = v > hi ? hi : v;
    }
    return (int8_t)v;
}

/* v clamped to [lo, hi] within int8; the full range costs one instruction on DSP cores. */
MCUC_KERNEL int8_t mcuc_clamp8(int32_t v, int32_t lo, int32_t hi) {
    return mcuc_limit8(mcuc_sat8(v), lo, hi);
}

/* The same for four int8 numbers in a word. */
MCUC_KERNEL uint32_t mcuc_clamp8x4(uint32_t v, int32_t lo, int32_t hi) {
    if (lo > -128) {
        v = mcuc_max8x4(v, ((uint32_t)lo & 0xFFu) * 0x01010101u);
    }
    if (hi < 127) {
        v = mcuc_min8x4(v, ((uint32_t)hi & 0xFFu) * 0x01010101u);
    }
    return v;
}

/* May words be loaded from or stored to this place? */
MCUC_KERNEL int mcuc_is_aligned(const void *p) {
    return ((uintptr_t)p & 3u) == 0;
}

/* add + a*b / 2^32, rounded to the nearest integer and from one half to the even one. Means of 2^k
 * numbers are often halfway between two integers, and always rounding up would shift them. */
MCUC_KERNEL int32_t mcuc_mul_round_even(int32_t a, int32_t b, int32_t add) {
    int32_t up = mcuc_mul_round(a, b, 0);
    int32_t is_tie = (uint32_t)a * (uint32_t)b == 0x80000000u;
    return add + up - (up & is_tie);
}

/* The requantization rule: clamp(zp + floor(((acc << shift) * m + 2^31) / 2^32)).
 * The compiler proved that acc << shift stays within int32. */
MCUC_KERNEL int8_t mcuc_requant(int32_t acc, int32_t m, int32_t shift, int32_t zp, int32_t lo,
                                int32_t hi) {
    return mcuc_clamp8(mcuc_mul_round(acc * (int32_t)(1u << shift), m, zp), lo, hi);
}

/* x * m / 2^31 * 2^e as TFLite computes it: rounded to an integer before the division by a power of
 * two (e < 0), one half up, and again after it, one half away from zero. */
MCUC_KERNEL int32_t mcuc_tflite_scale(int32_t x, int32_t m, int32_t e) {
    const int64_t product = (int64_t)(x * (int32_t)(1u << (e > 0 ? e : 0))) * m;
    const int32_t half = product >= 0 ? 1 << 30 : 1 - (1 << 30);
    const int32_t high = (int32_t)((product + half) / 0x80000000LL), right = e > 0 ? 0 : -e;
    const int32_t mask = (int32_t)((1u << right) - 1u), rest = high & mask;
    return (high >> right) + (rest > (mask >> 1) + (high < 0));
}

/* Of a layer: how far its sums are shifted. If it rounds as TFLite does: a table with m and e of
 * each channel, and the "multipliers" of its kernel are places in it. */
#ifdef MCUC_REQUANT_TFLITE
typedef const int32_t *mcuc_shift;

MCUC_KERNEL int mcuc_is_shifted(mcuc_shift shift) {
    return shift != NULL;
}
#else
typedef int32_t mcuc_shift;

MCUC_KERNEL int mcuc_is_shifted(mcuc_shift shift) {
    return shift > 0;
}
#endif

/* What turns the accumulators of a layer into its results, besides the multipliers. */
typedef struct {
    mcuc_shift shift;
    int32_t zp, lo, hi;
} mcuc_rescale;

/* The common case, in which everything but the zero-point folds away. */
MCUC_KERNEL mcuc_rescale mcuc_rescale_plain(int32_t zp) {
    mcuc_rescale r = {0, zp, -128, 127};
    return r;
}

MCUC_KERNEL int8_t mcuc_rescale_apply(mcuc_rescale r, int32_t acc, int32_t m) {
#ifdef MCUC_REQUANT_TFLITE
    const int32_t *scale = r.shift + 2 * m;
    return (int8_t)mcuc_clamp(mcuc_tflite_scale(acc, scale[0], scale[1]) + r.zp, r.lo, r.hi);
#else
    return mcuc_requant(acc, m, r.shift, r.zp, r.lo, r.hi);
#endif
}

#endif
