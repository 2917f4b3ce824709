/* A test program on this machine, on stdio. The address sanitizer watches the memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

static FILE *input, *output;
static void *blocks[256];
static size_t count, total;

int main(void) {
    input = fopen("in.bin", "rb");
    output = fopen("out.bin", "wb");
    if (!input || !output) {
        fail("cannot open in.bin or out.bin");
    }
    setvbuf(output, NULL, _IONBF, 0);
    test();
    release(0);
    return fclose(input) | fclose(output);
}

void read_input(void *to, size_t size) {
    if (fread(to, 1, size, input) != size) {
        fail("in.bin is too short");
    }
}

void write_output(const void *from, size_t size) {
    if (fwrite(from, 1, size, output) != size) {
        fail("cannot write out.bin");
    }
}

/* malloc aligns to more than four bytes, so every other block begins four bytes later. */
void *allocate(size_t size) {
    if (count == sizeof blocks / sizeof blocks[0]) {
        fail("too many blocks");
    }
    size_t late = total++ % 2 * 4;
    char *start = malloc(size + late);
    if (!start) {
        fail("no memory");
    }
    blocks[count++] = start;
    return start + late;
}

void release(size_t keep) {
    while (count > keep) {
        free(blocks[--count]);
    }
}

size_t allocated(void) {
    return count;
}

void copy(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
}

void fail(const char *why) {
    fprintf(stderr, "program: %s\n", why);
    exit(EXIT_FAILURE);
}
