/* mcuc_reduce_sum_s8, mcuc_reduce_extremum_s8, mcuc_reduce_steps_s8, mcuc_arg_extremum_s8: many
 * numbers become one.
 *
 * computes       sum: requant(sum - zero), ties to even
 *                extremum: the largest or the smallest, clamped
 *                steps: how many of 255 `steps` the sum of terms[x] has reached, less 128, clamped
 *                arg: the index of the largest or the smallest, less 128
 * layout         rows of `count` times `width` bytes become rows of `width`
 * preconditions  sum: 255 * count << shift is within int32, zero = count * zp_in
 *                steps: sums are within int32, `steps` ascend
 *                arg: count <= 256
 * aliasing       the output may take the place of the input if it is one byte
 * scratch        none
 * exactness      sum equals mcucompile.quant.mean.MeanRule, steps mcucompile.quant.steps.StepRule
 * speed          instructions per number (Cortex-M4): sum 2.5 in runs of 64 and 4.7 where the
 *                width is not 1, extremum 6, steps 6, arg 8
 */
#ifndef MCUC_REDUCE_H
#define MCUC_REDUCE_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t count, width;
    int32_t zero;
    int32_t m, shift;
    int32_t zp;
    int32_t lo, hi;
} mcuc_reduce_sum_s8_params;

typedef struct {
    int32_t count, width;
    int32_t largest;
    int32_t lo, hi;
} mcuc_reduce_extremum_s8_params;

typedef struct {
    int32_t count, width;
    const int32_t *terms, *steps;
    int32_t lo, hi;
} mcuc_reduce_steps_s8_params;

typedef struct {
    int32_t count, width;
    int32_t largest, last;
} mcuc_arg_extremum_s8_params;

/* The sum of n neighbours. */
MCUC_KERNEL int32_t mcuc_reduce_run(const int8_t *x, int32_t n) {
    const uint32_t ones = mcuc_pack16(1, 1);
    int32_t sum = 0;
    for (; n > 0 && !mcuc_is_aligned(x); n--) {
        sum += *x++;
    }
    for (; n >= 4; n -= 4, x += 4) {
        uint32_t v = mcuc_load32(x);
        sum = mcuc_smlad(mcuc_even8(v), ones, sum);
        sum = mcuc_smlad(mcuc_odd8(v), ones, sum);
    }
    for (; n > 0; n--) {
        sum += *x++;
    }
    return sum;
}

MCUC_KERNEL void mcuc_reduce_sum_s8(const mcuc_reduce_sum_s8_params *p, const mcuc_src *in,
                                    const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->width; c++) {
            int32_t sum = 0;
            if (p->width == 1) {
                sum = mcuc_reduce_run(x, p->count);
            } else {
                for (int32_t i = 0; i < p->count; i++) {
                    sum += x[i * p->width + c];
                }
            }
            sum = (sum - p->zero) * (int32_t)(1u << p->shift);
            o[c] = mcuc_clamp8(mcuc_mul_round_even(sum, p->m, p->zp), p->lo, p->hi);
        }
    }
}

MCUC_KERNEL void mcuc_reduce_extremum_s8(const mcuc_reduce_extremum_s8_params *p,
                                         const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                                         int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->width; c++) {
            int32_t best = x[c];
            for (int32_t i = 1; i < p->count; i++) {
                int32_t v = x[i * p->width + c];
                best = (v > best) == (p->largest != 0) ? v : best;
            }
            o[c] = mcuc_clamp8(best, p->lo, p->hi);
        }
    }
}

/* How many of the 255 ascending `steps` are at most `sum`. */
MCUC_KERNEL int32_t mcuc_reduce_steps_reached(const int32_t *steps, int32_t sum) {
    int32_t reached = 0;
    for (int32_t stride = 128; stride > 0; stride >>= 1) {
        reached += steps[reached + stride - 1] <= sum ? stride : 0;
    }
    return reached;
}

MCUC_KERNEL void mcuc_reduce_steps_s8(const mcuc_reduce_steps_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->width; c++) {
            int32_t sum = 0;
            for (int32_t i = 0; i < p->count; i++) {
                sum += p->terms[(uint8_t)x[i * p->width + c]];
            }
            o[c] = mcuc_clamp8(mcuc_reduce_steps_reached(p->steps, sum) - 128, p->lo, p->hi);
        }
    }
}

MCUC_KERNEL void mcuc_arg_extremum_s8(const mcuc_arg_extremum_s8_params *p, const mcuc_src *in,
                                      const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    const int32_t sign = p->largest ? 1 : -1;
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t c = 0; c < p->width; c++) {
            int32_t best = sign * x[c], index = 0;
            for (int32_t i = 1; i < p->count; i++) {
                int32_t v = sign * x[i * p->width + c];
                if (v > best || (p->last && v == best)) {
                    best = v;
                    index = i;
                }
            }
            o[c] = (int8_t)(index - 128);
        }
    }
}

#endif
