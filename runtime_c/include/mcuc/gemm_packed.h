/* Weights in fewer bits than eight, decoded into the streams of gemm.h a few output channels at a
 * time.
 *
 * ends     for each pair of channels: bias0, bias1, m0, m1
 * codes    one per weight, in the order of the bytes of stream words
 *   bits 1, 2, 3, 4: places in a palette of 2, 4, 8 or 16 weights, the first one in the lowest
 *          bits. Each pair of channels begins at a new number; with 3 bits, at a new three.
 *   bits 0: a canonical Huffman code of at most 16 bits per weight, the first bit in the highest
 *          place. One number more than there are is read.
 * entries  the palette; or how many codes have 1, 2, ... 16 bits, and the weights in the order of
 *          their codes
 * table    scratch for 4^bits numbers, 256 if bits is 0: what the next bits stand for. Of a palette
 *          a pair of weights as the lane of a stream word; of a Huffman code whose first eight bits
 *          are these the weight, and in the upper half its length, 0 if it is longer than that.
 *
 * A weight takes 2 instructions to decode from a palette and some 14 from a Huffman code.
 */
#ifndef MCUC_GEMM_PACKED_H
#define MCUC_GEMM_PACKED_H

#include "mcuc/gemm.h"

#define MCUC_HUFFMAN_LONGEST 16

/* Weights that are being decoded. window: the next `left` bits of a Huffman code, from the highest
 * place on. */
typedef struct {
    const uint16_t *codes;
    const uint32_t *ends;
    const int8_t *entries;
    uint16_t *table;
    int32_t bits, wide;
    uint32_t window;
    int32_t left;
} mcuc_unpack;

/* Two weights as the lane of a stream word. */
MCUC_KERNEL uint32_t mcuc_unpack_lane(int32_t c0, int32_t c1, int32_t wide) {
    return ((uint32_t)(wide ? c0 & 0xFF : c0) + 256u * (uint32_t)c1) & 0xFFFFu;
}

MCUC_KERNEL uint32_t mcuc_unpack_word(uint32_t lane0, uint32_t lane1) {
    return lane0 | lane1 << 16;
}

/* The lanes of all pairs of weights of the palette. */
MCUC_SHARED void mcuc_palette_table(const mcuc_unpack *u) {
    const int32_t size = 1 << u->bits;
    uint16_t *t = u->table;
    for (int32_t c1 = 0; c1 < size; c1++) {
        for (int32_t c0 = 0; c0 < size; c0++) {
            *t++ = (uint16_t)mcuc_unpack_lane(u->entries[c0], u->entries[c1], u->wide);
        }
    }
}

/* A pair of channels of `words` words to w by a palette of 16. */
MCUC_SHARED void mcuc_palette16_pair(mcuc_unpack *u, uint32_t *w, int32_t words) {
    const uint16_t *codes = u->codes, *t = u->table;
    uint32_t *const end = w + words;
    for (uint32_t *const blocks = w + (words & ~3); w != blocks; w += 4) {
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t c = codes[i];
            w[i] = mcuc_unpack_word(t[c & 255], t[c >> 8]);
        }
        codes += 4;
    }
    for (; w != end; w++) {
        const uint32_t c = *codes++;
        *w = mcuc_unpack_word(t[c & 255], t[c >> 8]);
    }
    u->codes = codes;
}

/* The same by a palette of 8; at most three words too many. */
MCUC_SHARED void mcuc_palette8_pair(mcuc_unpack *u, uint32_t *w, int32_t words) {
    const uint16_t *codes = u->codes, *t = u->table;
    for (uint32_t *const end = w + words; w < end; w += 4) {
        const uint32_t c = codes[0] | (uint32_t)codes[1] << 16, d = codes[2];
        w[0] = mcuc_unpack_word(t[c & 63], t[c >> 6 & 63]);
        w[1] = mcuc_unpack_word(t[c >> 12 & 63], t[c >> 18 & 63]);
        w[2] = mcuc_unpack_word(t[c >> 24 & 63], t[c >> 30 | (d << 2 & 63)]);
        w[3] = mcuc_unpack_word(t[d >> 4 & 63], t[d >> 10]);
        codes += 3;
    }
    u->codes = codes;
}

/* The same by a palette of 4; maybe one word too many. */
MCUC_SHARED void mcuc_palette4_pair(mcuc_unpack *u, uint32_t *w, int32_t words) {
    const uint16_t *codes = u->codes, *t = u->table;
    for (uint32_t *const end = w + words; w < end; w += 2) {
        const uint32_t c = *codes++;
        w[0] = mcuc_unpack_word(t[c & 15], t[c >> 4 & 15]);
        w[1] = mcuc_unpack_word(t[c >> 8 & 15], t[c >> 12]);
    }
    u->codes = codes;
}

/* The same by a palette of 2; at most three words too many. */
MCUC_SHARED void mcuc_palette2_pair(mcuc_unpack *u, uint32_t *w, int32_t words) {
    const uint16_t *codes = u->codes, *t = u->table;
    for (uint32_t *const end = w + words; w < end; w += 4) {
        const uint32_t c = *codes++;
        w[0] = mcuc_unpack_word(t[c & 3], t[c >> 2 & 3]);
        w[1] = mcuc_unpack_word(t[c >> 4 & 3], t[c >> 6 & 3]);
        w[2] = mcuc_unpack_word(t[c >> 8 & 3], t[c >> 10 & 3]);
        w[3] = mcuc_unpack_word(t[c >> 12 & 3], t[c >> 14]);
    }
    u->codes = codes;
}

/* What the codes of at most eight bits stand for. */
MCUC_SHARED void mcuc_huffman_table(const mcuc_unpack *u) {
    const int8_t *weight = u->entries + MCUC_HUFFMAN_LONGEST;
    uint16_t *t = u->table, *const end = t + 256;
    for (int32_t length = 1; length <= 8; length++) {
        for (int32_t i = (uint8_t)u->entries[length - 1]; i > 0; i--, weight++) {
            for (uint16_t *stop = t + (256 >> length); t != stop; t++) {
                *t = (uint16_t)(length << 8 | (uint8_t)*weight);
            }
        }
    }
    while (t != end) {
        *t++ = 0;
    }
}

/* The entry of the table for a code of more than eight bits, the first one of `window`. */
MCUC_SHARED uint32_t mcuc_huffman_long(const int8_t *entries, uint32_t window) {
    uint32_t first = 0; /* code of this length, and place of its weight */
    int32_t place = MCUC_HUFFMAN_LONGEST, length = 1;
    for (; length <= MCUC_HUFFMAN_LONGEST; length++) {
        const uint32_t count = (uint8_t)entries[length - 1];
        const uint32_t code = (window >> (32 - length)) - first;
        if (code < count) {
            place += (int32_t)code;
            break;
        }
        place += (int32_t)count;
        first = (first + count) << 1;
    }
    return (uint32_t)length << 8 | (uint8_t)entries[place];
}

/* The next weight. */
MCUC_KERNEL int32_t mcuc_huffman_next(mcuc_unpack *u) {
    if (u->left <= 16) {
        u->window |= (uint32_t)*u->codes++ << (16 - u->left);
        u->left += 16;
    }
    uint32_t known = u->table[u->window >> 24];
    if (known == 0) {
        known = mcuc_huffman_long(u->entries, u->window);
    }
    const int32_t length = (int32_t)(known >> 8);
    u->window <<= length;
    u->left -= length;
    return (int8_t)(uint8_t)known;
}

/* A pair of channels of `words` words to w. */
MCUC_SHARED void mcuc_huffman_pair(mcuc_unpack *state, uint32_t *w, int32_t words) {
    mcuc_unpack u = *state;
    for (uint32_t *const end = w + words; w != end; w++) {
        const int32_t a = mcuc_huffman_next(&u), b = mcuc_huffman_next(&u);
        const int32_t c = mcuc_huffman_next(&u), d = mcuc_huffman_next(&u);
        *w = mcuc_unpack_word(mcuc_unpack_lane(a, b, u.wide), mcuc_unpack_lane(c, d, u.wide));
    }
    *state = u;
}

/* Before the first pair. bits: those of u, which the C compiler is to know. */
MCUC_KERNEL void mcuc_unpack_begin(const mcuc_unpack *u, int32_t bits) {
    if (bits > 0) {
        mcuc_palette_table(u);
    } else {
        mcuc_huffman_table(u);
    }
}

/* The streams of the next `channels` channels, of `elements` weights each, to w. One word behind
 * them is written, too. */
MCUC_KERNEL void mcuc_unpack_streams(mcuc_unpack *u, int32_t bits, uint32_t *w, int32_t elements,
                                     int32_t channels) {
    const int32_t words = (elements + 1) / 2;
    for (int32_t c = 0; c < channels; c += 2) {
        mcuc_store_pair(w, u->ends[0], u->ends[1]);
        if (bits == 4) {
            mcuc_palette16_pair(u, w + 2, words);
        } else if (bits == 3) {
            mcuc_palette8_pair(u, w + 2, words);
        } else if (bits == 2) {
            mcuc_palette4_pair(u, w + 2, words);
        } else if (bits == 1) {
            mcuc_palette2_pair(u, w + 2, words);
        } else {
            mcuc_huffman_pair(u, w + 2, words);
        }
        w += 2 + words;
        if (elements & 1) { /* nothing beside the last element */
            w[-1] &= 0xFFFFu;
        }
        mcuc_store_pair(w, u->ends[2], u->ends[3]);
        w += 2;
        u->ends += 4;
    }
}

/* How many channels a block from channel c on has: `block`, a multiple of 4 or 2, or the rest. */
MCUC_KERNEL int32_t mcuc_unpack_count(int32_t c, int32_t block, int32_t channels) {
    return channels % block == 0 || c + block <= channels ? block : channels - c;
}

#endif
