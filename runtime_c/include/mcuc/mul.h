/* mcuc_mul_s8: product of two int8 tensors, either of which may repeat (broadcast).
 *
 * computes       y = requant((x1 - zp1) * (x2 - zp2)), element by element
 * layout         rows of `pixels` times `width` bytes; operand i moves on by pixel<i> bytes per
 *                pixel and step<i> (0 or 1) bytes per element, and repeats rows if it has one only
 * preconditions  255 * 255 << shift is within int32
 * aliasing       Elements are taken in their order, at most 8 at a time, which are read before they
 *                are written. The output may take the place of an input of its own size.
 * scratch        none
 * exactness      equals mcucompile.quant.numbers.Requant
 * speed          6.3 instructions per element in words (Cortex-M4)
 */
#ifndef MCUC_MUL_H
#define MCUC_MUL_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel1, step1;
    int32_t pixel2, step2;
    int32_t zp1, zp2;
    int32_t m, shift;
    int32_t zp;
    int32_t lo, hi;
} mcuc_mul_s8_params;

MCUC_KERNEL int32_t mcuc_mul_scale(const mcuc_mul_s8_params *p, int32_t product) {
    return mcuc_sat8(mcuc_mul_round(product * (int32_t)(1u << p->shift), p->m, p->zp));
}

/* Four products. */
MCUC_KERNEL uint32_t mcuc_mul_word(const mcuc_mul_s8_params *p, uint32_t a, uint32_t b) {
    uint32_t minus1 = mcuc_pack16(-p->zp1, -p->zp1), minus2 = mcuc_pack16(-p->zp2, -p->zp2);
    uint32_t a02 = mcuc_even8_add(minus1, a), a13 = mcuc_odd8_add(minus1, a);
    uint32_t b02 = mcuc_even8_add(minus2, b), b13 = mcuc_odd8_add(minus2, b);
    int32_t y0 = mcuc_mul_scale(p, mcuc_lo16(a02) * mcuc_lo16(b02));
    int32_t y1 = mcuc_mul_scale(p, mcuc_lo16(a13) * mcuc_lo16(b13));
    int32_t y2 = mcuc_mul_scale(p, mcuc_hi16(a02) * mcuc_hi16(b02));
    int32_t y3 = mcuc_mul_scale(p, mcuc_hi16(a13) * mcuc_hi16(b13));
    return mcuc_clamp8x4(mcuc_join8(y0, y1, y2, y3), p->lo, p->hi);
}

/* One pixel: words as long as all three are aligned, then bytes. */
MCUC_KERNEL void mcuc_mul_pixel(const mcuc_mul_s8_params *p, const int8_t *a, const int8_t *b,
                                int8_t *o) {
    const int8_t *end = o + p->width;
    if (p->step1 == 1 && p->step2 == 1 && mcuc_is_aligned(a) && mcuc_is_aligned(b) &&
        mcuc_is_aligned(o)) {
        for (; end - o >= 4; a += 4, b += 4, o += 4) {
            mcuc_store32(o, mcuc_mul_word(p, mcuc_load32(a), mcuc_load32(b)));
        }
    }
    for (; o < end; a += p->step1, b += p->step2, o++) {
        *o = mcuc_requant((*a - p->zp1) * (*b - p->zp2), p->m, p->shift, p->zp, p->lo, p->hi);
    }
}

MCUC_KERNEL void mcuc_mul_s8(const mcuc_mul_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                             int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y);
        const int8_t *b = mcuc_src_row(&in[1], y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < p->pixels; i++) {
            mcuc_mul_pixel(p, a, b, o);
            a += p->pixel1, b += p->pixel2, o += p->width;
        }
    }
}

#endif
