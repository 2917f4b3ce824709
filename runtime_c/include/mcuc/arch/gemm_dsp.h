/* Tiles of four pixels (see `gemm.h`) in assembly, for Cortex-M with DSP and floating-point unit.
 *
 * Eight sums, operands and pointers need more than the 14 registers there are; a C compiler loses
 * 10 to 25 % on it. Here the weights come through the floating-point registers: their pointer is
 * not needed while sums are formed, which leaves room for one LDM of the activations of all four
 * pixels. 16 multiply-accumulates take 11 instructions (wide: 13), a pair of channels 41 besides,
 * and 6 more for each block of 8 words but the first.
 *
 *     r0         x, the next words of the tile; at the results their place
 *     r1 - r4    activations of pixels 0 to 3; between blocks r1 is w, the next word of the stream
 *     r5         a word of weights
 *     r6 - r9    sums of channel 0, pixels 0 to 3
 *     r10 - lr   sums of channel 1, pixels 0 to 3
 *     s0 - s9    bias (first block only) and words of weights
 *     s10, s11   w; place of the results of pixel 0
 *     s12, s13   zp; 256 * zp + 128
 *     s14, s15   pitch; end of the results of pixel 0
 *     sp         tile; x before the first block if that is the last one; x before the last of more
 *
 * The first block of a pair has 4 words if their number is an odd multiple of 4, all others have 8.
 * The first products are added to the bias and written to all sums, which saves moving it. What is
 * compared at the start of a block decides at its end: nothing between them changes the flags.
 *
 * Without `wide`, the difference of the two sums is 256 * sum1. SMMLA multiplies it as it is, and
 * SSAT shifts the product by 8 more; floor(floor(v / 2^32) / 2^8) is floor(v / 2^40), so that the
 * bits are those of SMMLAR on sum1.
 *
 * A naked function leaves no choice of registers to the compiler, and works without optimization.
 */
#ifndef MCUC_ARCH_GEMM_DSP_H
#define MCUC_ARCH_GEMM_DSP_H

/* One instruction per line. */
/* clang-format off */

/* The word of weights r5 against the words of the pixels. a1 to a3: what is added for pixels 1 to 3
 * (for pixel 0 it is s0, which is written last). */
#define MCUC_TILE4_MACS(s0, s1, s2, s3, a1, a2, a3)                                                \
    "smlad " s1 ", r5, r2, " a1 "\n\t"                                                             \
    "smlad " s2 ", r5, r3, " a2 "\n\t"                                                             \
    "smlad " s3 ", r5, r4, " a3 "\n\t"                                                             \
    "smlad " s0 ", r5, r1, " s0 "\n\t"

/* The first word of a pair of channels starts from the bias. */
#define MCUC_TILE4_FIRST0 MCUC_TILE4_MACS("r6", "r7", "r8", "r9", "r6", "r6", "r6")
#define MCUC_TILE4_FIRST1 MCUC_TILE4_MACS("r10", "r11", "r12", "lr", "r10", "r10", "r10")
#define MCUC_TILE4_NEXT0 MCUC_TILE4_MACS("r6", "r7", "r8", "r9", "r7", "r8", "r9")
#define MCUC_TILE4_NEXT1 MCUC_TILE4_MACS("r10", "r11", "r12", "lr", "r11", "r12", "lr")

/* A word of weights for both channels. */
#define MCUC_TILE4_NARROW(word, macs0, macs1)                                                      \
    "vmov r5, " word "\n\t"                                                                        \
    "ldmia r0!, {r1, r2, r3, r4}\n\t"                                                              \
    macs1                                                                                          \
    "sxtb16 r5, r5\n\t"                                                                            \
    macs0
#define MCUC_TILE4_WIDE(word, macs0, macs1)                                                        \
    "vmov r5, " word "\n\t"                                                                        \
    "ldmia r0!, {r1, r2, r3, r4}\n\t"                                                              \
    "sxtb16 r5, r5, ror #8\n\t"                                                                    \
    macs1                                                                                          \
    "vmov r5, " word "\n\t"                                                                        \
    "sxtb16 r5, r5\n\t"                                                                            \
    macs0

#define MCUC_TILE4_FIRST(width, word)                                                              \
    MCUC_TILE4_##width(word, MCUC_TILE4_FIRST0, MCUC_TILE4_FIRST1)
#define MCUC_TILE4_NEXT(width, word)                                                               \
    MCUC_TILE4_##width(word, MCUC_TILE4_NEXT0, MCUC_TILE4_NEXT1)
#define MCUC_TILE4_FOUR(width, w0, w1, w2, w3)                                                     \
    MCUC_TILE4_NEXT(width, w0)                                                                     \
    MCUC_TILE4_NEXT(width, w1)                                                                     \
    MCUC_TILE4_NEXT(width, w2)                                                                     \
    MCUC_TILE4_NEXT(width, w3)

/* The first block, of 4 or 8 words, and the registers into which it is read. */
#define MCUC_TILE4_REGISTERS4 "s0-s5"
#define MCUC_TILE4_BLOCK4(width)                                                                   \
    MCUC_TILE4_FIRST(width, "s2")                                                                  \
    MCUC_TILE4_NEXT(width, "s3")                                                                   \
    MCUC_TILE4_NEXT(width, "s4")                                                                   \
    MCUC_TILE4_NEXT(width, "s5")
#define MCUC_TILE4_REGISTERS8 "s0-s9"
#define MCUC_TILE4_BLOCK8(width)                                                                   \
    MCUC_TILE4_BLOCK4(width)                                                                       \
    MCUC_TILE4_FOUR(width, "s6", "s7", "s8", "s9")

/* Results from the sums, multipliers in r2 and r3, zp in r4 and 256 * zp + 128 in r5. */
#define MCUC_TILE4_MULTIPLY(smmla, s0, s1, s2, s3, m, zp)                                          \
    smmla " " s0 ", " s0 ", " m ", " zp "\n\t"                                                     \
    smmla " " s1 ", " s1 ", " m ", " zp "\n\t"                                                     \
    smmla " " s2 ", " s2 ", " m ", " zp "\n\t"                                                     \
    smmla " " s3 ", " s3 ", " m ", " zp "\n\t"
#define MCUC_TILE4_SATURATE(s0, s1, s2, s3, shift)                                                 \
    "ssat " s0 ", #8, " s0 shift "\n\t"                                                            \
    "ssat " s1 ", #8, " s1 shift "\n\t"                                                            \
    "ssat " s2 ", #8, " s2 shift "\n\t"                                                            \
    "ssat " s3 ", #8, " s3 shift "\n\t"
#define MCUC_TILE4_RESULTS0                                                                        \
    MCUC_TILE4_MULTIPLY("smmlar", "r6", "r7", "r8", "r9", "r2", "r4")                              \
    MCUC_TILE4_SATURATE("r6", "r7", "r8", "r9", "")
#define MCUC_TILE4_RESULTS_NARROW                                                                  \
    "sub r10, r10, r6\n\t"                                                                         \
    "sub r11, r11, r7\n\t"                                                                         \
    "sub r12, r12, r8\n\t"                                                                         \
    "sub lr, lr, r9\n\t"                                                                           \
    MCUC_TILE4_RESULTS0                                                                            \
    MCUC_TILE4_MULTIPLY("smmla", "r10", "r11", "r12", "lr", "r3", "r5")                            \
    MCUC_TILE4_SATURATE("r10", "r11", "r12", "lr", ", asr #8")
#define MCUC_TILE4_RESULTS_WIDE                                                                    \
    MCUC_TILE4_RESULTS0                                                                            \
    MCUC_TILE4_MULTIPLY("smmlar", "r10", "r11", "r12", "lr", "r3", "r4")                           \
    MCUC_TILE4_SATURATE("r10", "r11", "r12", "lr", "")

#define MCUC_TILE4_ARGUMENT __attribute__((unused))

/* All pairs of channels of four pixels; see mcuc_gemm_tile. first: words of the first block. */
#define MCUC_TILE4(name, width, first)                                                             \
    static __attribute__((naked, noipa, unused)) const uint32_t *name(                             \
        MCUC_TILE4_ARGUMENT const uint32_t *tile,                                                  \
        MCUC_TILE4_ARGUMENT const uint32_t *w,                                                     \
        MCUC_TILE4_ARGUMENT int8_t *o,                                                             \
        MCUC_TILE4_ARGUMENT int32_t words,                                                         \
        MCUC_TILE4_ARGUMENT int32_t channels,                                                      \
        MCUC_TILE4_ARGUMENT int32_t pitch,                                                         \
        MCUC_TILE4_ARGUMENT int32_t zp) {                                                          \
        __asm__(                                                                                   \
            "push {r4-r11, lr}\n\t"                                                                \
            "ldrd r6, r7, [sp, #36]\n\t"  /* channels, pitch */                                    \
            "ldr r8, [sp, #44]\n\t"       /* zp */                                                 \
            "add r6, r2, r6\n\t"                                                                   \
            "vmov s14, s15, r7, r6\n\t"                                                            \
            "lsl r9, r8, #8\n\t"                                                                   \
            "add r9, r9, #128\n\t"                                                                 \
            "vmov s12, s13, r8, r9\n\t"                                                            \
            "add r4, r0, r3, lsl #4\n\t"  /* the end of the tile */                                \
            "sub r3, r4, #16 * " #first "\n\t"                                                     \
            "sub r4, r4, #16 * 8\n\t"                                                              \
            "push {r0, r3, r4}\n\t"                                                                \
            "mov r0, r2\n"                                                                         \
        "1:\n\t"  /* a pair of channels: its first block */                                        \
            "vldmia r1!, {" MCUC_TILE4_REGISTERS##first "}\n\t"                                    \
            "vmov s10, s11, r1, r0\n\t"                                                            \
            "ldrd r0, r1, [sp]\n\t"                                                                \
            "cmp r0, r1\n\t"                                                                       \
            "vmov r6, r10, s0, s1\n\t"                                                             \
            MCUC_TILE4_BLOCK##first(width)                                                         \
            "beq 3f\n"                                                                             \
        "2:\n\t"  /* another block */                                                              \
            "vmov r1, s10\n\t"                                                                     \
            "ldr r2, [sp, #8]\n\t"                                                                 \
            "vldmia r1!, {s0-s7}\n\t"                                                              \
            "vmov s10, r1\n\t"                                                                     \
            "cmp r0, r2\n\t"                                                                       \
            MCUC_TILE4_FOUR(width, "s0", "s1", "s2", "s3")                                         \
            MCUC_TILE4_FOUR(width, "s4", "s5", "s6", "s7")                                         \
            "bne 2b\n"                                                                             \
        "3:\n\t"  /* the results */                                                                \
            "vmov r1, r0, s10, s11\n\t"                                                            \
            "ldrd r2, r3, [r1], #8\n\t"                                                            \
            "vmov r4, r5, s12, s13\n\t"                                                            \
            MCUC_TILE4_RESULTS_##width                                                             \
            "bfi r6, r10, #8, #8\n\t"                                                              \
            "bfi r7, r11, #8, #8\n\t"                                                              \
            "bfi r8, r12, #8, #8\n\t"                                                              \
            "bfi r9, lr, #8, #8\n\t"                                                               \
            "vmov r2, r3, s14, s15\n\t"                                                            \
            "add r4, r0, r2\n\t"                                                                   \
            "strh r7, [r0, r2]\n\t"                                                                \
            "strh r8, [r0, r2, lsl #1]\n\t"                                                        \
            "strh r9, [r4, r2, lsl #1]\n\t"                                                        \
            "strh r6, [r0], #2\n\t"                                                                \
            "cmp r0, r3\n\t"                                                                       \
            "bne 1b\n\t"                                                                           \
            "mov r0, r1\n\t"                                                                       \
            "add sp, sp, #12\n\t"                                                                  \
            "pop {r4-r11, pc}");                                                                   \
    }

/* clang-format on */

MCUC_TILE4(mcuc_tile4_words4, NARROW, 4)
MCUC_TILE4(mcuc_tile4_words8, NARROW, 8)
MCUC_TILE4(mcuc_tile4_words4_wide, WIDE, 4)
MCUC_TILE4(mcuc_tile4_words8_wide, WIDE, 8)

#endif
