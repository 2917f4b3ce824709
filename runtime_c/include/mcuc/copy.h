/* Copies and fills in words where both ends are aligned, and never a word that is not: a library's
 * memcpy may load those. */
#ifndef MCUC_COPY_H
#define MCUC_COPY_H

#include "mcuc/mcuc.h"

/* Four words of any type, which LDM and STM move. */
typedef struct {
    uint32_t word[4];
} __attribute__((may_alias)) mcuc_words4;

/* Copies n bytes that do not overlap; returns where the next ones go. */
MCUC_KERNEL int8_t *mcuc_copy(int8_t *o, const int8_t *x, int32_t n) {
    if (mcuc_is_aligned(o) && mcuc_is_aligned(x)) {
        for (; n >= 16; n -= 16, x += 16, o += 16) {
            *(mcuc_words4 *)(void *)o = *(const mcuc_words4 *)(const void *)x;
            MCUC_OPAQUE(x); /* or the C compiler counts in a third register */
            MCUC_OPAQUE(o);
        }
        for (; n >= 4; n -= 4, x += 4, o += 4) {
            mcuc_store32(o, mcuc_load32(x));
        }
    }
    for (; n > 0; n--) {
        *o++ = *x++;
        __asm__ volatile("" : : : "memory"); /* else the C compiler finds out that this is memcpy */
    }
    return o;
}

/* n times the byte `value`; returns where the next byte goes. */
MCUC_KERNEL int8_t *mcuc_fill(int8_t *o, int32_t value, int32_t n) {
    memset(o, value, (size_t)n);
    return o + n;
}

#endif
