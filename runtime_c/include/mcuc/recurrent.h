/* What the recurrent kernels (lstm.h, gru.h, rnn.h) share: sums of gates, curves, states.
 *
 * computes       mcucompile.quant.recurrent, step by step
 * sums           One stream per four rows of weights, and one per two where at most two are left:
 *                    offset[n], words[ceil(columns / 2)] of the pairs of rows in turn, m[n]
 *                Words and `wide` as in gemm.h, elements in word order.
 * curves         int16 tables of 513 numbers; `half` makes the sigmoid of the tanh
 * state          int32 (is there a state?), int16 cell[hidden], int8 h[hidden], each part up to the
 *                next word; it follows the scratch, or lies where it outlives the run
 */
#ifndef MCUC_RECURRENT_H
#define MCUC_RECURRENT_H

#include "mcuc/copy.h"
#include "mcuc/dense.h"

/* Sums of pair i of rows, rescaled and added to `add`, to `out`. */
#define MCUC_GATES_EMIT(i, both)                                                                   \
    do {                                                                                           \
        const int32_t difference = (int32_t)((uint32_t)t##i - (uint32_t)s##i);                     \
        const int32_t odd = wide ? t##i : difference >> 8;                                         \
        out[2 * (i)] =                                                                             \
            mcuc_mul_round((int32_t)((uint32_t)s##i << shift), (int32_t)w[2 * (i)], add[2 * (i)]); \
        if (both) {                                                                                \
            out[2 * (i) + 1] = mcuc_mul_round((int32_t)((uint32_t)odd << shift),                   \
                                              (int32_t)w[2 * (i) + 1], add[2 * (i) + 1]);          \
        }                                                                                          \
    } while (0)

/* Up to 2 * pairs rows, of which `count` exist. Returns the stream of the next ones. */
MCUC_KERNEL const uint32_t *mcuc_gates_block(const int8_t *x, const uint32_t *w, int32_t columns,
                                             int32_t pairs, int32_t count, int32_t wide,
                                             int32_t shift, const int32_t *add, int32_t *out) {
    int32_t s0, t0, s1 = 0, t1 = 0, s2 = 0, t2 = 0, s3 = 0, t3 = 0;
    MCUC_DENSE_BIAS(0);
    if (pairs > 1) {
        MCUC_DENSE_BIAS(1);
    }
    w += 2 * pairs;
    const int8_t *stop = x + (columns & -16);
    while (x != stop) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 16; i += 4) {
            MCUC_DENSE_FOUR(x + i, w + i / 2 * pairs);
        }
        x += 16;
        w += 8 * pairs;
        MCUC_OPAQUE(x);
        MCUC_OPAQUE(w);
    }
    for (int32_t i = columns & 12; i > 0; i -= 4) {
        MCUC_DENSE_FOUR(x, w);
        x += 4;
        w += 2 * pairs;
    }
    for (int32_t i = columns & 3; i > 0; i -= 2) {
        uint32_t two = mcuc_pack16(x[0], i > 1 ? x[1] : 0);
        MCUC_DENSE_STEP(two, w);
        x += 2;
        w += pairs;
    }
    MCUC_GATES_EMIT(0, count > 1);
    if (pairs > 1) {
        MCUC_GATES_EMIT(1, count > 3);
    }
    (void)s2, (void)t2, (void)s3, (void)t3;
    return w + 2 * pairs;
}

MCUC_KERNEL void mcuc_gates_rows(const int8_t *x, const uint32_t *w, int32_t columns, int32_t rows,
                                 int32_t wide, int32_t shift, const int32_t *add, int32_t *out) {
    for (; rows > 3; rows -= 4, add += 4, out += 4) {
        w = mcuc_gates_block(x, w, columns, 2, 4, wide, shift, add, out);
    }
    if (rows == 3) {
        mcuc_gates_block(x, w, columns, 2, 3, wide, shift, add, out);
    } else if (rows > 0) {
        mcuc_gates_block(x, w, columns, 1, rows, wide, shift, add, out);
    }
}

MCUC_SHARED void mcuc_gates_narrow(const int8_t *x, const uint32_t *w, int32_t columns,
                                   int32_t rows, int32_t shift, const int32_t *add, int32_t *out) {
    mcuc_gates_rows(x, w, columns, rows, 0, shift, add, out);
}

MCUC_SHARED void mcuc_gates_wide(const int8_t *x, const uint32_t *w, int32_t columns, int32_t rows,
                                 int32_t shift, const int32_t *add, int32_t *out) {
    mcuc_gates_rows(x, w, columns, rows, 1, shift, add, out);
}

/* out[i] = add[i] + the rescaled sum of row i of weights times x, which is 4-byte aligned. */
MCUC_KERNEL void mcuc_gates(const int8_t *x, const uint32_t *w, int32_t columns, int32_t rows,
                            int32_t wide, int32_t shift, const int32_t *add, int32_t *out) {
    if (wide) {
        mcuc_gates_wide(x, w, columns, rows, shift, add, out);
    } else {
        mcuc_gates_narrow(x, w, columns, rows, shift, add, out);
    }
}

/* A curve: where its table has 0, and how it is read. */
typedef struct {
    const int16_t *middle;
    int32_t half, limit;
} mcuc_curve;

MCUC_KERNEL mcuc_curve mcuc_curve_at(const int16_t *table, int32_t half, int32_t limit) {
    mcuc_curve c = {table + 256, half, limit};
    MCUC_OPAQUE(c.middle); /* or the C compiler adds 256 to each index */
    return c;
}

/* See mcucompile.quant.recurrent.Curve; what it shifts in two steps is shifted once here. */
MCUC_KERNEL int32_t mcuc_curve_apply(mcuc_curve c, int32_t v) {
    v = mcuc_sat16(v);
    if (c.limit < 32767) {
        v = mcuc_clamp(v, -c.limit - 1, c.limit);
    }
    const int16_t *at = c.middle + (v >> 7);
    const int32_t y = at[0] * 128 + ((at[1] - at[0]) * (v & 127) + (c.half ? 0x400040 : 0x40));
    return y >> (c.half ? 8 : 7);
}

/* x * m rescaled; see mcucompile.quant.recurrent.Start. */
MCUC_KERNEL int32_t mcuc_start(int32_t x, int32_t m, int32_t shift) {
    return mcuc_mul_round(x * (int32_t)(1u << shift), m, 0);
}

/* Bytes of `count` numbers of `size` bytes, up to the next word. */
MCUC_KERNEL int32_t mcuc_words(int32_t count, int32_t size) {
    return (count * size + 3) & -4;
}

/* The scratch memory of a step: sums of gates, then a copy of an input that is not aligned. */
MCUC_KERNEL int8_t *mcuc_copied_input(void *scratch, int32_t sums) {
    return (int8_t *)scratch + 4 * sums;
}

/* The state that lasts for one call: behind the rest of the scratch memory. */
MCUC_KERNEL int8_t *mcuc_state(void *scratch, int32_t sums, int32_t input) {
    return mcuc_copied_input(scratch, sums) + (input % 4 ? mcuc_words(input, 1) : 0);
}

/* Does a sequence begin? From then on there is a state. */
MCUC_KERNEL int32_t mcuc_begins(int32_t stateful, int8_t *state) {
    const int32_t begins = !stateful || mcuc_load32(state) == 0;
    mcuc_store32(state, 1);
    return begins;
}

/* The input of a step, `count` bytes, where words can be loaded. */
MCUC_KERNEL const int8_t *mcuc_aligned_input(const int8_t *x, int32_t count, int8_t *copy) {
    if (count % 4 == 0) {
        return x;
    }
    mcuc_copy(copy, x, count);
    return copy;
}

#endif
