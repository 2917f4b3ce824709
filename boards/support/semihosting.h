/* Arm semihosting: a debugger or an emulator does input and output for the program it runs.
 * "Semihosting for AArch32 and AArch64", Arm, https://github.com/ARM-software/abi-aa */
#ifndef MCUC_SEMIHOSTING_H
#define MCUC_SEMIHOSTING_H

#include <stddef.h>
#include <stdint.h>

enum {
    SYS_OPEN = 0x01,
    SYS_WRITE0 = 0x04,
    SYS_WRITE = 0x05,
    SYS_READ = 0x06,
    SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20,
};

enum { SEMIHOSTING_READ_BINARY = 1, SEMIHOSTING_WRITE_TEXT = 4, SEMIHOSTING_WRITE_BINARY = 5 };

static inline int semihosting(int operation, const void *arguments) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

/* A file handle, or -1. */
static inline int semihosting_open(const char *path, int mode) {
    size_t length = 0;
    while (path[length]) {
        length++;
    }
    const uint32_t arguments[] = {(uint32_t)path, (uint32_t)mode, length};
    return semihosting(SYS_OPEN, arguments);
}

/* The number of bytes that were NOT read. */
static inline size_t semihosting_read(int file, void *to, size_t size) {
    const uint32_t arguments[] = {(uint32_t)file, (uint32_t)to, size};
    return (size_t)semihosting(SYS_READ, arguments);
}

/* The number of bytes that were NOT written. */
static inline size_t semihosting_write(int file, const void *from, size_t size) {
    const uint32_t arguments[] = {(uint32_t)file, (uint32_t)from, size};
    return (size_t)semihosting(SYS_WRITE, arguments);
}

static inline void semihosting_print(const char *text) {
    semihosting(SYS_WRITE0, text);
}

/* Puts the command line into `line`; returns 0 on success. */
static inline int semihosting_command_line(char *line, size_t size) {
    const uint32_t arguments[] = {(uint32_t)line, size};
    return semihosting(SYS_GET_CMDLINE, arguments);
}

__attribute__((noreturn)) static inline void semihosting_exit(int status) {
    const uint32_t application_exit = 0x20026;
    const uint32_t arguments[] = {application_exit, (uint32_t)status};
    for (;;) {
        semihosting(SYS_EXIT_EXTENDED, arguments);
    }
}

#endif
