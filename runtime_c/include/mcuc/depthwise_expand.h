/* What the kernels of `depthwise.h` compute from: input rows of four channels as int16 lanes, two
 * pixels per word, and weights as pairs of lanes.
 *
 * Word (j * slots + row) * 4 + c of the expanded rows holds pixels 2j and 2j + 1 of channel c in
 * slot `row`, pixel 0 being the left edge of the padding. One address with constant offsets reaches
 * a whole window.
 */
#ifndef MCUC_DEPTHWISE_EXPAND_H
#define MCUC_DEPTHWISE_EXPAND_H

#include "mcuc/mcuc.h"

/* How an input row is expanded. */
typedef struct {
    int32_t pixel;    /* bytes from a pixel to the next */
    int32_t pitch;    /* bytes from an expanded pair to the next */
    int32_t stride;   /* bytes from a row to the next */
    uint32_t padding; /* a pixel of it */
    int32_t is_odd;   /* 1: the first pixel shares its pair with padding */
    int32_t fours;    /* the other pixels: 4 * fours + rest */
    int32_t rest;
} mcuc_depthwise_row;

/* The code for the last block of a row, in assembly. */
typedef void mcuc_depthwise_tail(void);

/* Output rows to compute from expanded input. */
typedef struct {
    int32_t rows, channels;
    int32_t pixel;  /* bytes from an output pixel to the next */
    int32_t skip;   /* bytes from the last block of an output row to the next row */
    int32_t blocks; /* of 4 outputs per row */
    mcuc_depthwise_tail *tail;
    int32_t zp;
    const int32_t *bias, *m;
    int32_t rest; /* outputs of the last block: 0, 1, 2, 3 or 5 */
} mcuc_depthwise_run;

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FP) && __ARM_ARCH_PROFILE == 'M' &&                \
    defined(__GNUC__) && __GNUC__ >= 8 && !defined(__clang__) && !defined(MCUC_PORTABLE)
#include "mcuc/arch/depthwise_dsp.h"
#endif

/* `count` channels of a pixel as bytes of a word; `by_word`: x is 4-byte aligned. */
MCUC_KERNEL uint32_t mcuc_depthwise_load(const int8_t *x, int32_t count, int32_t by_word) {
    uint32_t v = 0;
    if (by_word) {
        return mcuc_load32(x);
    }
    if (count == 4) {
        v = (uint32_t)(uint8_t)x[2] | (uint32_t)(uint8_t)x[3] << 8;
        return (uint32_t)(uint8_t)x[0] | (uint32_t)(uint8_t)x[1] << 8 | v << 16;
    }
    for (int32_t i = 0; i < count; i++) {
        v |= (uint32_t)(uint8_t)x[i] << (8 * i);
    }
    return v;
}

/* Two neighbouring pixels a and b (four channels each) to the four words at d. */
MCUC_KERNEL void mcuc_depthwise_store_pair(uint32_t *d, uint32_t a, uint32_t b) {
    uint32_t a_even = mcuc_even8(a), a_odd = mcuc_odd8(a);
    uint32_t b_even = mcuc_even8(b), b_odd = mcuc_odd8(b);
    d[0] = mcuc_pack_lo(a_even, b_even);
    d[1] = mcuc_pack_lo(a_odd, b_odd);
    d[2] = mcuc_pack_hi(a_even, b_even);
    d[3] = mcuc_pack_hi(a_odd, b_odd);
}

/* Expands an input row from x on to a slot. The padding beside the row is already there. */
MCUC_KERNEL void mcuc_depthwise_expand(const mcuc_depthwise_row *row, const int8_t *x,
                                       int32_t count, int32_t by_word, uint32_t *slot) {
    const int32_t pixel = row->pixel, pitch = row->pitch / 4;
    if (row->is_odd) {
        mcuc_depthwise_store_pair(slot, row->padding, mcuc_depthwise_load(x, count, by_word));
        x += pixel;
        slot += pitch;
    }
#pragma GCC unroll 2
    for (int32_t i = 2 * row->fours + (row->rest >> 1); i > 0; i--) {
        mcuc_depthwise_store_pair(slot, mcuc_depthwise_load(x, count, by_word),
                                  mcuc_depthwise_load(x + pixel, count, by_word));
        x += 2 * pixel;
        slot += pitch;
    }
    if (row->rest & 1) {
        mcuc_depthwise_store_pair(slot, mcuc_depthwise_load(x, count, by_word), row->padding);
    }
}

/* The same for `rows` rows of `count` channels, to neighbouring slots. */
MCUC_SHARED void mcuc_depthwise_expand_bytes(const int8_t *x, uint32_t *slot, int32_t rows,
                                             const mcuc_depthwise_row *row, int32_t count) {
    for (; rows > 0; rows--) {
        if (count == 4) { /* a constant from here on */
            mcuc_depthwise_expand(row, x, 4, 0, slot);
        } else {
            mcuc_depthwise_expand(row, x, count, 0, slot);
        }
        x += row->stride;
        slot += 4;
    }
}

/* The same for four channels in aligned words. */
#ifndef MCUC_DEPTHWISE_CORE
MCUC_SHARED void mcuc_depthwise_expand4(const int8_t *x, uint32_t *slot, int32_t rows,
                                        const mcuc_depthwise_row *row) {
    for (; rows > 0; rows--) {
        mcuc_depthwise_expand(row, x, 4, 1, slot);
        x += row->stride;
        slot += 4;
    }
}
#endif

/* Four words of v to each of `count` places, `pitch` words apart. */
MCUC_KERNEL void mcuc_depthwise_fill(uint32_t *d, uint32_t v, int32_t count, int32_t pitch) {
    for (; count > 0; count--) {
        mcuc_store_pair(d, v, v);
        mcuc_store_pair(d + 2, v, v);
        d += pitch;
    }
}

/* Moves the `kept` rows from slot `from` on to slot 0; usual: what is kept if strides are equal. */
MCUC_KERNEL void mcuc_depthwise_move(uint32_t *x, int32_t pairs, int32_t slots, int32_t from,
                                     int32_t kept, int32_t usual) {
#ifdef MCUC_DEPTHWISE_CORE
    if (kept == usual && mcuc_depthwise_moves(x, x + 4 * from, pairs, 16 * slots, usual)) {
        return;
    }
#endif
    (void)usual;
    for (int32_t j = pairs; j > 0; j--) {
        for (int32_t i = 0; i < 4 * kept; i += 2) {
            uint32_t a, b;
            mcuc_load_pair(x + 4 * from + i, &a, &b);
            mcuc_store_pair(x + i, a, b);
        }
        x += 4 * slots;
    }
}

/* The kh x kw weights of a channel as pairs of lanes. */
MCUC_KERNEL void mcuc_depthwise_unpack(const int8_t *weights, uint32_t *w, int32_t kh, int32_t kw) {
#pragma GCC unroll 3
    for (int32_t row = 0; row < kh; row++) {
        int32_t v[16]; /* or gcc loads those again that are in two pairs */
#pragma GCC unroll 16
        for (int32_t i = 0; i < kw; i++) {
            v[i] = weights[i];
        }
#pragma GCC unroll 16
        for (int32_t i = 0; i + 2 < kw; i += 2) {
            mcuc_store_pair(w + i, mcuc_pack16(v[i], v[i + 1]), mcuc_pack16(v[i + 1], v[i + 2]));
        }
        if (kw % 2 == 0) {
            w[kw - 2] = mcuc_pack16(v[kw - 2], v[kw - 1]);
        }
        weights += kw;
        w += kw - 1;
    }
}

#endif
