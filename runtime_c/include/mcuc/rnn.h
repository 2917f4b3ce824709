/* mcuc_rnn_s8: one direction of an RNN over `steps` steps.
 *
 * computes       the integer algorithm of mcucompile.quant.recurrent, step by step
 * layout         in: x, one row of `steps` times `input` bytes; with `initial` the state h of
 *                `hidden` bytes. out: h after each step, or with `sequence` 0 after the last one;
 *                if `stateful` the state, which a caller makes zero where a sequence begins. For
 *                weights, curves and states see recurrent.h
 * added          int32: biases
 * preconditions  sums of gates stay below 2^30
 * aliasing       forwards, the input of a step is read before its result is written; all else is
 *                read before any result is written
 * scratch        4 * hidden bytes; `input` up to the next word unless it is a multiple of 4; the
 *                state unless `stateful`
 * exactness      equals mcucompile.quant.recurrent.RnnRule
 * speed          instructions per multiplication (Cortex-M4): 1.4 for 64 inputs and 64 hidden, 2.3
 *                for 28 and 20
 */
#ifndef MCUC_RNN_H
#define MCUC_RNN_H

#include "mcuc/recurrent.h"

typedef struct {
    int32_t steps, input, hidden;
    int32_t reverse, sequence, initial, stateful;
    int32_t wide;
    const uint32_t *w, *r;
    int32_t w_shift, r_shift;
    const int32_t *added;
    const int16_t *curves;
    int32_t f_at, f_half, f_limit;
    int32_t h0_zp, h0_m, h0_shift;
    int32_t m, shift, zp;
} mcuc_rnn_s8_params;

MCUC_KERNEL void mcuc_rnn_s8(const mcuc_rnn_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                             int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1;
    const int32_t n = p->hidden;
    const mcuc_curve f = mcuc_curve_at(p->curves + p->f_at, p->f_half, p->f_limit);
    int32_t *sums = (int32_t *)scratch;
    int8_t *copy = mcuc_copied_input(scratch, n);
    int8_t *state = p->stateful ? out[1].base : mcuc_state(scratch, n, p->input);
    int8_t *h = state + 4;
    if (mcuc_begins(p->stateful, state)) {
        for (int32_t j = 0; j < n; j++) {
            const int32_t h0 =
                p->initial ? mcuc_start(in[1].base[j] - p->h0_zp, p->h0_m, p->h0_shift) : 0;
            h[j] = (int8_t)mcuc_sat8(h0 + p->zp);
        }
    }
    for (int32_t i = 0; i < p->steps; i++) {
        const int32_t t = p->reverse ? p->steps - 1 - i : i;
        const int8_t *x = mcuc_aligned_input(in[0].base + t * p->input, p->input, copy);
        mcuc_gates(x, p->w, p->input, n, p->wide, p->w_shift, p->added, sums);
        mcuc_gates(h, p->r, n, n, p->wide, p->r_shift, sums, sums);
        for (int32_t j = 0; j < n; j++) {
            h[j] = mcuc_requant(mcuc_curve_apply(f, sums[j]), p->m, p->shift, p->zp, -128, 127);
        }
        if (p->sequence) {
            mcuc_copy(out[0].base + t * n, h, n);
        }
    }
    if (!p->sequence) {
        mcuc_copy(out[0].base, h, n);
    }
}

#endif
