/* Copies and fills in words where both ends are aligned, and never a word that is not: a library's
 * memcpy may load those. */
#ifndef MCUC_COPY_H
#define MCUC_COPY_H

#include "mcuc/mcuc.h"

/* Copies n bytes that do not overlap; returns where the next ones go. */
MCUC_KERNEL int8_t *mcuc_copy(int8_t *o, const int8_t *x, int32_t n) {
    if (mcuc_is_aligned(o) && mcuc_is_aligned(x)) {
        for (; n >= 16; n -= 16, x += 16, o += 16) {
            mcuc_store32(o, mcuc_load32(x));
            mcuc_store32(o + 4, mcuc_load32(x + 4));
            mcuc_store32(o + 8, mcuc_load32(x + 8));
            mcuc_store32(o + 12, mcuc_load32(x + 12));
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
