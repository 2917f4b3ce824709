/* mcuc_global_average_s8, mcuc_global_max_s8: the mean or the largest number of an image.
 *
 * computes       per channel: requant(sum - zero), ties to even, or clamp(largest)
 * layout         `height` rows of `width` pixels of `channels` bytes; the result is one pixel
 * preconditions  255 * height * width << shift is within int32; zero = height * width * zp_in
 * aliasing       average: nothing is written before all has been read; max: the largest numbers so
 *                far stand in the output, four channels (or one) of a row are read before they are
 *                written. The output may take the place of the input.
 * scratch        average: an int32 per channel; max: none
 * exactness      max moves bytes; average equals mcucompile.quant.mean.MeanRule
 * speed          average 0.73, max 0.86 instructions per number in words (Cortex-M4)
 *
 * Rows are taken in one after the other by `_row`, so that they can come from a ring.
 */
#ifndef MCUC_GLOBAL_POOL_H
#define MCUC_GLOBAL_POOL_H

#include "mcuc/pool.h"

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

/* Takes `count` pixels of n (1 or 2) words of channels into s; see mcuc_pool_take. */
MCUC_KERNEL void mcuc_global_take(uint32_t *s, const int8_t *x, int32_t channels, int32_t count,
                                  int32_t n, int32_t average) {
    for (int32_t block = count >> 3; block > 0; block--) {
#pragma GCC unroll 8
        for (int32_t i = 0; i < 8; i++) {
            mcuc_pool_take(s, x + i * channels, n, average);
        }
        x += 8 * channels;
    }
    for (int32_t i = count & 7; i > 0; i--, x += channels) {
        mcuc_pool_take(s, x, n, average);
    }
}

/* Adds `count` <= 256 pixels of n words of channels: a lane of 16 bits holds the sum of that many.
 */
MCUC_KERNEL void mcuc_global_add(int32_t *sum, const int8_t *x, int32_t channels, int32_t count,
                                 int32_t n) {
    uint32_t s[4] = {0, 0, 0, 0};
    mcuc_global_take(s, x, channels, count, n, 1);
#pragma GCC unroll 2
    for (int32_t i = 0; i < n; i++) {
        sum[4 * i] += mcuc_lo16(s[2 * i]);
        sum[4 * i + 1] += mcuc_lo16(s[2 * i + 1]);
        sum[4 * i + 2] += mcuc_hi16(s[2 * i]);
        sum[4 * i + 3] += mcuc_hi16(s[2 * i + 1]);
    }
}

/* Adds a row of the image to the sums. */
MCUC_KERNEL void mcuc_global_average_row(const mcuc_global_average_s8_params *p, const int8_t *x,
                                         int32_t *sum) {
    const int32_t channels = p->channels;
    if (channels % 4 == 0 && mcuc_is_aligned(x)) {
        for (int32_t left = p->width; left > 0; left -= 256) {
            const int32_t count = left < 256 ? left : 256;
            int32_t c = 0;
            for (; c < channels - 7; c += 8) {
                mcuc_global_add(sum + c, x + c, channels, count, 2);
            }
            if (channels & 4) {
                mcuc_global_add(sum + c, x + c, channels, count, 1);
            }
            x += count * channels;
        }
    } else {
        for (int32_t i = 0; i < p->width; i++) {
            for (int32_t c = 0; c < channels; c++) {
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
            mcuc_global_take(&y, x + c, p->channels, p->width, 1, 0);
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
