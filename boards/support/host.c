/* The harness on the host, on stdio: HARNESS MODE, with input.bin and output.bin in the current
 * folder. The address sanitizer guards the arena and the stack. */
#include <stdio.h>
#include <stdlib.h>

#include "platform.h"

static int8_t arena[MODEL_ARENA_SIZE + !MODEL_ARENA_SIZE]
    __attribute__((aligned(MODEL_ARENA_ALIGN)));
static FILE *input, *output;

int main(int argc, char **argv) {
    input = fopen("input.bin", "rb");
    output = fopen("output.bin", "wb");
    if (argc != 2 || !input || !output) {
        platform_fail("cannot open input.bin or output.bin");
    }
    harness(argv[1]);
    fclose(input);
    return fclose(output);
}

int platform_read(void *to, size_t size) {
    size_t got = fread(to, 1, size, input);
    if (got != 0 && got != size) {
        platform_fail("the input file ends within a sample");
    }
    return got == size;
}

void platform_write(const void *from, size_t size) {
    if (fwrite(from, 1, size, output) != size) {
        platform_fail("cannot write the output file");
    }
}

void platform_print(const char *text) {
    fputs(text, stdout);
}

void platform_fail(const char *why) {
    fprintf(stderr, "harness: %s\n", why);
    exit(EXIT_FAILURE);
}

int8_t *platform_arena(void) {
    return arena;
}

void platform_check_guards(void) {
}

uint32_t platform_ticks(void) {
    return 0;
}

uint32_t platform_call(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx) {
    run(ctx);
    return 0;
}

uint32_t platform_stack_used(void) {
    return 0;
}
