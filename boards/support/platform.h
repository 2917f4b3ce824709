/* What the test harness needs of the machine it runs on: files, an arena, a stack and a clock.
 *
 * host.c implements it on stdio, qemu.c on semihosting.
 */
#ifndef MCUC_PLATFORM_H
#define MCUC_PLATFORM_H

#include <stddef.h>
#include <stdint.h>

#include "harness_config.h"

/* The harness in one of its modes; returns when the job is done. */
void harness(const char *mode);

/* Reads `size` bytes of the input file. Returns 0 at its end; a partial read is a failure. */
int platform_read(void *to, size_t size);

/* Appends to the output file. */
void platform_write(const void *from, size_t size);

/* Text for the program that started the harness. */
void platform_print(const char *text);

/* Ends the program with a message and a status that says failure. */
void platform_fail(const char *why) __attribute__((noreturn));

/* The model's arena: exactly MODEL_ARENA_SIZE bytes, guarded on both sides. */
int8_t *platform_arena(void);

/* Fails if bytes around the arena or at the stack's end have been written. */
void platform_check_guards(void);

/* A free-running count that is proportional to executed instructions; 0 where there is none. */
uint32_t platform_ticks(void);

/* Calls run(ctx) on the model's own stack; returns the ticks it took. */
uint32_t platform_call(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx);

/* Bytes of stack that calls so far have used at most; 0 where it is not measured. */
uint32_t platform_stack_used(void);

#endif
