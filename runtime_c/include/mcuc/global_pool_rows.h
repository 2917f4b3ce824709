/* mcuc_global_average_rows_s8, mcuc_global_max_rows_s8: the mean or the largest number of an image
 * that comes row by row.
 *
 * computes       what mcuc_global_average_s8 and mcuc_global_max_s8 compute, folding rows
 *                [y0, y1) of the image into scratch; the call with the last row writes the result
 * layout         see global_pool.h
 * preconditions  see global_pool.h; rows in their order, scratch untouched between the calls
 * aliasing       the output may take the place of the last rows
 * scratch        average: an int32 per channel; max: a byte per channel
 * exactness      see global_pool.h
 * speed          average: 6 instructions per channel and row more than global_pool.h, whose sums of
 *                short rows do not pass through memory (Cortex-M4)
 */
#ifndef MCUC_GLOBAL_POOL_ROWS_H
#define MCUC_GLOBAL_POOL_ROWS_H

#include "mcuc/global_pool.h"

typedef mcuc_global_average_s8_params mcuc_global_average_rows_s8_params;
typedef mcuc_global_max_s8_params mcuc_global_max_rows_s8_params;

MCUC_KERNEL void mcuc_global_average_rows_s8(const mcuc_global_average_rows_s8_params *p,
                                             const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                             int32_t y1, void *scratch) {
    int32_t *sum = (int32_t *)scratch;
    if (y0 == 0) {
        for (int32_t c = 0; c < p->channels; c++) {
            sum[c] = -p->zero;
        }
    }
    for (int32_t y = y0; y < y1; y++) {
        mcuc_global_average_row(p, mcuc_src_row(in, y), sum);
    }
    if (y1 == p->height) {
        for (int32_t c = 0; c < p->channels; c++) {
            const int32_t scaled = sum[c] * (int32_t)(1u << p->shift);
            out->base[c] = mcuc_clamp8(mcuc_mul_round_even(scaled, p->m, p->zp), p->lo, p->hi);
        }
    }
}

MCUC_KERNEL void mcuc_global_max_rows_s8(const mcuc_global_max_rows_s8_params *p,
                                         const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                         int32_t y1, void *scratch) {
    int8_t *largest = (int8_t *)scratch;
    for (int32_t y = y0; y < y1; y++) {
        mcuc_global_max_row(p, mcuc_src_row(in, y), y == 0, largest);
    }
    if (y1 == p->height) {
        for (int32_t c = 0; c < p->channels; c++) {
            out->base[c] = mcuc_clamp8(largest[c], p->lo, p->hi);
        }
    }
}

#endif
