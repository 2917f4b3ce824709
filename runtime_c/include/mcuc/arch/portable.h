/* The arch primitives in portable C: the definition of what the others compute, used on the host
 * and on cores without the DSP extension. A lane is a signed half of a word. */
#ifndef MCUC_ARCH_PORTABLE_H
#define MCUC_ARCH_PORTABLE_H

#define MCUC_HAS_DSP 0

/* Two neighbouring words (LDRD). */
MCUC_KERNEL void mcuc_load_pair(const uint32_t *p, uint32_t *first, uint32_t *second) {
    *first = p[0];
    *second = p[1];
}

/* Two words to neighbouring places (STRD). */
MCUC_KERNEL void mcuc_store_pair(uint32_t *p, uint32_t first, uint32_t second) {
    p[0] = first;
    p[1] = second;
}

/* Four words to neighbouring places (STM). Returns the place after them. */
MCUC_KERNEL uint32_t *mcuc_store_four(uint32_t *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    p[0] = a;
    p[1] = b;
    p[2] = c;
    p[3] = d;
    return p + 4;
}

/* Low and high lane, sign-extended. */
MCUC_KERNEL int32_t mcuc_lo16(uint32_t v) {
    return (int16_t)(v & 0xFFFFu);
}

MCUC_KERNEL int32_t mcuc_hi16(uint32_t v) {
    return (int16_t)(v >> 16);
}

/* Two lanes from two numbers of 16 bits. */
MCUC_KERNEL uint32_t mcuc_pack16(int32_t lo, int32_t hi) {
    return ((uint32_t)lo & 0xFFFFu) | ((uint32_t)hi << 16);
}

/* Bytes 0 and 2 of v as lanes (SXTB16). */
MCUC_KERNEL uint32_t mcuc_even8(uint32_t v) {
    return mcuc_pack16((int8_t)(v & 0xFFu), (int8_t)((v >> 16) & 0xFFu));
}

/* Bytes 1 and 3 of v as lanes (SXTB16, ROR 8). */
MCUC_KERNEL uint32_t mcuc_odd8(uint32_t v) {
    return mcuc_even8(v >> 8);
}

/* Bytes 3 and 1 of v as lanes (SXTB16, ROR 24). */
MCUC_KERNEL uint32_t mcuc_odd8_swapped(uint32_t v) {
    return mcuc_pack16((int8_t)(v >> 24), (int8_t)((v >> 8) & 0xFFu));
}

/* (a.lo, b.lo) and (a.hi, b.hi) as lanes (PKHBT, PKHTB). */
MCUC_KERNEL uint32_t mcuc_pack_lo(uint32_t a, uint32_t b) {
    return (a & 0xFFFFu) | (b << 16);
}

MCUC_KERNEL uint32_t mcuc_pack_hi(uint32_t a, uint32_t b) {
    return (a >> 16) | (b & 0xFFFF0000u);
}

/* Sums and differences of lanes, modulo 2^16 (SADD16, SSUB16). */
MCUC_KERNEL uint32_t mcuc_add16x2(uint32_t a, uint32_t b) {
    return mcuc_pack16(mcuc_lo16(a) + mcuc_lo16(b), mcuc_hi16(a) + mcuc_hi16(b));
}

MCUC_KERNEL uint32_t mcuc_sub16x2(uint32_t a, uint32_t b) {
    return mcuc_pack16(mcuc_lo16(a) - mcuc_lo16(b), mcuc_hi16(a) - mcuc_hi16(b));
}

/* acc + a.lo*b.lo + a.hi*b.hi (SMLAD). */
MCUC_KERNEL int32_t mcuc_smlad(uint32_t a, uint32_t b, int32_t acc) {
    return acc + mcuc_lo16(a) * mcuc_lo16(b) + mcuc_hi16(a) * mcuc_hi16(b);
}

/* The same modulo 2^32, for sums that overflow by design. */
MCUC_KERNEL int32_t mcuc_smlad_wrap(uint32_t a, uint32_t b, int32_t acc) {
    uint32_t products =
        (uint32_t)(mcuc_lo16(a) * mcuc_lo16(b)) + (uint32_t)(mcuc_hi16(a) * mcuc_hi16(b));
    return (int32_t)((uint32_t)acc + products);
}

/* The same into another register than that of acc. */
MCUC_KERNEL int32_t mcuc_smlad_from(uint32_t a, uint32_t b, int32_t acc) {
    return mcuc_smlad_wrap(a, b, acc);
}

/* acc + a.{lo,hi}*b.{lo,hi} (SMLABB, SMLATB, SMLABT, SMLATT). */
MCUC_KERNEL int32_t mcuc_smlabb(uint32_t a, uint32_t b, int32_t acc) {
    return acc + mcuc_lo16(a) * mcuc_lo16(b);
}

MCUC_KERNEL int32_t mcuc_smlatb(uint32_t a, uint32_t b, int32_t acc) {
    return acc + mcuc_hi16(a) * mcuc_lo16(b);
}

MCUC_KERNEL int32_t mcuc_smlatb_from(uint32_t a, uint32_t b, int32_t acc) {
    return mcuc_smlatb(a, b, acc);
}

MCUC_KERNEL int32_t mcuc_smlabt(uint32_t a, uint32_t b, int32_t acc) {
    return acc + mcuc_lo16(a) * mcuc_hi16(b);
}

MCUC_KERNEL int32_t mcuc_smlatt(uint32_t a, uint32_t b, int32_t acc) {
    return acc + mcuc_hi16(a) * mcuc_hi16(b);
}

/* add + floor((a*b + 2^31) / 2^32) (SMMLAR). The shift of a negative number is arithmetic on every
 * compiler that targets these cores. */
MCUC_KERNEL int32_t mcuc_mul_round(int32_t a, int32_t b, int32_t add) {
    return add + (int32_t)(((int64_t)a * b + 0x80000000LL) >> 32);
}

/* add + floor(a*b / 2^32) (SMMLA). */
MCUC_KERNEL int32_t mcuc_mul_floor(int32_t a, int32_t b, int32_t add) {
    return add + (int32_t)(((int64_t)a * b) >> 32);
}

/* v saturated to int8 (SSAT #8). */
MCUC_KERNEL int32_t mcuc_sat8(int32_t v) {
    return v < -128 ? -128 : v > 127 ? 127 : v;
}

/* v saturated to int16 (SSAT #16). */
MCUC_KERNEL int32_t mcuc_sat16(int32_t v) {
    return v < -32768 ? -32768 : v > 32767 ? 32767 : v;
}

/* Both lanes saturated to [0, 255] (USAT16 #8). */
MCUC_KERNEL uint32_t mcuc_usat8x2(uint32_t v) {
    const int32_t lo = mcuc_lo16(v), hi = mcuc_hi16(v);
    return mcuc_pack16(lo < 0 ? 0 : lo > 255 ? 255 : lo, hi < 0 ? 0 : hi > 255 ? 255 : hi);
}

/* acc + floor(m * v.{lo,hi} / 2^16) (SMLAWB, SMLAWT). */
MCUC_KERNEL int32_t mcuc_smlawb(int32_t m, uint32_t v, int32_t acc) {
    return acc + (int32_t)(((int64_t)m * mcuc_lo16(v)) >> 16);
}

MCUC_KERNEL int32_t mcuc_smlawt(int32_t m, uint32_t v, int32_t acc) {
    return acc + (int32_t)(((int64_t)m * mcuc_hi16(v)) >> 16);
}

/* v >> shift, saturated to int8 (SSAT #8, ASR). */
MCUC_KERNEL int32_t mcuc_shift_sat8(int32_t v, int32_t shift) {
    return mcuc_sat8(v >> shift);
}

/* Bytes 0 and 2 (1 and 3) of v added to the lanes of sum, modulo 2^16 (SXTAB16). */
MCUC_KERNEL uint32_t mcuc_even8_add(uint32_t sum, uint32_t v) {
    return mcuc_pack16(mcuc_lo16(sum) + (int8_t)(v & 0xFFu),
                       mcuc_hi16(sum) + (int8_t)((v >> 16) & 0xFFu));
}

MCUC_KERNEL uint32_t mcuc_odd8_add(uint32_t sum, uint32_t v) {
    return mcuc_even8_add(sum, v >> 8);
}

/* A word of the low bytes of four numbers (BFI). */
MCUC_KERNEL uint32_t mcuc_join8(int32_t b0, int32_t b1, int32_t b2, int32_t b3) {
    return (uint32_t)(uint8_t)b0 | (uint32_t)(uint8_t)b1 << 8 | (uint32_t)(uint8_t)b2 << 16 |
           (uint32_t)b3 << 24;
}

/* Byte by byte the larger (smaller) of two words of int8 (SSUB8, SEL). */
MCUC_KERNEL uint32_t mcuc_max8x4(uint32_t a, uint32_t b) {
    uint32_t r = 0;
    for (int32_t i = 0; i < 32; i += 8) {
        int8_t x = (int8_t)((a >> i) & 0xFFu), y = (int8_t)((b >> i) & 0xFFu);
        r |= (uint32_t)(uint8_t)(x > y ? x : y) << i;
    }
    return r;
}

MCUC_KERNEL uint32_t mcuc_min8x4(uint32_t a, uint32_t b) {
    return ~mcuc_max8x4(~a, ~b);
}

#endif
