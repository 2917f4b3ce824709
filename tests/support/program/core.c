/* A test program on QEMU's MPS2 machines, on semihosting; the core is made strict. A pattern around
 * each block tells whether something was written there. */
#include <string.h>

#include "program.h"
#include "semihosting.h"
#include "strict_core.h"

#define GUARD 0x6D
#define GUARD_BYTES 16u

static struct { uint32_t begin, size; /* of a block, in `memory` */ } blocks[256];
static size_t count;
static uint8_t memory[3 << 20] __attribute__((aligned(8)));
static int input, output;

int main(void) {
    make_core_strict();
    input = semihosting_open("in.bin", SEMIHOSTING_READ_BINARY);
    output = semihosting_open("out.bin", SEMIHOSTING_WRITE_BINARY);
    if (input < 0 || output < 0) {
        fail("cannot open in.bin or out.bin");
    }
    test();
    release(0);
    semihosting_exit(0);
}

void read_input(void *to, size_t size) {
    if (size > 0 && semihosting_read(input, to, size) != 0) {
        fail("in.bin is too short");
    }
}

void write_output(const void *from, size_t size) {
    if (size > 0 && semihosting_write(output, from, size) != 0) {
        fail("cannot write out.bin");
    }
}

/* Where the memory behind the last block begins, rounded up to words. */
static uint32_t end_of_blocks(void) {
    return count ? (blocks[count - 1].begin + blocks[count - 1].size + 3u) / 4u * 4u : 0;
}

void *allocate(size_t size) {
    uint32_t end = end_of_blocks(), begin = end + GUARD_BYTES;
    begin += begin % 8u == 0 && count % 2u ? 4u : 0;
    if (count == sizeof blocks / sizeof blocks[0] ||
        begin + size + 2 * GUARD_BYTES > sizeof memory) {
        fail("no memory");
    }
    memset(memory + end, GUARD, begin - end);
    memset(memory + begin + size, GUARD, 2 * GUARD_BYTES);
    blocks[count].begin = begin;
    blocks[count++].size = size;
    return memory + begin;
}

static void check_guard(uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; i++) {
        if (memory[i] != GUARD) {
            fail("a write beside a block");
        }
    }
}

void release(size_t keep) {
    while (count > keep) {
        uint32_t begin = blocks[count - 1].begin, end = begin + blocks[count - 1].size;
        check_guard(end, end + GUARD_BYTES);
        count--;
        check_guard(end_of_blocks(), begin);
    }
}

size_t allocated(void) {
    return count;
}

void copy(void *to, const void *from, size_t size) {
    const uint8_t *source = from;
    for (uint8_t *p = to; size > 0; size--) {
        *p++ = *source++;
    }
}

void fail(const char *why) {
    semihosting_print("program: ");
    semihosting_print(why);
    semihosting_print("\n");
    semihosting_exit(1);
}
