/* What a test program needs of the machine it runs on: a file in, a file out, watched memory.
 *
 * host.c implements it with the sanitizers of the host, core.c on semihosting.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stddef.h>
#include <stdint.h>

/* The test itself, which every program defines. */
void test(void);

/* Reads `size` bytes of in.bin; the program fails if there are no more. */
void read_input(void *to, size_t size);

/* Appends to out.bin, at once. */
void write_output(const void *from, size_t size);

/* Exactly `size` bytes, 4-aligned and often no more than that. What lies around them is watched. */
void *allocate(size_t size);

/* Gives back what was allocated after the first `count` blocks; the program fails if there was a
 * write beside one of them. */
void release(size_t count);

/* Blocks that are allocated. */
size_t allocated(void);

/* memcpy, but that of a C library may access words unaligned. */
void copy(void *to, const void *from, size_t size);

/* Ends the program with a message and a status that says failure. */
void fail(const char *why) __attribute__((noreturn));

#endif
