/* Kernels as data: each reads its parameters from in.bin and is called through a pointer, so that
 * one program serves any number of cases, and no parameter is a constant for the C compiler. */
#ifndef KERNELS_H
#define KERNELS_H

#include "mcuc/mcuc.h"

typedef struct {
    const void *(*params)(void);
    void (*call)(const void *params, const mcuc_src *in, const mcuc_dst *out, int32_t y0,
                 int32_t y1, void *scratch);
} kernel;

/* The kernels of this program, in the order by which in.bin numbers them. */
extern const kernel *const kernels[];

/* The next number of in.bin. */
int32_t number(void);

/* The same for a number that is not whole. */
float real(void);

/* The next array of in.bin, in a block of its own. */
const void *constant(void);

#endif
