/* What kernels of binary layers share: bit-sliced sums.
 *
 * Activations and weights are -1 and +1, stored as bits, 1 for +1. A sum of products is computed
 * for 32 output channels at once: a word holds one weight of each of them, and bit b of all 32
 * counters is a word too, plane b. The activations of a window choose which weights are counted.
 * With the positions divided into those whose activation is +1 and those where it is -1, of which
 * there are `ones` and `zeros`, and
 *
 *     V   how many weights of a channel are +1
 *     n   how many of them stand at a +1, m how many at a -1, so that n + m = V
 *
 * the sum is 4 n + zeros - ones - 2 V, and as well 2 V - (4 m + ones - zeros). So it is enough to
 * visit the activations of one sign, and those that are fewer are chosen: never more than half of
 * all weights are read, whatever the data. X is 4 n + zeros - ones or 4 m + ones - zeros, which is
 * never negative. Sixteen words are added to the counters by carry-save adders, in the tree of
 * Harley and Seal (H. S. Warren, "Hacker's Delight", 2nd ed., section 5-1), which carries into
 * plane 4 once.
 *
 * Where the padding is 0, what a window sees there counts for nothing: its weights are in V all the
 * same, so that X has to grow by twice their number at +1. These numbers are constants, a column of
 * planes per tap, that are added to plane 1 on.
 */
#ifndef MCUC_BINARY_H
#define MCUC_BINARY_H

#include "mcuc/mcuc.h"

#define MCUC_BINARY_PLANES 18 /* of any X: three times 65535 at most */

/* Carry and sum of three bits, in 32 lanes. */
#define MCUC_FULL_ADD(carry, sum, a, b, c)                                                         \
    do {                                                                                           \
        uint32_t fa_a = (a), fa_b = (b), fa_c = (c), fa_either = fa_a ^ fa_b;                      \
        (carry) = (fa_a & fa_b) | (fa_either & fa_c);                                              \
        (sum) = fa_either ^ fa_c;                                                                  \
    } while (0)

/* Adds eight words to the counters one, two and four; `carry` is what is carried out of these. */
#define MCUC_COUNT_EIGHT(carry, l)                                                                 \
    do {                                                                                           \
        uint32_t two_a, two_b, four_a, four_b;                                                     \
        MCUC_FULL_ADD(two_a, one, one, w[(l)[0]], w[(l)[1]]);                                      \
        MCUC_FULL_ADD(two_b, one, one, w[(l)[2]], w[(l)[3]]);                                      \
        MCUC_FULL_ADD(four_a, two, two, two_a, two_b);                                             \
        MCUC_FULL_ADD(two_a, one, one, w[(l)[4]], w[(l)[5]]);                                      \
        MCUC_FULL_ADD(two_b, one, one, w[(l)[6]], w[(l)[7]]);                                      \
        MCUC_FULL_ADD(four_b, two, two, two_a, two_b);                                             \
        MCUC_FULL_ADD(carry, four, four, four_a, four_b);                                          \
    } while (0)

/* Adds a bit to the counters from plane *p on. */
MCUC_KERNEL void mcuc_binary_carry(uint32_t *p, uint32_t carry) {
    for (; carry != 0; p++) {
        uint32_t before = *p;
        *p = before ^ carry;
        carry &= before;
    }
}

/* Adds the words w[list[0]], w[list[1]], ... to the counters whose bits are planes[0..]; sixteen at
 * a time, `sixteens` times. */
MCUC_SHARED void mcuc_binary_count(uint32_t *planes, const uint32_t *w, const uint16_t *list,
                                   int32_t sixteens) {
    uint32_t one = planes[0], two = planes[1], four = planes[2], eight = planes[3];
    uint32_t eight_a, eight_b, sixteen_a, sixteen_b, carry;
    if (sixteens & 1) {
        MCUC_COUNT_EIGHT(eight_a, list);
        MCUC_COUNT_EIGHT(eight_b, list + 8);
        MCUC_FULL_ADD(carry, eight, eight, eight_a, eight_b);
        mcuc_binary_carry(planes + 4, carry);
        list += 16;
    }
    for (int32_t i = sixteens >> 1; i > 0; i--) {
        MCUC_COUNT_EIGHT(eight_a, list);
        MCUC_COUNT_EIGHT(eight_b, list + 8);
        MCUC_FULL_ADD(sixteen_a, eight, eight, eight_a, eight_b);
        MCUC_COUNT_EIGHT(eight_a, list + 16);
        MCUC_COUNT_EIGHT(eight_b, list + 24);
        MCUC_FULL_ADD(sixteen_b, eight, eight, eight_a, eight_b);
        MCUC_FULL_ADD(carry, planes[4], planes[4], sixteen_a, sixteen_b);
        mcuc_binary_carry(planes + 5, carry);
        list += 32;
    }
    planes[0] = one;
    planes[1] = two;
    planes[2] = four;
    planes[3] = eight;
}

/* Sets counters of n planes to `value`, the same in all lanes. */
MCUC_KERNEL void mcuc_binary_set(uint32_t *planes, int32_t n, int32_t value) {
#pragma GCC unroll 16
    for (int32_t b = 0; b < n; b++) {
        planes[b] = 0u - (((uint32_t)value >> b) & 1u);
    }
}

/* Adds a number of `count` planes to the counters. */
MCUC_KERNEL void mcuc_binary_add(uint32_t *planes, const uint32_t *number, int32_t count) {
    uint32_t carry = 0;
    for (int32_t b = 0; b < count; b++) {
        MCUC_FULL_ADD(carry, planes[b], planes[b], number[b], carry);
    }
    mcuc_binary_carry(planes + count, carry);
}

/* In which lanes is the counter at least the number `least`, of as many planes? */
MCUC_KERNEL uint32_t mcuc_binary_at_least(const uint32_t *planes, const uint32_t *least,
                                          int32_t n) {
    uint32_t yes = 0xFFFFFFFFu;
#pragma GCC unroll 16
    for (int32_t b = 0; b < n; b++) {
        uint32_t p = planes[b], differs = p ^ least[b];
        yes = (p & differs) | (yes & ~differs);
    }
    return yes;
}

/* Numbers of eight planes become numbers of eight bits: byte j of word q that of lane 8 j + q. Of
 * each byte column it is the transpose of an 8x8 matrix of bits ("Hacker's Delight", section 7-3).
 */
MCUC_KERNEL void mcuc_binary_to_bytes(uint32_t *planes) {
    static const uint32_t masks[3] = {0x55555555u, 0x33333333u, 0x0F0F0F0Fu};
#pragma GCC unroll 3
    for (int32_t s = 0; s < 3; s++) {
        const int32_t apart = 1 << s;
#pragma GCC unroll 8
        for (int32_t i = 0; i < 8; i++) {
            if ((i & apart) == 0) {
                uint32_t *a = planes + i, *b = a + apart;
                uint32_t swap = ((*a >> apart) ^ *b) & masks[s];
                *b ^= swap;
                *a ^= swap << apart;
            }
        }
    }
}

#endif
