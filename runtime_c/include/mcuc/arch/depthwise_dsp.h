/* Depthwise convolutions (see `depthwise.h`) in assembly, for Cortex-M with DSP and floating-point
 * unit. Four sums, the weights of a row and the pointers need all 14 registers, so that loop state
 * lives in floating-point registers, from which two at a time come back by one instruction.
 *
 *     r0 - r3    sums of 4 outputs; lr the fifth one
 *     r4 - r9    weights: all of a 3x3 window, a row of larger ones
 *     r10        x, the window of the next block
 *     r11        3x3: o, the place of the results; else w, the next weights
 *     r12, lr    words of pixels, two at a time, since loads in a row overlap on a Cortex-M4
 *     r8         o for 5x5 (4 words of weights leave it free)
 *     s0, s1     bias; x before the last block of 4
 *     s2, s3     zp, m
 *     s4, s5     pitch, 3 * pitch
 *     s6         w of the channel (larger windows)
 *     s8, s9     from the end of a row to the next one: of x, of o
 *     s10        x after the last row
 *     s11, s12   from x of a row to that of s1, and to that of s10
 *     s14        o for 7x7; x during the results of 5 outputs of 3x3
 *     s15        channels left
 *     sp         x, w, bias, m, o of the next channel; code: the next row, what a row starts with
 * (blocks of 4, if there are any), what follows its blocks (the next row, if nothing does)
 *
 * The taps are written by macros of the assembler, which count: .Lrow and .Lj say which word is at
 * hand, .Lodd whether it is in lr, .Li which output. The last sum of a block holds the bias until
 * it starts itself. What is compared at the start of a block decides at its end: nothing between
 * them changes the flags. A naked function leaves no choice of registers to the compiler, and works
 * without optimization.
 */
#ifndef MCUC_ARCH_DEPTHWISE_DSP_H
#define MCUC_ARCH_DEPTHWISE_DSP_H

#define MCUC_UNREAD __attribute__((unused)) /* by C */

/* One line is one thing to say. */
/* clang-format off */

/* For windows of k x k with stride s in `slots` slots. */
#define MCUC_DEPTHWISE_MACROS(k, s, slots)                                                         \
    ".altmacro; .set .Lk, " #k "; .set .Ls, " #s "; .set .Lslots, " #slots ";"                     \
    ".set .Lblock, 32 * .Ls * .Lslots;" /* bytes from a block of 4 outputs to the next */          \
                                                                                                   \
    /* The tap or taps of word rv in a window that starts `at` pixels before it. */                \
    ".macro mcuc_tap v, at, sum, from, first, w, last;"                                            \
    ".if \\at < -1; .elseif \\at == -1; smlatb r\\sum, r\\v, r\\first, r\\from;"                   \
    ".elseif \\at == .Lk - 1; smlabt r\\sum, r\\v, r\\last, r\\from;"                              \
    ".elseif \\at < .Lk; smlad r\\sum, r\\v, r\\w, r\\from;"                                       \
    ".endif; .endm;"                                                                               \
    ".macro mcuc_taps v; .set .Li, 0;"                                                             \
    ".rept .Ln; .set .Lat, 2 * .Lj - .Li * .Ls; .set .Lsum, .Li;"                                  \
    ".if .Li == 4; .set .Lsum, 14; .endif; .set .Lfrom, .Lsum;"                                    \
    ".if .Lrow == 0; .if .Lat <= 0; .set .Lfrom, .Lbias; .endif; .endif;"                          \
    "mcuc_tap \\v, %.Lat, %.Lsum, %.Lfrom, %.Lw, %.Lw+.Lat, %.Lw+.Lk-2;"                           \
    ".set .Li, .Li + 1; .endr; .endm;"                                                             \
                                                                                                   \
    /* Words to r12 and lr. The first load of a block moves x if it can encode how far. */         \
    ".macro mcuc_load v, j, row;"                                                                  \
    ".if .Lahead; .set .Lahead, 0; ldr r12, [r10], #.Lblock; .set .Lback, .Lblock;"                \
    ".else; ldr r\\v, [r10, #(\\j * .Lslots + \\row) * 16 - .Lback]; .endif; .endm;"               \
    ".macro mcuc_loads;"                                                                           \
    ".if .Lodd == 0; mcuc_load 12, %.Lj, %.Lrow;"                                                  \
    ".if .Lpairs;"                                                                                 \
    ".if .Lj + 1 < .Lwords; mcuc_load 14, %.Lj+1, %.Lrow;"                                         \
    ".elseif .Lrow + 1 < .Lk; mcuc_load 14, 0, %.Lrow+1; .endif; .endif; .endif; .endm;"           \
                                                                                                   \
    /* The sums of n outputs; ahead: x moves to the next block. */                                 \
    ".macro mcuc_sums n, ahead; .set .Ln, \\n; .set .Lbias, \\n - 1;"                              \
    ".set .Lpairs, 1; .if \\n == 5; .set .Lbias, 14; .set .Lpairs, 0; .endif;"                     \
    ".set .Lwords, ((\\n - 1) * .Ls + .Lk + 1) / 2; .set .Lahead, \\ahead; "                       \
    ".if .Lblock > 255; .set .Lahead, 0; .endif;"                                                  \
    ".set .Lback, 0; .set .Lw, 4; .set .Lodd, 0; .set .Lrow, 0;"                                   \
    ".rept .Lk; .set .Lj, 0;"                                                                      \
    ".if .Lk == 5; ldmia r11!, {r4-r7}; .elseif .Lk == 7; ldmia r11!, {r4-r9}; .endif;"            \
    ".rept .Lwords; mcuc_loads;"                                                                   \
    ".if .Lodd; mcuc_taps 14; .else; mcuc_taps 12; .endif;"                                        \
    ".set .Lj, .Lj + 1; .set .Lodd, .Lpairs - .Lodd; .endr;"                                       \
    ".if .Lk == 3; .set .Lw, .Lw + 2; .endif; .set .Lrow, .Lrow + 1; .endr;"                       \
    ".if .Lback < .Lblock * \\ahead; add r10, r10, #.Lblock; .endif; .endm;"                       \
                                                                                                   \
    /* The results of n sums to o; a, b: free registers. The first one becomes pitch. */           \
    ".macro mcuc_results n, a, b, o; vmov \\a, \\b, s2, s3;"                                       \
    ".set .Li, 0; .irp sum, r0, r1, r2, r3, lr; .if .Li < \\n;"                                    \
    "smmlar \\sum, \\sum, \\b, \\a; .endif; .set .Li, .Li + 1; .endr;"                             \
    ".set .Li, 0; .irp sum, r0, r1, r2, r3, lr; .if .Li < \\n;"                                    \
    "ssat \\sum, #8, \\sum; .endif; .set .Li, .Li + 1; .endr;"                                     \
    ".if \\n > 1; vmov \\a, \\b, s4, s5; .endif; strb r0, [\\o];"                                  \
    ".if \\n > 1; strb r1, [\\o, \\a]; .endif; .if \\n > 2; strb r2, [\\o, \\a, lsl #1]; .endif;"  \
    ".if \\n > 3; strb r3, [\\o, \\b]; .endif; .if \\n > 4; strb lr, [\\o, \\a, lsl #2]; .endif;"  \
    ".endm;"                                                                                       \
                                                                                                   \
    /* n outputs from start to end, the bias being there. */                                       \
    ".macro mcuc_outputs n, ahead; .if .Lk > 3; vmov r11, s6; .endif; mcuc_sums \\n, \\ahead;"     \
    ".if .Lk == 7; vmov r11, s14; mcuc_results \\n, r4, r5, r11;"                                  \
    ".elseif .Lk == 5; mcuc_results \\n, r4, r5, r8;"                                              \
    ".elseif \\n < 5; mcuc_results \\n, r12, lr, r11;"                                             \
    ".else; vmov s14, r10; mcuc_results 5, r12, r10, r11; vmov r10, s14; .endif; .endm;"

#define MCUC_DEPTHWISE_END_OF_MACROS                                                               \
    ".irp name, tap, taps, load, loads, sums, results, outputs; .purgem mcuc_\\name; .endr;"       \
    ".noaltmacro;"

/* All rows and channels of a run; see mcuc_depthwise_core. */
#define MCUC_DEPTHWISE_RUN(name, k, s, slots)                                                      \
    static __attribute__((naked, noipa, unused)) void name(                                        \
        MCUC_UNREAD const uint32_t *x, MCUC_UNREAD const uint32_t *w,                              \
        MCUC_UNREAD int8_t *o, MCUC_UNREAD const mcuc_depthwise_run *run) {                        \
        __asm__(MCUC_DEPTHWISE_MACROS(k, s, slots)                                                 \
            "push {r4-r11, lr}; ldmia r3, {r4-r12};" /* the fields of run */                       \
            "add lr, r6, r6, lsl #1; vmov s4, s5, r6, lr;"                                         \
            "mov lr, #.Lblock; mul lr, r8, lr; rsb r6, lr, #16 * .Ls; vmov s8, s9, r6, r7;"        \
            "sub lr, lr, #.Lblock; mov r6, #16 * .Ls; mul r6, r4, r6; vmov s11, s12, lr, r6;"      \
            "vmov s2, r10; vmov s15, r5; mov r4, r2; mov r2, r11; mov r3, r12;"                    \
            "adr r5, 3f; orr r5, r5, #1; cmp r9, #0; it eq; moveq r9, r5; mov r7, r9;"             \
            "adr r6, 4f; orr r6, r6, #1; cmp r8, #0; it eq; moveq r6, r7; push {r0-r7};"           \
        "1:" /* a channel */                                                                       \
            "ldmia sp, {r0-r3, r11}; mov r10, r0; add r0, r0, #4;"                                 \
            "ldr r12, [r2], #4; ldr lr, [r3], #4; vmov s0, r12; vmov s3, lr;"                      \
            ".if .Lk == 3; ldmia r1!, {r4-r9};"                                                    \
            ".else; vmov s6, r1; add r1, r1, #4 * .Lk * (.Lk - 1); .endif;"                        \
            "add r12, r11, #1; stmia sp, {r0-r3, r12};"                                            \
            ".if .Lk == 5; mov r8, r11; .elseif .Lk == 7; vmov s14, r11; .endif;"                  \
            "vmov r0, s12; add r0, r0, r10; vmov s10, r0;"                                         \
        "2: ldr pc, [sp, #24];" /* a row */                                                        \
        "3: vmov r0, r1, s8, s9; add r10, r10, r0;" /* the next row */                             \
            ".if .Lk == 3; add r11, r11, r1; .elseif .Lk == 5; add r8, r8, r1;"                    \
            ".else; vmov r11, s14; add r11, r11, r1; vmov s14, r11; .endif;"                       \
            "vmov r0, s10; cmp r10, r0; bne 2b;"                                                   \
            "vmov r0, s15; subs r0, r0, #1; vmov s15, r0; bne 1b;"                                 \
            "add sp, sp, #32; pop {r4-r11, pc};"                                                   \
        "4: vmov r0, s11; add r0, r0, r10; vmov s1, r0;"                                           \
        "5: vmov r3, r12, s0, s1; cmp r10, r12; mcuc_outputs 4, 1;" /* a block of 4 */             \
            ".if .Lk == 3; add r11, r11, r12, lsl #2; .elseif .Lk == 5; add r8, r8, r4, lsl #2;"   \
            ".else; add r11, r11, r4, lsl #2; vmov s14, r11; .endif;"                              \
            "bne 5b; ldr pc, [sp, #28];"                                                           \
            MCUC_DEPTHWISE_END_OF_MACROS);                                                         \
    }

/* The last n outputs of a row: a continuation of the code above, not a function to call. */
#define MCUC_DEPTHWISE_TAIL(name, n, bias, k, s, slots)                                            \
    static __attribute__((naked, noipa, unused)) void name(void) {                                 \
        __asm__(MCUC_DEPTHWISE_MACROS(k, s, slots)                                                 \
            "vmov " bias ", s0; mcuc_outputs " #n ", 0; ldr pc, [sp, #20];"                        \
            MCUC_DEPTHWISE_END_OF_MACROS);                                                         \
    }

#define MCUC_DEPTHWISE_CORE(name, k, s, slots)                                                     \
    MCUC_DEPTHWISE_RUN(name##_run, k, s, slots)                                                    \
    MCUC_DEPTHWISE_TAIL(name##_tail1, 1, "r0", k, s, slots)                                        \
    MCUC_DEPTHWISE_TAIL(name##_tail2, 2, "r1", k, s, slots)                                        \
    MCUC_DEPTHWISE_TAIL(name##_tail3, 3, "r2", k, s, slots)                                        \
    MCUC_DEPTHWISE_TAIL(name##_tail5, 5, "lr", k, s, slots)                                        \
    MCUC_KERNEL mcuc_depthwise_tail *name##_tail(int32_t rest) {                                   \
        return rest == 1   ? name##_tail1                                                          \
               : rest == 2 ? name##_tail2                                                          \
               : rest == 3 ? name##_tail3                                                          \
               : rest == 5 ? name##_tail5                                                          \
                           : NULL;                                                                 \
    }

/* Pixels ra and rb, four channels each, as words of one channel each to r1, which then is at the
 * next pair. */
#define MCUC_DEPTHWISE_PAIR(a, b)                                                                  \
    "pkhtb r6, " b ", " a ", asr #16; pkhbt r4, " a ", " b ", lsl #16;"                            \
    "sxtb16 r5, r4, ror #8; sxtb16 r4, r4; sxtb16 r7, r6, ror #8; sxtb16 r6, r6;"                  \
    "stmia r1, {r4-r7}; add r1, r1, lr;"

/* Expands `rows` rows from x on to neighbouring slots from d on; see mcuc_depthwise_expand.
 *
 *     r0, r1     x; d                                  r2, r3     bytes of a pixel, of three
 *     r4 - r7    words of a pair                       r8 - r11   pixels
 *     r12, lr    fours left; bytes between pairs       s0, s1     padding, rest
 *     s2, s3     x, d of the row                       s4, s5     is_odd, fours
 *     s6, s7     bytes between rows; d after the last row
 */
static __attribute__((naked, noipa, unused)) void mcuc_depthwise_expand4(
    MCUC_UNREAD const int8_t *x, MCUC_UNREAD uint32_t *d,
    MCUC_UNREAD int32_t rows, MCUC_UNREAD const mcuc_depthwise_row *row) {
    __asm__(
        "push {r4-r11, lr}; ldmia r3, {r4-r10};" /* the fields of row */
        "vmov s0, s1, r7, r10; vmov s4, s5, r8, r9;"
        "add r11, r1, r2, lsl #4; vmov s6, s7, r6, r11;"
        "mov r2, r4; add r3, r4, r4, lsl #1; mov lr, r5;"
    "1: vmov s2, s3, r0, r1; vmov r4, r12, s4, s5; cbz r4, 2f;"
        "vmov r8, s0; ldr r9, [r0]; add r0, r0, r2;" /* padding and a pixel */
        MCUC_DEPTHWISE_PAIR("r8", "r9")
    "2: subs r12, r12, #1; blt 4f;"
    "3: ldr r8, [r0]; ldr r9, [r0, r2]; ldr r10, [r0, r2, lsl #1]; ldr r11, [r0, r3];"
        "add r0, r0, r2, lsl #2; subs r12, r12, #1;"
        MCUC_DEPTHWISE_PAIR("r8", "r9")
        MCUC_DEPTHWISE_PAIR("r10", "r11")
        "bge 3b;"
    "4: vmov r4, s1; lsrs r4, r4, #1; beq 5f;" /* carry: an odd pixel */
        "ldr r8, [r0]; ldr r9, [r0, r2]; add r0, r0, r2, lsl #1;"
        MCUC_DEPTHWISE_PAIR("r8", "r9")
    "5: bcc 6f; vmov r9, s0; ldr r8, [r0];"
        MCUC_DEPTHWISE_PAIR("r8", "r9")
    "6: vmov r0, r1, s2, s3; vmov r4, r5, s6, s7;"
        "add r0, r0, r4; add r1, r1, #16; cmp r1, r5; bne 1b;"
        "pop {r4-r11, pc};");
}

/* As mcuc_depthwise_move for `kept` rows. */
#define MCUC_DEPTHWISE_MOVE(name, kept)                                                            \
    static __attribute__((naked, noipa, unused)) void name(                                        \
        MCUC_UNREAD uint32_t *x, MCUC_UNREAD const uint32_t *from,                                 \
        MCUC_UNREAD int32_t pairs, MCUC_UNREAD int32_t step) {                                     \
        __asm__("push {r4-r11}; sub r3, r3, #16 * " #kept ";"                                      \
        "1: subs r2, r2, #1;"                                                                      \
            ".rept " #kept " / 2; ldmia r1!, {r4-r11}; stmia r0!, {r4-r11}; .endr;"                \
            ".if " #kept " & 1; ldmia r1!, {r4-r7}; stmia r0!, {r4-r7}; .endif;"                   \
            "add r0, r0, r3; add r1, r1, r3; bne 1b;"                                              \
            "pop {r4-r11}; bx lr;");                                                               \
    }

MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move1, 1)
MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move2, 2)
MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move3, 3)
MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move4, 4)
MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move5, 5)
MCUC_DEPTHWISE_MOVE(mcuc_depthwise_move6, 6)

/* clang-format on */

/* Moves `kept` rows; 0 if there is no code for so many. */
MCUC_KERNEL int32_t mcuc_depthwise_moves(uint32_t *x, const uint32_t *from, int32_t pairs,
                                         int32_t pitch, int32_t kept) {
    switch (kept) {
    case 1:
        mcuc_depthwise_move1(x, from, pairs, pitch);
        return 1;
    case 2:
        mcuc_depthwise_move2(x, from, pairs, pitch);
        return 1;
    case 3:
        mcuc_depthwise_move3(x, from, pairs, pitch);
        return 1;
    case 4:
        mcuc_depthwise_move4(x, from, pairs, pitch);
        return 1;
    case 5:
        mcuc_depthwise_move5(x, from, pairs, pitch);
        return 1;
    case 6:
        mcuc_depthwise_move6(x, from, pairs, pitch);
        return 1;
    default:
        return 0;
    }
}

#endif
