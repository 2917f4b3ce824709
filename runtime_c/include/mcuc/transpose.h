/* mcuc_transpose_s8: the rows of a matrix of bytes as columns, also in place.
 *
 * computes       out[c * rows + r] = in[r * cols + c]
 * layout         one row
 * preconditions  block divides cols, or rows if `tiles_first`; leaders: of each cycle of more than
 *                one block (see below) one position, then 0
 * aliasing       the output may take the place of the input
 * scratch        block * rows bytes, block * cols if `tiles_first`
 * exactness      moves bytes
 * speed          instructions per byte (Cortex-M4): of three planes in words 3.3 in place, 2.3
 *                elsewhere; other matrices 3.1 elsewhere, in place 4.2 in blocks of 16 words, 10 in
 *                blocks of one word or of bytes
 *
 * In place, the matrix is one of blocks of `block` neighbouring bytes, and its transposition a
 * permutation of the blocks, which moves them along its cycles, followed (or, the other way round,
 * preceded) by the transposition of small tiles on their own:
 *
 *     a0 a1 a2 a3   blocks   a0 a1   tiles   a0 b0
 *     b0 b1 b2 b3     =>     b0 b1     =>    a1 b1
 *                            a2 a3           a2 b2
 *                            b2 b3           a3 b3
 */
#ifndef MCUC_TRANSPOSE_H
#define MCUC_TRANSPOSE_H

#include "mcuc/copy.h"
#include "mcuc/mcuc.h"
#include "mcuc/move.h"

typedef struct {
    int32_t rows, cols;
    int32_t block;
    int32_t tiles_first;
    const int16_t *leaders;
} mcuc_transpose_s8_params;

/* Three planes, `step` bytes apart, side by side: `n` times four pixels. */
MCUC_KERNEL void mcuc_transpose_planes3(int8_t *o, const int8_t *x, int32_t step, int32_t n) {
    const uint32_t even = 0x00FF00FFu;
    for (; n > 0; n--, x += 4, o += 12) {
        const uint32_t a = mcuc_load32(x), b = mcuc_load32(x + step);
        const uint32_t c = mcuc_load32(x + 2 * step);
        const uint32_t ab = (a & even) | (b & even) << 8;  /* a0 b0 a2 b2 */
        const uint32_t bc = (b >> 8 & even) | (c & ~even); /* b1 c1 b3 c3 */
        const uint32_t ca = (c & even) | (a & ~even);      /* c0 a1 c2 a3 */
        mcuc_store32(o, mcuc_pack_lo(ab, ca));
        mcuc_store32(o + 4, (bc & 0xFFFFu) | (ab & 0xFFFF0000u));
        mcuc_store32(o + 8, mcuc_pack_hi(ca, bc));
    }
}

/* The matrix x, whose rows are `step` bytes apart, to another place. */
MCUC_KERNEL void mcuc_transpose_copy(int8_t *o, const int8_t *x, int32_t step, int32_t rows,
                                     int32_t cols) {
    if (rows == 3 && cols % 4 == 0 && step % 4 == 0 && mcuc_is_aligned(x) && mcuc_is_aligned(o)) {
        mcuc_transpose_planes3(o, x, step, cols / 4);
    } else if (rows < cols) {
        for (int32_t r = 0; r < rows; r++) {
            mcuc_move_run(o + r, rows, x + r * step, 1, cols);
        }
    } else {
        for (int32_t c = 0; c < cols; c++) {
            mcuc_move_run(o + c * rows, 1, x + c, step, rows);
        }
    }
}

/* All tiles of rows x cols bytes in place. */
MCUC_KERNEL void mcuc_transpose_tiles(int8_t *x, int32_t tiles, int32_t rows, int32_t cols,
                                      int8_t *scratch) {
    for (; tiles > 0; tiles--, x += rows * cols) {
        mcuc_copy(scratch, x, rows * cols);
        mcuc_transpose_copy(x, scratch, cols, rows, cols);
    }
}

/* A matrix of blocks in place: what comes to position i was at (i % rows) * cols + i / rows. */
MCUC_KERNEL void mcuc_transpose_blocks(int8_t *x, int32_t rows, int32_t cols, int32_t block,
                                       const int16_t *leaders, int8_t *scratch) {
    for (; *leaders > 0; leaders++) {
        int32_t to = *leaders, from = to % rows * cols + to / rows;
        mcuc_copy(scratch, x + to * block, block);
        for (; from != *leaders; to = from, from = to % rows * cols + to / rows) {
            mcuc_copy(x + to * block, x + from * block, block);
        }
        mcuc_copy(x + to * block, scratch, block);
    }
}

MCUC_KERNEL void mcuc_transpose_s8(const mcuc_transpose_s8_params *p, const mcuc_src *in,
                                   const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)y0, (void)y1;
    int8_t *x = out->base, *kept = (int8_t *)scratch;
    if (in->base != x) {
        mcuc_transpose_copy(x, in->base, p->cols, p->rows, p->cols);
    } else if (p->tiles_first) {
        mcuc_transpose_tiles(x, p->rows / p->block, p->block, p->cols, kept);
        mcuc_transpose_blocks(x, p->rows / p->block, p->cols, p->block, p->leaders, kept);
    } else {
        mcuc_transpose_blocks(x, p->rows, p->cols / p->block, p->block, p->leaders, kept);
        mcuc_transpose_tiles(x, p->cols / p->block, p->rows, p->block, kept);
    }
}

#endif
