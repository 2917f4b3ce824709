/* The functions whose instructions are counted; see cost_program.c. */
#ifndef COST_PROGRAM_H
#define COST_PROGRAM_H

#include <stdint.h>

/* Output rows [y0, y1) of a layer. */
typedef void (*cost_function)(int8_t *arena, int32_t y0, int32_t y1);

/* rows: of the result. step: of them in a call. */
typedef struct {
    cost_function call;
    int32_t rows, step;
} cost_case;

extern const cost_case cost_cases[];
extern const int32_t cost_count;

/* What the kernels' constants point to: numbers do not change what is executed. */
extern const uint32_t cost_pool[];

#endif
