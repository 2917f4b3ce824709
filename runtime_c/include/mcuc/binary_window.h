/* Which weights of a binary convolution are counted: the windows of binary_conv.h.
 *
 * Input rows are expanded to the indices of their ones and zeros. A window lists the weights at its
 * ones or at its zeros, whichever are fewer, so that never more than half of them are visited.
 */
#ifndef MCUC_BINARY_WINDOW_H
#define MCUC_BINARY_WINDOW_H

#include "mcuc/binary.h"

#define MCUC_BINARY_BLOCK 96 /* channels whose indices are bytes, one more included */

/* What both kernels have in common. */
typedef struct {
    int32_t in_h, in_w, cin, out_w, cout;
    int32_t kh, kw, sh, sw, dh, dw, top, left;
    int32_t pad, direct, planes, pad_planes;
    const uint32_t *weights;
    const uint32_t *pads;
} mcuc_binary_conv;

#define MCUC_BINARY_CONV_OF(p)                                                                     \
    {                                                                                              \
        (p)->in_h, (p)->in_w, (p)->cin, (p)->out_w, (p)->cout, (p)->kh, (p)->kw, (p)->sh, (p)->sw, \
            (p)->dh, (p)->dw, (p)->top, (p)->left, (p)->pad, (p)->direct, (p)->planes,             \
            (p)->pad_planes, (p)->weights, (p)->pads                                               \
    }

MCUC_KERNEL int32_t mcuc_binary_blocks(const mcuc_binary_conv *p) {
    return (p->cin + MCUC_BINARY_BLOCK - 1) / MCUC_BINARY_BLOCK;
}

/* Channels of the block that begins with channel `first`. */
MCUC_KERNEL int32_t mcuc_binary_block(const mcuc_binary_conv *p, int32_t first) {
    return p->cin - first < MCUC_BINARY_BLOCK ? p->cin - first : MCUC_BINARY_BLOCK;
}

/* Bytes of the indices of a block: between ones and zeros there is room to fill up words. */
MCUC_KERNEL int32_t mcuc_binary_cell(const mcuc_binary_conv *p) {
    return (mcuc_binary_block(p, 0) + 9) & ~3;
}

/* Weights per tap. */
MCUC_KERNEL int32_t mcuc_binary_tap(const mcuc_binary_conv *p) {
    return p->cin + mcuc_binary_blocks(p);
}

/* Is row or column i one of n? */
MCUC_KERNEL int32_t mcuc_binary_inside(int32_t i, int32_t n) {
    return (uint32_t)i < (uint32_t)n;
}

/* Input rows as they were expanded: row y in slot y % rows. */
typedef struct {
    uint8_t *cells;
    uint8_t *counts;
    int32_t rows;
} mcuc_binary_ring;

/* The indices of n channels from channel c on, whose bits are the lowest of `bits`: low and high
 * are where the next one goes, and where channel c would go as a zero. */
MCUC_KERNEL void mcuc_binary_expand_bits(uint32_t bits, int32_t n, uint32_t c, uint8_t **low,
                                         uint8_t **high) {
    uint8_t *l = *low, *h = *high;
#pragma GCC unroll 8
    for (int32_t i = 0; i < n; i++) {
        /* Both are written; one of them is written over by the next channel. */
        uint32_t one = (bits >> i) & 1u, index = c + (uint32_t)i;
        *l = (uint8_t)index;
        MCUC_OPAQUE(index); /* or both stores would share a conversion */
        h[-i] = (uint8_t)index;
        l += one;
        h += one;
    }
    *low = l;
    *high = h - n;
}

/* The indices of the ones and zeros of a block of `count` channels; returns the number of ones. */
MCUC_KERNEL int32_t mcuc_binary_expand_block(const uint32_t *x, int32_t count, uint8_t *cell,
                                             int32_t size) {
    uint8_t *low = cell, *high = cell + size - 1;
    for (int32_t c = 0; c + 8 <= count; c += 8) {
        mcuc_binary_expand_bits(x[c >> 5] >> (c & 31), 8, (uint32_t)c, &low, &high);
    }
    if (count & 7) {
        const int32_t c = count & ~7;
        mcuc_binary_expand_bits(x[c >> 5] >> (c & 31), count & 7, (uint32_t)c, &low, &high);
    }
    for (int32_t i = 0; i < 3; i++) {
        low[i] = (uint8_t)count; /* a weight of zeros */
        high[-i] = (uint8_t)count;
    }
    return (int32_t)(low - cell);
}

/* Expands the input rows that row y of the result needs, from row `*next` on. */
MCUC_KERNEL void mcuc_binary_advance(const mcuc_binary_conv *p, const mcuc_src *in,
                                     const mcuc_binary_ring *ring, int32_t y, int32_t *next) {
    const int32_t first = y * p->sh - p->top, blocks = mcuc_binary_blocks(p);
    const int32_t end = first + ring->rows < p->in_h ? first + ring->rows : p->in_h;
    *next = *next > first ? *next : first;
    for (; *next < end; ++*next) {
        const int32_t pixel = (*next % ring->rows) * p->in_w;
        uint8_t *cell = ring->cells + pixel * blocks * mcuc_binary_cell(p);
        uint8_t *ones = ring->counts + pixel * blocks;
        const uint32_t *x = (const uint32_t *)(const void *)mcuc_src_row(in, *next);
        for (int32_t i = 0; i < p->in_w; i++) {
            for (int32_t c = 0; c < p->cin; c += MCUC_BINARY_BLOCK) {
                int32_t count = mcuc_binary_block(p, c);
                *ones++ = (uint8_t)mcuc_binary_expand_block(x, count, cell, mcuc_binary_cell(p));
                x += (count + 31) >> 5;
                cell += mcuc_binary_cell(p);
            }
        }
    }
}

/* Appends n indices of a cell to the list, each plus `first`, and up to three weights of zeros. */
MCUC_KERNEL uint32_t *mcuc_binary_append(uint32_t *list, const uint8_t *indices, int32_t n,
                                         uint32_t first) {
    const uint32_t both = first * 0x10001u;
    const int32_t words = (n + 3) >> 2;
    uint32_t v;
    if (words & 1) {
        v = mcuc_load32(indices);
        mcuc_store_pair(list, mcuc_even8_add(both, v), mcuc_odd8_add(both, v));
        list += 2;
        indices += 4;
    }
    for (int32_t i = words >> 1; i > 0; i--) {
        v = mcuc_load32(indices);
        mcuc_store_pair(list, mcuc_even8_add(both, v), mcuc_odd8_add(both, v));
        v = mcuc_load32(indices + 4);
        mcuc_store_pair(list + 2, mcuc_even8_add(both, v), mcuc_odd8_add(both, v));
        list += 4;
        indices += 8;
    }
    return list;
}

/* Appends all `count` weights from `first` on, and one of zeros if their number is odd. */
MCUC_KERNEL uint32_t *mcuc_binary_append_all(uint32_t *list, int32_t count, uint32_t first) {
    uint32_t pair = first * 0x10001u + 0x10000u;
    for (; count > 0; count -= 2) {
        *list++ = pair;
        pair += 0x20002u;
    }
    return list;
}

/* A window: its first tap at (iy, ix), row iy in slot `slot` of the ring. */
typedef struct {
    int32_t iy, ix, slot;
} mcuc_binary_at;

/* The slot after `slot` on the way down a window. */
MCUC_KERNEL int32_t mcuc_binary_below(const mcuc_binary_conv *p, const mcuc_binary_ring *ring,
                                      int32_t slot) {
    slot += p->dh;
    return slot < ring->rows ? slot : slot - ring->rows;
}

/* How many ones the expanded pixels of a window have; seen: the number of these pixels. */
MCUC_KERNEL int32_t mcuc_binary_ones(const mcuc_binary_conv *p, const mcuc_binary_ring *ring,
                                     mcuc_binary_at at, int32_t *seen) {
    const int32_t blocks = mcuc_binary_blocks(p);
    int32_t ones = 0, pixels = 0;
    for (int32_t ky = 0; ky < p->kh; ky++) {
        const uint8_t *counts = ring->counts + (at.slot * p->in_w + at.ix) * blocks;
        for (int32_t kx = 0; kx < p->kw && mcuc_binary_inside(at.iy, p->in_h); kx++) {
            if (mcuc_binary_inside(at.ix + kx * p->dw, p->in_w)) {
                pixels++;
                for (int32_t b = 0; b < blocks; b++) {
                    ones += counts[kx * p->dw * blocks + b];
                }
            }
        }
        at.iy += p->dh;
        at.slot = mcuc_binary_below(p, ring, at.slot);
    }
    *seen = pixels;
    return ones;
}

/* The weights at the ones (or the zeros) of an expanded pixel, whose tap begins with weight
 * `first`. */
MCUC_KERNEL uint32_t *mcuc_binary_gather(const mcuc_binary_conv *p, const mcuc_binary_ring *ring,
                                         uint32_t *list, int32_t pixel, uint32_t first,
                                         int32_t ones) {
    const int32_t blocks = mcuc_binary_blocks(p), size = mcuc_binary_cell(p);
    for (int32_t b = 0; b < blocks; b++) {
        const int32_t count = mcuc_binary_block(p, b * MCUC_BINARY_BLOCK);
        const uint8_t *cell = ring->cells + (pixel * blocks + b) * size;
        int32_t n = ring->counts[pixel * blocks + b];
        if (!ones) {
            n = count - n;
            cell += size - ((n + 3) & ~3);
        }
        list = mcuc_binary_append(list, cell, n, first);
        first += (uint32_t)(count + 1);
    }
    return list;
}

/* All weights of a tap. */
MCUC_KERNEL uint32_t *mcuc_binary_gather_all(const mcuc_binary_conv *p, uint32_t *list,
                                             uint32_t first) {
    for (int32_t c = 0; c < p->cin; c += MCUC_BINARY_BLOCK) {
        const int32_t count = mcuc_binary_block(p, c);
        list = mcuc_binary_append_all(list, count, first);
        first += (uint32_t)(count + 1);
    }
    return list;
}

/* What is to be counted for a window. list: weights, in sixteens. ones: are they those at +1?
 * least: the smallest X. */
typedef struct {
    uint16_t *list;
    int32_t sixteens;
    int32_t ones;
    int32_t least;
    int32_t whole; /* no tap is outside of the image */
} mcuc_binary_window;

/* The window that sees `ones` ones in `seen` pixels, the rest being padding. */
MCUC_KERNEL mcuc_binary_window mcuc_binary_choose(const mcuc_binary_conv *p, void *list,
                                                  int32_t ones, int32_t seen) {
    const int32_t taps = p->kh * p->kw;
    const int32_t positions = (p->pad == 0 ? seen : taps) * p->cin;
    ones += p->pad > 0 ? (taps - seen) * p->cin : 0;
    mcuc_binary_window window = {(uint16_t *)list, 0, 2 * ones <= positions, 0, seen == taps};
    window.least = window.ones ? positions - 2 * ones : 2 * ones - positions;
    return window;
}

/* Is the padding what is counted? */
MCUC_KERNEL int32_t mcuc_binary_counts_padding(const mcuc_binary_conv *p, int32_t ones) {
    return ones ? p->pad > 0 : p->pad < 0;
}

/* A window of expanded pixels. */
MCUC_KERNEL mcuc_binary_window mcuc_binary_of_ring(const mcuc_binary_conv *p,
                                                   const mcuc_binary_ring *ring, uint32_t *list,
                                                   mcuc_binary_at at) {
    int32_t seen;
    const int32_t ones = mcuc_binary_ones(p, ring, at, &seen);
    mcuc_binary_window window = mcuc_binary_choose(p, list, ones, seen);
    uint32_t *end = list, first = 0;
    for (int32_t ky = 0; ky < p->kh; ky++) {
        const int32_t pixel = at.slot * p->in_w + at.ix, row = mcuc_binary_inside(at.iy, p->in_h);
        for (int32_t kx = 0; kx < p->kw; kx++) {
            if (row && mcuc_binary_inside(at.ix + kx * p->dw, p->in_w)) {
                end = mcuc_binary_gather(p, ring, end, pixel + kx * p->dw, first, window.ones);
            } else if (mcuc_binary_counts_padding(p, window.ones)) {
                end = mcuc_binary_gather_all(p, end, first);
            }
            first += (uint32_t)mcuc_binary_tap(p);
        }
        at.iy += p->dh;
        at.slot = mcuc_binary_below(p, ring, at.slot);
    }
    const uint32_t zeros = (uint32_t)mcuc_binary_block(p, 0) * 0x10001u;
    for (; ((end - list) & 7) != 0; end++) {
        *end = zeros;
    }
    window.sixteens = (int32_t)(end - list) >> 3;
    return window;
}

MCUC_KERNEL int32_t mcuc_binary_population(uint32_t v) {
    v -= (v >> 1) & 0x55555555u;
    v = (v & 0x33333333u) + ((v >> 2) & 0x33333333u);
    v = (v + (v >> 4)) & 0x0F0F0F0Fu;
    return (int32_t)((v * 0x01010101u) >> 24);
}

/* The weights at the ones of a word, whose lowest bit is that of weight `first`. */
MCUC_KERNEL uint16_t *mcuc_binary_list_word(uint16_t *list, uint32_t bits, int32_t first) {
    for (const int32_t last = first + 31; bits != 0;) {
        int32_t n = __builtin_clz(bits);
        *list++ = (uint16_t)(last - n);
        bits ^= 0x80000000u >> n;
    }
    return list;
}

/* The pixel of a tap in memory, NULL if it is outside of the image. */
MCUC_KERNEL const uint32_t *mcuc_binary_pixel(const mcuc_binary_conv *p, const mcuc_src *in,
                                              int32_t iy, int32_t ix) {
    if (!mcuc_binary_inside(iy, p->in_h) || !mcuc_binary_inside(ix, p->in_w)) {
        return NULL;
    }
    const int8_t *row = mcuc_src_row(in, iy);
    return (const uint32_t *)(const void *)row + ix * ((p->cin + 31) / 32);
}

/* The lowest bits of a word of the channels from c on: as many as there are. */
MCUC_KERNEL uint32_t mcuc_binary_used(const mcuc_binary_conv *p, int32_t c, uint32_t bits) {
    return p->cin - c < 32 ? bits & ((1u << (p->cin & 31)) - 1u) : bits;
}

/* A tap of which every channel whose bit is not that of `flip` is counted; x NULL: all of them. */
MCUC_KERNEL uint16_t *mcuc_binary_list_pixel(const mcuc_binary_conv *p, uint16_t *list,
                                             const uint32_t *x, uint32_t flip, int32_t first) {
    for (int32_t c = 0; c < p->cin; c += 32) {
        uint32_t bits = mcuc_binary_used(p, c, x == NULL ? 0xFFFFFFFFu : *x++ ^ flip);
        list = mcuc_binary_list_word(list, bits, first + c + c / MCUC_BINARY_BLOCK);
    }
    return list;
}

/* A window straight from the input. */
MCUC_KERNEL mcuc_binary_window mcuc_binary_of_input(const mcuc_binary_conv *p, const mcuc_src *in,
                                                    uint16_t *list, mcuc_binary_at at) {
    int32_t ones = 0, seen = 0, first = 0;
    for (int32_t tap = 0; tap < p->kh * p->kw; tap++) {
        const uint32_t *x =
            mcuc_binary_pixel(p, in, at.iy + tap / p->kw * p->dh, at.ix + tap % p->kw * p->dw);
        for (int32_t c = 0; c < p->cin && x != NULL; c += 32) {
            ones += mcuc_binary_population(mcuc_binary_used(p, c, *x++));
        }
        seen += x != NULL;
    }
    mcuc_binary_window window = mcuc_binary_choose(p, list, ones, seen);
    const uint32_t flip = window.ones ? 0u : 0xFFFFFFFFu;
    for (int32_t tap = 0; tap < p->kh * p->kw; tap++) {
        const uint32_t *x =
            mcuc_binary_pixel(p, in, at.iy + tap / p->kw * p->dh, at.ix + tap % p->kw * p->dw);
        if (x != NULL || mcuc_binary_counts_padding(p, window.ones)) {
            list = mcuc_binary_list_pixel(p, list, x, flip, first);
        }
        first += mcuc_binary_tap(p);
    }
    for (; ((list - window.list) & 15) != 0; list++) {
        *list = (uint16_t)mcuc_binary_block(p, 0); /* a weight of zeros */
    }
    window.sixteens = (int32_t)(list - window.list) >> 4;
    return window;
}

#endif
