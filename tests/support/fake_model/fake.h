/* A hand-written stand-in for a generated model: two inputs, two steps, two outputs. */
#ifndef FAKE_H
#define FAKE_H

#include <stdint.h>

#define FAKE_ARENA_SIZE 28
#define FAKE_ARENA_ALIGN 4
#define FAKE_STEPS 2
#define FAKE_INPUTS 2
#define FAKE_OUTPUTS 2
#define FAKE_INPUT0_SIZE 8
#define FAKE_INPUT1_SIZE 4
#define FAKE_OUTPUT0_SIZE 4
#define FAKE_OUTPUT1_SIZE 1

typedef struct {
    int8_t *arena;
} fake_context;

void fake_init(fake_context *ctx, void *arena);
int8_t *fake_input(fake_context *ctx, int32_t index);
void fake_run(fake_context *ctx);
const int8_t *fake_output(const fake_context *ctx, int32_t index);

#endif
