/* mcuc_gru_s8: one direction of a GRU over `steps` steps.
 *
 * computes       the integer algorithm of mcucompile.quant.recurrent, step by step
 * layout         in: x, one row of `steps` times `input` bytes; with `initial` the state h of
 *                `hidden` bytes. out: h after each step, or with `sequence` 0 after the last one;
 *                if `stateful` the state, which a caller makes zero where a sequence begins. For
 *                weights, curves and states see recurrent.h; gates in the order z, r, n
 * added          int32: biases of the gates, then with `reset_sums` those of the sums that the
 *                reset gate multiplies
 * preconditions  sums of gates stay below 2^30
 * aliasing       forwards, the input of a step is read before its result is written; all else is
 *                read before any result is written
 * scratch        with `reset_sums` 4 * 4 * hidden bytes, else 4 * 3 * hidden bytes and `hidden` up
 *                to the next word; `input` up to the next word unless it is a multiple of 4; the
 *                state unless `stateful`
 * exactness      equals mcucompile.quant.recurrent.GruRule
 * speed          instructions per multiplication (Cortex-M4): 1.5 for 64 inputs and 64 hidden, 2.2
 *                for 28 and 20
 */
#ifndef MCUC_GRU_H
#define MCUC_GRU_H

#include "mcuc/recurrent.h"

typedef struct {
    int32_t steps, input, hidden;
    int32_t reverse, sequence, initial, stateful;
    int32_t reset_sums, wide;
    const uint32_t *w, *r, *n;
    int32_t w_shift, r_shift, n_shift;
    const int32_t *added;
    const int16_t *curves;
    int32_t f_at, f_half, f_limit;
    int32_t g_at, g_half, g_limit;
    int32_t new_shift;
    int32_t h0_zp, h0_m, h0_shift;
    int32_t m, shift, zp;
} mcuc_gru_s8_params;

/* The state as int8. */
MCUC_KERNEL int8_t mcuc_gru_narrow(const mcuc_gru_s8_params *p, int32_t wide) {
    return mcuc_requant(wide, p->m, p->shift, p->zp, -128, 127);
}

MCUC_KERNEL void mcuc_gru_begin(const mcuc_gru_s8_params *p, const mcuc_src *in, int16_t *cells,
                                int8_t *h) {
    for (int32_t j = 0; j < p->hidden; j++) {
        const int32_t h0 =
            p->initial ? mcuc_start(in[1].base[j] - p->h0_zp, p->h0_m, p->h0_shift) : 0;
        cells[j] = (int16_t)mcuc_sat16(h0);
        h[j] = mcuc_gru_narrow(p, cells[j]);
    }
}

/* The sums of the candidate, from those of all gates, of which z and r are finished; the numbers of
 * r become those of its curve. */
MCUC_KERNEL void mcuc_gru_candidate(const mcuc_gru_s8_params *p, int32_t *sums,
                                    const int16_t *cells, const int8_t *h) {
    const int32_t n = p->hidden;
    int32_t *r = sums + n, *a = sums + 2 * n, *more = sums + 3 * n;
    const mcuc_curve f = mcuc_curve_at(p->curves + p->f_at, p->f_half, p->f_limit);
    for (int32_t j = 0; j < n; j++) {
        r[j] = mcuc_curve_apply(f, r[j]);
    }
    if (p->reset_sums) {
        mcuc_gates(h, p->n, n, n, p->wide, p->n_shift, p->added + 3 * n, more);
        for (int32_t j = 0; j < n; j++) {
            a[j] = mcuc_smlawb(2 * more[j], (uint32_t)r[j], a[j]);
        }
    } else {
        int8_t *reset = (int8_t *)more;
        for (int32_t j = 0; j < n; j++) {
            reset[j] = mcuc_gru_narrow(p, (r[j] * cells[j] + 0x4000) >> 15);
        }
        mcuc_gates(reset, p->n, n, n, p->wide, p->n_shift, a, a);
    }
}

MCUC_KERNEL void mcuc_gru_s8(const mcuc_gru_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                             int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1;
    const int32_t n = p->hidden, rows = p->reset_sums ? 4 * n : 3 * n + (n + 3) / 4;
    const mcuc_curve f = mcuc_curve_at(p->curves + p->f_at, p->f_half, p->f_limit);
    const mcuc_curve g = mcuc_curve_at(p->curves + p->g_at, p->g_half, p->g_limit);
    int32_t *sums = (int32_t *)scratch;
    int8_t *copy = mcuc_copied_input(scratch, rows);
    int8_t *state = p->stateful ? out[1].base : mcuc_state(scratch, rows, p->input);
    int16_t *cells = (int16_t *)(void *)(state + 4);
    int8_t *h = state + 4 + mcuc_words(n, 2);
    if (mcuc_begins(p->stateful, state)) {
        mcuc_gru_begin(p, in, cells, h);
    }
    for (int32_t i = 0; i < p->steps; i++) {
        const int32_t t = p->reverse ? p->steps - 1 - i : i;
        const int8_t *x = mcuc_aligned_input(in[0].base + t * p->input, p->input, copy);
        mcuc_gates(x, p->w, p->input, 3 * n, p->wide, p->w_shift, p->added, sums);
        mcuc_gates(h, p->r, n, 2 * n, p->wide, p->r_shift, sums, sums);
        mcuc_gru_candidate(p, sums, cells, h);
        for (int32_t j = 0; j < n; j++) {
            const int32_t z = mcuc_curve_apply(f, sums[j]);
            const int32_t y = mcuc_curve_apply(g, sums[2 * n + j]);
            const int32_t sum = z * cells[j] + (((0x8000 - z) * y) >> p->new_shift);
            cells[j] = (int16_t)mcuc_sat16((sum + 0x4000) >> 15);
            h[j] = mcuc_gru_narrow(p, cells[j]);
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
