/* Eight channels of a dense layer (see `dense.h`) in assembly, for Cortex-M with DSP and
 * floating-point unit.
 *
 * Eight sums and four words of weights leave room for two more registers: elements come through the
 * floating-point registers, and everything else waits there. 32 multiply-accumulates take 30
 * instructions, eight channels 55 besides, and 5 more for each block of 32 elements.
 *
 *     r0         w, the next word of the stream
 *     r1 - r4    words of weights; between blocks r1 is x, the next elements, and r2 where they end
 *     r5         two elements
 *     r6 - lr    sums of channels 0, 1, ... 7 (those of odd channels with 1 / 256 of the others)
 *     s0 - s7    elements, four in each
 *     s8 - s11   x; end of the elements in blocks of 32; end of all; their beginning
 *     s12, s13   place of the results; where they end
 *     s14, s15   zp; 256 * zp + 128
 *     sp + 44    m, if all channels share it, or 0
 *
 * What is compared at the start of a block decides at its end: nothing between them changes the
 * flags. For the results see `gemm_dsp.h`.
 */
#ifndef MCUC_ARCH_DENSE_DSP_H
#define MCUC_ARCH_DENSE_DSP_H

/* One instruction per line. */
/* clang-format off */

/* The word of weights w times two elements. */
#define MCUC_DENSE8_MAC(w, even, odd)                                                              \
    "smlad " odd ", " w ", r5, " odd "\n\t"                                                        \
    "sxtb16 " w ", " w "\n\t"                                                                      \
    "smlad " even ", " w ", r5, " even "\n\t"
#define MCUC_DENSE8_TWO                                                                            \
    "ldmia r0!, {r1, r2, r3, r4}\n\t"                                                              \
    MCUC_DENSE8_MAC("r1", "r6", "r7")                                                              \
    MCUC_DENSE8_MAC("r2", "r8", "r9")                                                              \
    MCUC_DENSE8_MAC("r3", "r10", "r11")                                                            \
    MCUC_DENSE8_MAC("r4", "r12", "lr")
#define MCUC_DENSE8_FOUR(word)                                                                     \
    "vmov r5, " word "\n\t"                                                                        \
    "sxtb16 r5, r5\n\t"                                                                            \
    MCUC_DENSE8_TWO                                                                                \
    "vmov r5, " word "\n\t"                                                                        \
    "sxtb16 r5, r5, ror #8\n\t"                                                                    \
    MCUC_DENSE8_TWO

/* Two results; the multipliers are in r1 and r2 if they are shared, else in the stream. */
#define MCUC_DENSE8_RESULTS(even, odd, place)                                                      \
    "it eq\n\t"                                                                                    \
    "ldrdeq r1, r2, [r0], #8\n\t"                                                                  \
    "sub " odd ", " odd ", " even "\n\t"                                                           \
    "smmlar " even ", " even ", r1, r3\n\t"                                                        \
    "smmla " odd ", " odd ", r2, r4\n\t"                                                           \
    "ssat " even ", #8, " even "\n\t"                                                              \
    "ssat " odd ", #8, " odd ", asr #8\n\t"                                                        \
    "strb " even ", [r5, #" place "]\n\t"                                                          \
    "strb " odd ", [r5, #" place " + 1]\n\t"

#define MCUC_DENSE8_ARGUMENT __attribute__((unused))

/* `channels`, a multiple of 8, from `cin` elements, a multiple of 4 and not 0. Returns the end of
 * their streams. */
static __attribute__((naked, noipa, unused)) const uint32_t *mcuc_dense_eights(
    MCUC_DENSE8_ARGUMENT const int8_t *x,
    MCUC_DENSE8_ARGUMENT const uint32_t *w,
    MCUC_DENSE8_ARGUMENT int8_t *o,
    MCUC_DENSE8_ARGUMENT int32_t cin,
    MCUC_DENSE8_ARGUMENT int32_t channels,
    MCUC_DENSE8_ARGUMENT int32_t zp,
    MCUC_DENSE8_ARGUMENT int32_t m) {
    __asm__(
        "push {r4-r11, lr}\n\t"
        "ldrd r4, r5, [sp, #36]\n\t"  /* channels, zp */
        "add r4, r2, r4\n\t"
        "vmov s12, s13, r2, r4\n\t"
        "lsl r6, r5, #8\n\t"
        "add r6, r6, #128\n\t"
        "vmov s14, s15, r5, r6\n\t"
        "bic r4, r3, #31\n\t"
        "add r4, r0, r4\n\t"
        "add r3, r0, r3\n\t"
        "vmov s9, r4\n\t"
        "vmov s10, s11, r3, r0\n\t"
        "mov r0, r1\n"
    "1:\n\t"  /* eight channels */
        "vmov r1, s11\n\t"
        "vmov r2, s9\n\t"
        "ldmia r0!, {r6, r7, r8, r9, r10, r11, r12, lr}\n\t"
        "cmp r1, r2\n\t"
        "beq 3f\n"
    "2:\n\t"  /* 32 elements */
        "vldmia r1!, {s0-s7}\n\t"
        "vmov s8, r1\n\t"
        "cmp r1, r2\n\t"
        MCUC_DENSE8_FOUR("s0")
        MCUC_DENSE8_FOUR("s1")
        MCUC_DENSE8_FOUR("s2")
        MCUC_DENSE8_FOUR("s3")
        MCUC_DENSE8_FOUR("s4")
        MCUC_DENSE8_FOUR("s5")
        MCUC_DENSE8_FOUR("s6")
        MCUC_DENSE8_FOUR("s7")
        "vmov r1, r2, s8, s9\n\t"
        "bne 2b\n"
    "3:\n\t"
        "vmov r2, s10\n\t"
        "cmp r1, r2\n\t"
        "beq 5f\n"
    "4:\n\t"  /* four elements */
        "vldmia r1!, {s0}\n\t"
        "vmov s8, r1\n\t"
        "cmp r1, r2\n\t"
        MCUC_DENSE8_FOUR("s0")
        "vmov r1, s8\n\t"
        "vmov r2, s10\n\t"
        "bne 4b\n"
    "5:\n\t"  /* the results */
        "ldr r1, [sp, #44]\n\t"  /* m */
        "mov r2, r1\n\t"
        "vmov r3, r4, s14, s15\n\t"
        "vmov r5, s12\n\t"
        "cmp r1, #0\n\t"
        MCUC_DENSE8_RESULTS("r6", "r7", "0")
        MCUC_DENSE8_RESULTS("r8", "r9", "2")
        MCUC_DENSE8_RESULTS("r10", "r11", "4")
        MCUC_DENSE8_RESULTS("r12", "lr", "6")
        "vmov r1, s13\n\t"
        "add r5, r5, #8\n\t"
        "vmov s12, r5\n\t"
        "cmp r5, r1\n\t"
        "bne 1b\n\t"
        "pop {r4-r11, pc}");
}

/* clang-format on */

#endif
