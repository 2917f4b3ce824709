/* mcuc_resize_s8: an image of another size, whose pixels are weighted means of neighbours.
 *
 * computes       out[y][x] = sat8((2^21 + sum row_weights[y][i] * col_weights[x][j] *
 *                in[row_starts[y] + i][col_starts[x] + j]) >> 22) for i < taps_h, j < taps_w
 * layout         NHWC; tables per output row and column
 * preconditions  the weights of a row or column sum to 2^11; sums stay within int32
 * aliasing       none
 * scratch        4 * channels bytes; mcuc_resize_bilinear_s8: none
 * exactness      equals mcucompile.ops.resize
 * speed          instructions per byte (Cortex-M4): 15.6 for 2x2 taps; 7.5 per tap otherwise
 *
 * mcuc_resize_bilinear_s8 is for 2x2 taps.
 */
#ifndef MCUC_RESIZE_H
#define MCUC_RESIZE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t out_w, channels;
    int32_t taps_h, taps_w;
    const int16_t *row_starts;
    const int16_t *row_weights;
    const int16_t *col_starts;
    const int16_t *col_weights;
} mcuc_resize_s8_params;

typedef mcuc_resize_s8_params mcuc_resize_bilinear_s8_params;

#define MCUC_RESIZE_SHIFT 22
#define MCUC_RESIZE_HALF (1 << (MCUC_RESIZE_SHIFT - 1))

MCUC_KERNEL void mcuc_resize_bilinear_s8(const mcuc_resize_bilinear_s8_params *p,
                                         const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                         int32_t y1, void *scratch) {
    (void)scratch;
    const int32_t channels = p->channels;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *above = mcuc_src_row(in, p->row_starts[y]);
        const int8_t *below = mcuc_src_row(in, p->row_starts[y] + 1);
        int8_t *o = mcuc_dst_row(out, y);
        const int32_t upper = p->row_weights[2 * y], lower = p->row_weights[2 * y + 1];
        for (int32_t x = 0; x < p->out_w; x++) {
            const int8_t *a = above + p->col_starts[x] * channels;
            const int8_t *b = below + p->col_starts[x] * channels;
            const int32_t left = p->col_weights[2 * x], right = p->col_weights[2 * x + 1];
            const int32_t w0 = upper * left, w1 = upper * right;
            const int32_t w2 = lower * left, w3 = lower * right;
            for (int32_t c = 0; c < channels; c++, a++, b++) {
                int32_t sum = MCUC_RESIZE_HALF + w0 * a[0] + w1 * a[channels];
                sum += w2 * b[0] + w3 * b[channels];
                *o++ = (int8_t)mcuc_shift_sat8(sum, MCUC_RESIZE_SHIFT);
            }
        }
    }
}

/* Adds `weight` times the pixel x to the sums. */
MCUC_KERNEL void mcuc_resize_add(int32_t *sums, const int8_t *x, int32_t channels, int32_t weight) {
    for (int32_t c = 0; c < channels; c++) {
        sums[c] += weight * x[c];
    }
}

MCUC_KERNEL void mcuc_resize_s8(const mcuc_resize_s8_params *p, const mcuc_src *in,
                                const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    int32_t *sums = (int32_t *)scratch;
    for (int32_t y = y0; y < y1; y++) {
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t x = 0; x < p->out_w; x++) {
            for (int32_t c = 0; c < p->channels; c++) {
                sums[c] = MCUC_RESIZE_HALF;
            }
            for (int32_t i = 0; i < p->taps_h; i++) {
                const int8_t *row = mcuc_src_row(in, p->row_starts[y] + i);
                const int32_t upper = p->row_weights[y * p->taps_h + i];
                for (int32_t j = 0; j < p->taps_w; j++) {
                    mcuc_resize_add(sums, row + (p->col_starts[x] + j) * p->channels, p->channels,
                                    upper * p->col_weights[x * p->taps_w + j]);
                }
            }
            for (int32_t c = 0; c < p->channels; c++) {
                *o++ = (int8_t)mcuc_shift_sat8(sums[c], MCUC_RESIZE_SHIFT);
            }
        }
    }
}

#endif
