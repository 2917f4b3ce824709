/* mcuc_add_s8: weighted sum of two int8 tensors, either of which may repeat (broadcast).
 *
 * computes       y = clamp(((x1*m1 >> 16) + (x2*m2 >> 16) + offset) >> shift, lo, hi), element by
 *                element
 * layout         rows of `pixels` times `width` bytes; operand i moves on by pixel<i> bytes per
 *                pixel and step<i> (0 or 1) bytes per element, and repeats rows if it has one only
 * preconditions  the compiler chose m1, m2, offset so that the sum stays within int32
 * aliasing       Elements are taken in their order, at most 8 at a time, which are read before they
 *                are written. The output may take the place of an input of its own size.
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.WeightedSum
 * speed          6.0 instructions per element in words (Cortex-M4)
 */
#ifndef MCUC_ADD_H
#define MCUC_ADD_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t m1, m2;
    int32_t offset;
    int32_t shift;
    int32_t lo, hi;
} mcuc_add_s8_params;

/* One sum. The products have up to 39 bits, of which the low 16 are dropped (SMLAWB). */
MCUC_KERNEL int32_t mcuc_add_sum(const mcuc_add_s8_params *p, int32_t a, int32_t b) {
    return mcuc_smlawb(p->m2, (uint32_t)b, mcuc_smlawb(p->m1, (uint32_t)a, p->offset));
}

/* Four sums. */
MCUC_KERNEL uint32_t mcuc_add_word(const mcuc_add_s8_params *p, uint32_t a, uint32_t b) {
    uint32_t a02 = mcuc_even8(a), a13 = mcuc_odd8(a);
    uint32_t b02 = mcuc_even8(b), b13 = mcuc_odd8(b);
    int32_t s0 = mcuc_smlawb(p->m2, b02, mcuc_smlawb(p->m1, a02, p->offset));
    int32_t s1 = mcuc_smlawb(p->m2, b13, mcuc_smlawb(p->m1, a13, p->offset));
    int32_t s2 = mcuc_smlawt(p->m2, b02, mcuc_smlawt(p->m1, a02, p->offset));
    int32_t s3 = mcuc_smlawt(p->m2, b13, mcuc_smlawt(p->m1, a13, p->offset));
    uint32_t y = mcuc_join8(mcuc_shift_sat8(s0, p->shift), mcuc_shift_sat8(s1, p->shift),
                            mcuc_shift_sat8(s2, p->shift), mcuc_shift_sat8(s3, p->shift));
    return mcuc_clamp8x4(y, p->lo, p->hi);
}

/* One pixel: words as long as all three are aligned, then bytes. */
MCUC_KERNEL void mcuc_add_pixel(const mcuc_add_s8_params *p, const int8_t *a, const int8_t *b,
                                int8_t *o) {
    const int8_t *end = o + p->width;
    if (p->step1 == 1 && p->step2 == 1 && mcuc_is_aligned(a) && mcuc_is_aligned(b) &&
        mcuc_is_aligned(o)) {
        for (const int8_t *stop = end - 7; o < stop; a += 8, b += 8, o += 8) {
            uint32_t y = mcuc_add_word(p, mcuc_load32(a), mcuc_load32(b));
            mcuc_store32(o, y);
            y = mcuc_add_word(p, mcuc_load32(a + 4), mcuc_load32(b + 4));
            mcuc_store32(o + 4, y);
        }
        if (end - o >= 4) {
            mcuc_store32(o, mcuc_add_word(p, mcuc_load32(a), mcuc_load32(b)));
            a += 4, b += 4, o += 4;
        }
    }
    for (; o < end; a += p->step1, b += p->step2, o++) {
        *o = mcuc_clamp8(mcuc_add_sum(p, *a, *b) >> p->shift, p->lo, p->hi);
    }
}

MCUC_KERNEL void mcuc_add_s8(const mcuc_add_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                             int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y);
        const int8_t *b = mcuc_src_row(&in[1], y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < p->pixels; i++) {
            mcuc_add_pixel(p, a, b, o);
            a += p->pixel1, b += p->pixel2, o += p->width;
        }
    }
}

#endif
