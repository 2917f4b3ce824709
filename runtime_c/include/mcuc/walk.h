/* The loops of kernels that compute element by element from two or three tensors, each of which
 * may repeat (broadcast).
 *
 * Rows of `pixels` times `width` bytes; operand i moves on by pixel[i] bytes per pixel and step[i]
 * (0 or 1) bytes per element, and repeats rows if it has one only.
 */
#ifndef MCUC_WALK_H
#define MCUC_WALK_H

#include "mcuc/mcuc.h"

typedef struct {
    int32_t pixels, width;
    int32_t pixel[3], step[3];
} mcuc_walk_loops;

/* One element of the result from one of each operand; p: the kernel's parameters. */
typedef int8_t mcuc_walk_element(const void *p, int8_t a, int8_t b, int8_t c);

/* `element` folds into the loop, as it is a constant where a kernel calls this. */
MCUC_KERNEL void mcuc_walk_pixel(const mcuc_walk_loops *l, const int8_t *a, const int8_t *b,
                                 const int8_t *c, int8_t *o, mcuc_walk_element *element,
                                 const void *p) {
    for (const int8_t *end = o + l->width; o < end; o++) {
        *o = element(p, *a, *b, *c);
        a += l->step[0], b += l->step[1], c += l->step[2];
    }
}

/* Two operands; a third is not there. */
MCUC_KERNEL void mcuc_walk2(const mcuc_walk_loops *l, const mcuc_src *in, const mcuc_dst *out,
                            int32_t y0, int32_t y1, mcuc_walk_element *element, const void *p) {
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y);
        const int8_t *b = mcuc_src_row(&in[1], y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < l->pixels; i++, o += l->width) {
            mcuc_walk_pixel(l, a, b, a, o, element, p);
            a += l->pixel[0], b += l->pixel[1];
        }
    }
}

MCUC_KERNEL void mcuc_walk3(const mcuc_walk_loops *l, const mcuc_src *in, const mcuc_dst *out,
                            int32_t y0, int32_t y1, mcuc_walk_element *element, const void *p) {
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *a = mcuc_src_row(&in[0], y);
        const int8_t *b = mcuc_src_row(&in[1], y);
        const int8_t *c = mcuc_src_row(&in[2], y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < l->pixels; i++, o += l->width) {
            mcuc_walk_pixel(l, a, b, c, o, element, p);
            a += l->pixel[0], b += l->pixel[1], c += l->pixel[2];
        }
    }
}

#endif
