/* The arch primitives as single instructions of the ARMv7E-M DSP extension (Cortex-M4, M7, M33).
 * `portable.h` defines what each computes. */
#ifndef MCUC_ARCH_DSP_H
#define MCUC_ARCH_DSP_H

/* Multiply-accumulates are single instructions, worth unrolling far. */
#define MCUC_HAS_DSP 1

#define MCUC_ASM1(name, text)                                                                      \
    MCUC_KERNEL uint32_t name(uint32_t a) {                                                        \
        uint32_t r;                                                                                \
        __asm__(text : "=r"(r) : "r"(a));                                                          \
        return r;                                                                                  \
    }

#define MCUC_ASM2(name, text)                                                                      \
    MCUC_KERNEL uint32_t name(uint32_t a, uint32_t b) {                                            \
        uint32_t r;                                                                                \
        __asm__(text : "=r"(r) : "r"(a), "r"(b));                                                  \
        return r;                                                                                  \
    }

/* The accumulator stays in its register: left to itself, gcc permutes the eight of a loop. */
#define MCUC_ASM_MAC(name, instruction)                                                            \
    MCUC_KERNEL int32_t name(uint32_t a, uint32_t b, int32_t acc) {                                \
        __asm__(instruction " %0, %1, %2, %0" : "+r"(acc) : "r"(a), "r"(b));                       \
        return acc;                                                                                \
    }

MCUC_ASM1(mcuc_even8, "sxtb16 %0, %1")
MCUC_ASM1(mcuc_odd8, "sxtb16 %0, %1, ror #8")
MCUC_ASM1(mcuc_odd8_swapped, "sxtb16 %0, %1, ror #24")
MCUC_ASM1(mcuc_usat8x2, "usat16 %0, #8, %1")
MCUC_ASM2(mcuc_pack_lo, "pkhbt %0, %1, %2, lsl #16")
MCUC_ASM2(mcuc_pack_hi, "pkhtb %0, %2, %1, asr #16")
MCUC_ASM2(mcuc_add16x2, "sadd16 %0, %1, %2")
MCUC_ASM2(mcuc_sub16x2, "ssub16 %0, %1, %2")
MCUC_ASM_MAC(mcuc_smlad, "smlad")
MCUC_ASM_MAC(mcuc_smlad_wrap, "smlad")
MCUC_ASM_MAC(mcuc_smlabb, "smlabb")
MCUC_ASM_MAC(mcuc_smlatb, "smlatb")
MCUC_ASM_MAC(mcuc_smlabt, "smlabt")
MCUC_ASM_MAC(mcuc_smlatt, "smlatt")

/* The accumulator stays where it is, for other sums to start from. */
MCUC_KERNEL int32_t mcuc_smlad_from(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlad %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}

MCUC_KERNEL int32_t mcuc_smlatb_from(uint32_t a, uint32_t b, int32_t acc) {
    int32_t r;
    __asm__("smlatb %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(acc));
    return r;
}

#undef MCUC_ASM1
#undef MCUC_ASM2
#undef MCUC_ASM_MAC

typedef uint64_t __attribute__((may_alias)) mcuc_pair;

/* "Uv" is an address whose offset LDRD can encode. */
MCUC_KERNEL void mcuc_load_pair(const uint32_t *p, uint32_t *first, uint32_t *second) {
    __asm__("ldrd %0, %1, %2"
            : "=r"(*first), "=r"(*second)
            : "Uv"(*(const mcuc_pair *)(const void *)p));
}

MCUC_KERNEL void mcuc_store_pair(uint32_t *p, uint32_t first, uint32_t second) {
    __asm__("strd %1, %2, %0" : "=Uv"(*(mcuc_pair *)(void *)p) : "r"(first), "r"(second));
}

/* Ascending registers, as STM stores them. */
MCUC_KERNEL uint32_t *mcuc_store_four(uint32_t *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    register uint32_t r4 __asm__("r4") = a;
    register uint32_t r5 __asm__("r5") = b;
    register uint32_t r6 __asm__("r6") = c;
    register uint32_t r8 __asm__("r8") = d;
    __asm__ volatile("stmia %0!, {%1, %2, %3, %4}"
                     : "+r"(p)
                     : "r"(r4), "r"(r5), "r"(r6), "r"(r8)
                     : "memory");
    return p;
}

MCUC_KERNEL int32_t mcuc_lo16(uint32_t v) {
    return (int16_t)(v & 0xFFFFu);
}

MCUC_KERNEL int32_t mcuc_hi16(uint32_t v) {
    return (int16_t)(v >> 16);
}

MCUC_KERNEL uint32_t mcuc_pack16(int32_t lo, int32_t hi) {
    return mcuc_pack_lo((uint32_t)lo, (uint32_t)hi);
}

MCUC_KERNEL int32_t mcuc_mul_round(int32_t a, int32_t b, int32_t add) {
    int32_t r;
    __asm__("smmlar %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(add));
    return r;
}

MCUC_KERNEL int32_t mcuc_mul_floor(int32_t a, int32_t b, int32_t add) {
    int32_t r;
    __asm__("smmla %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(b), "r"(add));
    return r;
}

MCUC_KERNEL int32_t mcuc_sat8(int32_t v) {
    int32_t r;
    __asm__("ssat %0, #8, %1" : "=r"(r) : "r"(v));
    return r;
}

MCUC_KERNEL int32_t mcuc_sat16(int32_t v) {
    int32_t r;
    __asm__("ssat %0, #16, %1" : "=r"(r) : "r"(v));
    return r;
}

MCUC_KERNEL int32_t mcuc_smlawb(int32_t m, uint32_t v, int32_t acc) {
    int32_t r;
    __asm__("smlawb %0, %1, %2, %3" : "=r"(r) : "r"(m), "r"(v), "r"(acc));
    return r;
}

MCUC_KERNEL int32_t mcuc_smlawt(int32_t m, uint32_t v, int32_t acc) {
    int32_t r;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(r) : "r"(m), "r"(v), "r"(acc));
    return r;
}

MCUC_KERNEL int32_t mcuc_shift_sat8(int32_t v, int32_t shift) {
    int32_t r;
    if (__builtin_constant_p(shift) && shift > 0) {
        __asm__("ssat %0, #8, %1, asr %2" : "=r"(r) : "r"(v), "I"(shift));
    } else {
        r = mcuc_sat8(v >> shift);
    }
    return r;
}

MCUC_KERNEL uint32_t mcuc_even8_add(uint32_t sum, uint32_t v) {
    uint32_t r;
    __asm__("sxtab16 %0, %1, %2" : "=r"(r) : "r"(sum), "r"(v));
    return r;
}

MCUC_KERNEL uint32_t mcuc_odd8_add(uint32_t sum, uint32_t v) {
    uint32_t r;
    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(r) : "r"(sum), "r"(v));
    return r;
}

MCUC_KERNEL uint32_t mcuc_join8(int32_t b0, int32_t b1, int32_t b2, int32_t b3) {
    uint32_t r = (uint32_t)b0;
    __asm__("bfi %0, %1, #8, #8" : "+r"(r) : "r"(b1));
    __asm__("bfi %0, %1, #16, #8" : "+r"(r) : "r"(b2));
    __asm__("bfi %0, %1, #24, #8" : "+r"(r) : "r"(b3));
    return r;
}

/* SSUB8 sets one flag per byte, by which SEL chooses. */
MCUC_KERNEL uint32_t mcuc_max8x4(uint32_t a, uint32_t b) {
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

MCUC_KERNEL uint32_t mcuc_min8x4(uint32_t a, uint32_t b) {
    uint32_t r;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %2, %1" : "=&r"(r) : "r"(a), "r"(b) : "cc");
    return r;
}

#endif
