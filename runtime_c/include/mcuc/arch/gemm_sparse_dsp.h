/* Tiles of four pixels times block-sparse weights (see `gemm_sparse.h`) in assembly, for Cortex-M
 * with DSP and floating-point unit. 16 multiply-accumulates take 15 instructions: four sums leave
 * room for one LDM of the activations of all four pixels, and SXTAH adds a delta to their pointer.
 *
 *     r0         x, where the next block begins in the tile
 *     r1         w, the next word of the stream
 *     r2 - r5    activations of pixels 0 to 3
 *     r6         deltas
 *     r7, r8     weights of two blocks
 *     r9         weights of two elements; size and end of the pairs at first
 *     r10 - lr   sums of pixels 0 to 3
 *     s0, s1     zp; place of the results of pixel 0
 *     s2, s3     where those of pixel 1 lie behind it; end of the results of pixel 0
 *     s4, s5     where those of pixels 2 and 3 lie
 *     s6         end of the pairs of blocks
 *
 * Pixel 0 is stored last, and pixel 3 first: one that is only repeated may lie at 0.
 *
 * The first products are added to the bias and written to all sums, which saves moving it. What is
 * compared at the start of a pair, or the shift of the size tells, decides at its end: nothing
 * between them changes the flags.
 */
#ifndef MCUC_ARCH_GEMM_SPARSE_DSP_H
#define MCUC_ARCH_GEMM_SPARSE_DSP_H

/* One instruction per line. */
/* clang-format off */

/* Two elements. expand: their weights from a word of four; a1 to a3: what is added for pixels 1 to 3
 * (for pixel 0 it is r10, which is written last). */
#define MCUC_SPARSE4_TWO(expand, a1, a2, a3)                                                       \
    "sxtb16 r9, " expand "\n\t"                                                                    \
    "ldmia r0!, {r2, r3, r4, r5}\n\t"                                                              \
    "smlad r11, r9, r3, " a1 "\n\t"                                                                \
    "smlad r12, r9, r4, " a2 "\n\t"                                                                \
    "smlad lr, r9, r5, " a3 "\n\t"                                                                 \
    "smlad r10, r9, r2, r10\n\t"
#define MCUC_SPARSE4_FIRST(delta, word)                                                            \
    "sxtah r0, r0, " delta "\n\t"                                                                  \
    MCUC_SPARSE4_TWO(word, "r10", "r10", "r10")                                                    \
    MCUC_SPARSE4_TWO(word ", ror #8", "r11", "r12", "lr")
#define MCUC_SPARSE4_NEXT(delta, word)                                                             \
    "sxtah r0, r0, " delta "\n\t"                                                                  \
    MCUC_SPARSE4_TWO(word, "r11", "r12", "lr")                                                     \
    MCUC_SPARSE4_TWO(word ", ror #8", "r11", "r12", "lr")

#define MCUC_SPARSE4_ARGUMENT __attribute__((unused))

/* All channels of four pixels, those of the last three at1, at2, at3 bytes behind o. Returns the end
 * of their streams. */
static __attribute__((naked, noipa, unused)) const uint32_t *mcuc_sparse_tile4(
    MCUC_SPARSE4_ARGUMENT const uint32_t *tile,
    MCUC_SPARSE4_ARGUMENT const uint32_t *w,
    MCUC_SPARSE4_ARGUMENT int8_t *o,
    MCUC_SPARSE4_ARGUMENT int32_t channels,
    MCUC_SPARSE4_ARGUMENT int32_t zp,
    MCUC_SPARSE4_ARGUMENT int32_t at1,
    MCUC_SPARSE4_ARGUMENT int32_t at2,
    MCUC_SPARSE4_ARGUMENT int32_t at3) {
    __asm__(
        "push {r4-r11, lr}\n\t"
        "ldrd r4, r5, [sp, #36]\n\t"  /* zp, at1 */
        "ldrd r6, r7, [sp, #44]\n\t"  /* at2, at3 */
        "add r3, r2, r3\n\t"
        "vmov s0, s1, r4, r2\n\t"
        "vmov s2, s3, r5, r3\n\t"
        "vmov s4, s5, r6, r7\n"
    "1:\n\t"  /* a channel: its first blocks */
        "ldmia r1!, {r6, r7, r8, r9, r10}\n\t"
        "lsrs r9, r9, #1\n\t"
        "add r9, r9, r1\n\t"
        "vmov s6, r9\n\t"
        MCUC_SPARSE4_FIRST("r6", "r7")
        "bcs 2f\n\t"
        MCUC_SPARSE4_NEXT("r6, ror #16", "r8")
    "2:\n\t"
        "beq 4f\n"
    "3:\n\t"  /* a pair of blocks */
        "ldmia r1!, {r6, r7, r8}\n\t"
        "vmov r2, s6\n\t"
        "cmp r1, r2\n\t"
        MCUC_SPARSE4_NEXT("r6", "r7")
        MCUC_SPARSE4_NEXT("r6, ror #16", "r8")
        "bne 3b\n"
    "4:\n\t"  /* the results */
        "ldr r2, [r1], #4\n\t"
        "vmov r3, r4, s0, s1\n\t"
        "smmlar r10, r10, r2, r3\n\t"
        "smmlar r11, r11, r2, r3\n\t"
        "smmlar r12, r12, r2, r3\n\t"
        "smmlar lr, lr, r2, r3\n\t"
        "ssat r10, #8, r10\n\t"
        "ssat r11, #8, r11\n\t"
        "ssat r12, #8, r12\n\t"
        "ssat lr, #8, lr\n\t"
        "vmov r5, r6, s2, s3\n\t"
        "vmov r7, r8, s4, s5\n\t"
        "strb lr, [r4, r8]\n\t"
        "strb r12, [r4, r7]\n\t"
        "strb r11, [r4, r5]\n\t"
        "strb r10, [r4], #1\n\t"
        "vmov s1, r4\n\t"
        "cmp r4, r6\n\t"
        "bne 1b\n\t"
        "mov r0, r1\n\t"
        "pop {r4-r11, pc}");
}

/* clang-format on */

#endif
