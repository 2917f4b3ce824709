/* The harness on QEMU's MPS2 machines, on semihosting; mode from the command line, input.bin and
 * output.bin in the current folder of QEMU.
 *
 * The core is made strict. The model runs on a stack of its own, painted before each call, so that
 * its use can be read afterwards. It is confined to its own flash and RAM: any other access is a
 * fault. With the step hook, which belongs to the harness, it is not.
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
extern const uint32_t ld_flash_start[], ld_flash_end[], ld_ram_start[], ld_ram_end[];

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

/* run(ctx) with the stack pointer at `stack` and MPU_CTRL at `mpu`; in 64 aligned bytes. */
__attribute__((naked, aligned(64))) static void
call_on_stack(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx, uint32_t *stack, uint32_t mpu) {
    (void)run, (void)ctx, (void)stack, (void)mpu;
    __asm__("push {r4, r5, r6, lr}\n\t"
            "mov r4, sp\n\t"
            "mov r5, r0\n\t"
            "movw r6, #0xED94\n\t"
            "movt r6, #0xE000\n\t"
            "mov sp, r2\n\t"
            "str r3, [r6]\n\t"
            "dsb\n\t"
            "isb\n\t"
            "mov r0, r1\n\t"
            "blx r5\n\t"
            "movs r3, #5\n\t"
            "str r3, [r6]\n\t"
            "dsb\n\t"
            "isb\n\t"
            "mov sp, r4\n\t"
            "pop {r4, r5, r6, pc}");
}

#ifdef MCUC_STEP_HOOK

static void confine_model(void) {
}

static uint32_t mpu_for(void (*run)(MODEL_CONTEXT *)) {
    (void)run;
    return MPU_OPEN;
}

#else

/* What the model may touch while it runs, and the way back out of it. */
static void confine_model(void) {
    confine_to((uint32_t)ld_ram_start, (uint32_t)ld_ram_end, DATA, 3);
    confine_to((uint32_t)ld_flash_start, (uint32_t)ld_flash_end, CODE, 4);
    confine_to_code((uint32_t)&call_on_stack & ~1u);
}

/* MPU_CTRL for a call of `run`: the model is confined, an empty function of the harness is not. */
static uint32_t mpu_for(void (*run)(MODEL_CONTEXT *)) {
    const uint32_t start = (uint32_t)ld_flash_start, end = (uint32_t)ld_flash_end;
    return (uint32_t)run - start < end - start ? MPU_CONFINED : MPU_OPEN;
}

#endif

uint32_t platform_call(void (*run)(MODEL_CONTEXT *), MODEL_CONTEXT *ctx) {
    const uint32_t mpu = mpu_for(run);
    for (uint32_t *p = ld_stack_start; p != ld_stack_end; p++) {
        *p = PAINT;
    }
    uint32_t start = platform_ticks();
    call_on_stack(run, ctx, ld_stack_end, mpu);
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

int main(void) {
    char mode[16];
    make_core_strict();
    confine_model();
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
