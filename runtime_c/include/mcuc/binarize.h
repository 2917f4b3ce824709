/* mcuc_binarize_b1: the signs of numbers as bits.
 *
 * computes       bit c of pixel i of row y: x[y][i][c] >= zp
 * layout         x: int8; y: pixels are words of 32 channels, channel c at bit c % 32 of word
 *                c / 32; the bits beyond the last channel are 0
 * aliasing       row by row from top to bottom, and in a row from left to right: a word is written
 *                after its 32 numbers have been read
 * exactness      exact
 */
#ifndef MCUC_BINARIZE_H
#define MCUC_BINARIZE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, channels;
    int32_t zp;
} mcuc_binarize_b1_params;

/* The bits of n numbers, at most 32. */
MCUC_KERNEL uint32_t mcuc_binarize_word(const int8_t *x, int32_t n, int32_t zp) {
    uint32_t word = 0;
#pragma GCC unroll 8
    for (int32_t i = 0; i < n; i++) {
        word = (word >> 1) | (~(uint32_t)(x[i] - zp) & 0x80000000u);
    }
    return word >> (32 - n);
}

MCUC_KERNEL void mcuc_binarize_b1(const mcuc_binarize_b1_params *p, const mcuc_src *in,
                                  const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < p->pixels; i++) {
            for (int32_t c = 0; c < p->channels; c += 32) {
                int32_t n = p->channels - c < 32 ? p->channels - c : 32;
                mcuc_store32(o, mcuc_binarize_word(x, n, p->zp));
                x += n;
                o += 4;
            }
        }
    }
}

#endif
