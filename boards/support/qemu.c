/* The harness on QEMU's MPS2 machines, on semihosting; mode from the command line, input.bin and
 * output.bin in the current folder of QEMU.
 *
 * The core is made strict. The model runs on a stack of its own, painted before each call, so that
 * its use can be read afterwards.
 */
#include "platform.h"
#include "semihosting.h"
#include "strict_core.h"

#define GUARD 0xC0DEFACEu
#define PAINT 0x5AFE5AFEu

/* CMSDK timer 0 counts down at 25 MHz. */
#define TIMER_CTRL (*(volatile uint32_t *)0x40000000u)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004u)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008u)

extern uint32_t ld_stack_start[], ld_stack_end[];

static struct {
    uint32_t before[4];
    int8_t arena[MODEL_ARENA_SIZE + !MODEL_ARENA_SIZE] __attribute__((aligned(4)));
    uint32_t after[4];
} memory __attribute__((section(".bss.arena"), aligned(MODEL_ARENA_ALIGN)));

static int input, output;
static uint32_t stack_used;

static void start_timer(void) {
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1;
}

int main(void) {
    char mode[16];
    make_core_strict();
    start_timer();
    for (int i = 0; i < 4; i++) {
        memory.before[i] = memory.after[i] = GUARD;
    }
    input = semihosting_open("input.bin", SEMIHOSTING_READ_BINARY);
    output = semihosting_open("output.bin", SEMIHOSTING_WRITE_BINARY);
    if (semihosting_command_line(mode, sizeof mode) != 0 || input < 0 || output < 0) {
        platform_fail("cannot open input.bin or output.bin");
    }
    harness(mode);
    semihosting_exit(0);
}

int platform_read(void *to, size_t size) {
    size_t missing = semihosting_read(input, to, size);
    if (missing != 0 && missing != size) {
        platform_fail("the input file ends within a sample");
    }
    return missing == 0;
}

void platform_write(const void *from, size_t size) {
    if (semihosting_write(output, from, size) != 0) {
        platform_fail("cannot write the output file");
    }
}

void platform_print(const char *text) {
    semihosting_print(text);
}

void platform_fail(const char *why) {
    semihosting_print("harness: ");
    semihosting_print(why);
    semihosting_print("\n");
    semihosting_exit(1);
}

int8_t *platform_arena(void) {
    return memory.arena;
}

void platform_check_guards(void) {
    for (int i = 0; i < 4; i++) {
        if (memory.before[i] != GUARD || memory.after[i] != GUARD) {
            platform_fail("the model has written outside its arena");
        }
    }
    if (*ld_stack_start != PAINT) {
        platform_fail("the model has used more stack than it may");
    }
}

uint32_t platform_ticks(void) {
    return ~TIMER_VALUE;
}

/* run(ctx) with the stack pointer at `stack`. */
__attribute__((naked)) static void call_on_stack(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx,
                                                 uint32_t *stack) {
    (void)run, (void)ctx, (void)stack;
    __asm__("push {r4, lr}\n\t"
            "mov r4, sp\n\t"
            "mov sp, r2\n\t"
            "mov r3, r0\n\t"
            "mov r0, r1\n\t"
            "blx r3\n\t"
            "mov sp, r4\n\t"
            "pop {r4, pc}");
}

uint32_t platform_call(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx) {
    for (uint32_t *p = ld_stack_start; p != ld_stack_end; p++) {
        *p = PAINT;
    }
    uint32_t start = platform_ticks();
    call_on_stack(run, ctx, ld_stack_end);
    uint32_t ticks = platform_ticks() - start;
    const uint32_t *p = ld_stack_start;
    while (p != ld_stack_end && *p == PAINT) {
        p++;
    }
    uint32_t used = (uint32_t)(ld_stack_end - p) * 4u;
    stack_used = used > stack_used ? used : stack_used;
    return ticks;
}

uint32_t platform_stack_used(void) {
    return stack_used;
}
