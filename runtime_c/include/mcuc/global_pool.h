/* mcuc_global_average_s8, mcuc_global_max_s8: the mean or the largest number of an image.
 *
 * computes       per channel: requant(sum - zero), ties to even, or clamp(largest)
 * layout         `height` rows of `width` pixels of `channels` bytes; the result is one pixel
 * preconditions  255 * height * width << shift is within int32; zero = height * width * zp_in
 * aliasing       the output may take the place of the input
 * scratch        average: an int32 per channel; max: none
 * exactness      max moves bytes; average equals mcucompile.quant.mean.MeanRule
 * speed          average 1.1, max 1.5 instructions per number in words (Cortex-M4)
 *
 * Rows are taken in one after the other by `_row`, so that they can come from a ring.
 */
#ifndef MCUC_GLOBAL_POOL_H
#define MCUC_GLOBAL_POOL_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t height, width, channels;
    int32_t zero;
    int32_t m, shift;
    int32_t zp;
    int32_t lo, hi;
} mcuc_global_average_s8_params;

typedef struct {
    int32_t height, width, channels;
    int32_t lo, hi;
} mcuc_global_max_s8_params;

/* Adds `n` <= 256 pixels of four channels; a lane of 16 bits holds the sum of that many. */
MCUC_KERNEL void mcuc_global_add_word(const int8_t *x, int32_t channels, int32_t n, int32_t *sum) {
    uint32_t even = 0, odd = 0, v;
    for (; n >= 4; n -= 4, x += 4 * channels) {
        v = mcuc_load32(x);
        even = mcuc_even8_add(even, v);
        odd = mcuc_odd8_add(odd, v);
        v = mcuc_load32(x + channels);
        even = mcuc_even8_add(even, v);
        odd = mcuc_odd8_add(odd, v);
        v = mcuc_load32(x + 2 * channels);
        even = mcuc_even8_add(even, v);
        odd = mcuc_odd8_add(odd, v);
        v = mcuc_load32(x + 3 * channels);
        even = mcuc_even8_add(even, v);
        odd = mcuc_odd8_add(odd, v);
    }
    for (; n > 0; n--, x += channels) {
        v = mcuc_load32(x);
        even = mcuc_even8_add(even, v);
        odd = mcuc_odd8_add(odd, v);
    }
    sum[0] += mcuc_lo16(even);
    sum[1] += mcuc_lo16(odd);
    sum[2] += mcuc_hi16(even);
    sum[3] += mcuc_hi16(odd);
}

/* Adds a row of the image to the sums. */
MCUC_KERNEL void mcuc_global_average_row(const mcuc_global_average_s8_params *p, const int8_t *x,
                                         int32_t *sum) {
    if (p->channels % 4 == 0 && mcuc_is_aligned(x)) {
        for (int32_t i = 0; i < p->width; i += 256) {
            int32_t n = p->width - i < 256 ? p->width - i : 256;
            for (int32_t c = 0; c < p->channels; c += 4) {
                mcuc_global_add_word(x + i * p->channels + c, p->channels, n, sum + c);
            }
        }
    } else {
        for (int32_t i = 0; i < p->width; i++) {
            for (int32_t c = 0; c < p->channels; c++) {
                sum[c] += *x++;
            }
        }
    }
}

MCUC_KERNEL void mcuc_global_average_s8(const mcuc_global_average_s8_params *p, const mcuc_src *in,
                                        const mcuc_dst *out, int32_t y0, int32_t y1,
                                        void *scratch) {
    (void)y0, (void)y1;
    int32_t *sum = (int32_t *)scratch;
    for (int32_t c = 0; c < p->channels; c++) {
        sum[c] = -p->zero;
    }
    for (int32_t y = 0; y < p->height; y++) {
        mcuc_global_average_row(p, mcuc_src_row(in, y), sum);
    }
    for (int32_t c = 0; c < p->channels; c++) {
        const int32_t scaled = sum[c] * (int32_t)(1u << p->shift);
        out->base[c] = mcuc_clamp8(mcuc_mul_round_even(scaled, p->m, p->zp), p->lo, p->hi);
    }
}

/* Takes in a row of the image; `largest` already holds that of the rows before, if any. */
MCUC_KERNEL void mcuc_global_max_row(const mcuc_global_max_s8_params *p, const int8_t *x,
                                     int is_first, int8_t *largest) {
    int32_t c = 0;
    if (p->channels % 4 == 0 && mcuc_is_aligned(x) && mcuc_is_aligned(largest)) {
        for (; c < p->channels; c += 4) {
            uint32_t y = mcuc_load32(is_first ? x + c : largest + c);
            for (int32_t i = 0; i < p->width; i++) {
                y = mcuc_max8x4(y, mcuc_load32(x + i * p->channels + c));
            }
            mcuc_store32(largest + c, y);
        }
    }
    for (; c < p->channels; c++) {
        int8_t y = is_first ? x[c] : largest[c];
        for (int32_t i = 0; i < p->width; i++) {
            int8_t v = x[i * p->channels + c];
            y = v > y ? v : y;
        }
        largest[c] = y;
    }
}

MCUC_KERNEL void mcuc_global_max_s8(const mcuc_global_max_s8_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1, (void)scratch;
    for (int32_t y = 0; y < p->height; y++) {
        mcuc_global_max_row(p, mcuc_src_row(in, y), y == 0, out->base);
    }
    for (int32_t c = 0; c < p->channels; c++) {
        out->base[c] = mcuc_clamp8(out->base[c], p->lo, p->hi);
    }
}

#endif
