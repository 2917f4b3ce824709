/* mcuc_lstm_s8: one direction of an LSTM over `steps` steps.
 *
 * computes       the integer algorithm of mcucompile.quant.recurrent, step by step
 * layout         in: x, one row of `steps` times `input` bytes; with `initial` the states h and c,
 *                `hidden` bytes each. out: h after each step, or with `sequence` 0 after the last
 *                one; with `with_cell` the cell after the last one; if `stateful` the state, which
 *                a caller makes zero where a sequence begins. For weights, curves and states see
 *                recurrent.h; gates in the order i, o, f, g
 * added          int32: biases of the gates, then with `peepholes` the weights of i, o and f
 * preconditions  sums of gates stay below 2^30
 * aliasing       forwards, the input of a step is read before its result is written; all else is
 *                read before any result is written
 * scratch        4 * 4 * hidden bytes; `input` up to the next word unless it is a multiple of 4;
 *                the state unless `stateful`
 * exactness      equals mcucompile.quant.recurrent.LstmRule
 * speed          instructions per multiplication (Cortex-M4): 1.5 for 64 inputs and 64 hidden, 2.1
 *                for 28 and 20
 */
#ifndef MCUC_LSTM_H
#define MCUC_LSTM_H

#include "mcuc/recurrent.h"

typedef struct {
    int32_t steps, input, hidden;
    int32_t reverse, sequence, initial, stateful;
    int32_t with_cell, peepholes, wide;
    const uint32_t *w, *r;
    int32_t w_shift, r_shift;
    const int32_t *added;
    const int16_t *curves;
    int32_t f_at, f_half, f_limit;
    int32_t g_at, g_half, g_limit;
    int32_t h_at, h_half, h_limit;
    int32_t product_shift, cell_down, cell_up;
    int32_t h0_zp, h0_m, h0_shift;
    int32_t c0_zp, c0_m, c0_shift;
    int32_t cell_m, cell_shift, cell_zp;
    int32_t m, shift, zp;
} mcuc_lstm_s8_params;

/* The state in the beginning. */
MCUC_KERNEL void mcuc_lstm_begin(const mcuc_lstm_s8_params *p, const mcuc_src *in, int16_t *c,
                                 int8_t *h) {
    for (int32_t j = 0; j < p->hidden; j++) {
        int32_t h0 = 0, c0 = 0;
        if (p->initial) {
            h0 = mcuc_start(in[1].base[j] - p->h0_zp, p->h0_m, p->h0_shift);
            c0 = mcuc_start(in[2].base[j] - p->c0_zp, p->c0_m, p->c0_shift);
        }
        h[j] = (int8_t)mcuc_sat8(h0 + p->zp);
        c[j] = (int16_t)mcuc_sat16(c0);
    }
}

/* The next state from the sums of all gates. */
MCUC_KERNEL void mcuc_lstm_cells(const mcuc_lstm_s8_params *p, const int32_t *sums, int16_t *cells,
                                 int8_t *h) {
    const int32_t n = p->hidden;
    const int32_t *peep = p->added + 4 * n;
    const mcuc_curve f = mcuc_curve_at(p->curves + p->f_at, p->f_half, p->f_limit);
    const mcuc_curve g = mcuc_curve_at(p->curves + p->g_at, p->g_half, p->g_limit);
    const mcuc_curve t = mcuc_curve_at(p->curves + p->h_at, p->h_half, p->h_limit);
    for (int32_t j = 0; j < n; j++) {
        int32_t c = cells[j], i = sums[j], o = sums[n + j], forget = sums[2 * n + j];
        if (p->peepholes) {
            i = mcuc_smlawb(peep[j], (uint32_t)c, i);
            forget = mcuc_smlawb(peep[2 * n + j], (uint32_t)c, forget);
        }
        const int32_t product = mcuc_curve_apply(f, i) * mcuc_curve_apply(g, sums[3 * n + j]);
        c = mcuc_curve_apply(f, forget) * c + (product >> p->product_shift);
        c = mcuc_sat16((c + 0x4000) >> 15);
        cells[j] = (int16_t)c;
        if (p->peepholes) {
            o = mcuc_smlawb(peep[n + j], (uint32_t)c, o);
        }
        const int32_t up = (int32_t)(1u << p->cell_up), half = (int32_t)(1u << p->cell_down) >> 1;
        const int32_t y = mcuc_curve_apply(t, (c * up + half) >> p->cell_down);
        h[j] = mcuc_requant((mcuc_curve_apply(f, o) * y) >> 14, p->m, p->shift, p->zp, -128, 127);
    }
}

MCUC_KERNEL void mcuc_lstm_s8(const mcuc_lstm_s8_params *p, const mcuc_src *in, const mcuc_dst *out,
                              int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1;
    const int32_t n = p->hidden, rows = 4 * n;
    int32_t *sums = (int32_t *)scratch;
    int8_t *copy = mcuc_copied_input(scratch, rows);
    int8_t *state = p->stateful ? out[1 + p->with_cell].base : mcuc_state(scratch, rows, p->input);
    int16_t *c = (int16_t *)(void *)(state + 4);
    int8_t *h = state + 4 + mcuc_words(n, 2);
    if (mcuc_begins(p->stateful, state)) {
        mcuc_lstm_begin(p, in, c, h);
    }
    for (int32_t i = 0; i < p->steps; i++) {
        const int32_t t = p->reverse ? p->steps - 1 - i : i;
        const int8_t *x = mcuc_aligned_input(in[0].base + t * p->input, p->input, copy);
        mcuc_gates(x, p->w, p->input, rows, p->wide, p->w_shift, p->added, sums);
        mcuc_gates(h, p->r, n, rows, p->wide, p->r_shift, sums, sums);
        mcuc_lstm_cells(p, sums, c, h);
        if (p->sequence) {
            mcuc_copy(out[0].base + t * n, h, n);
        }
    }
    if (!p->sequence) {
        mcuc_copy(out[0].base, h, n);
    }
    for (int32_t j = 0; p->with_cell && j < n; j++) {
        out[1].base[j] = mcuc_requant(c[j], p->cell_m, p->cell_shift, p->cell_zp, -128, 127);
    }
}

#endif
