/* The harness on QEMU's MPS2 machines, on semihosting; mode from the command line, input.bin and
 * output.bin in the current folder of QEMU.
 *
 * The emulated core is stricter than a real one: unaligned accesses, divisions by zero and writes
 * to flash are faults. The model runs on a stack of its own, painted before each call, so that its
 * use can be read afterwards.
 */
#include "platform.h"
#include "semihosting.h"

#define GUARD 0xC0DEFACEu
#define PAINT 0x5AFE5AFEu

#define SCB_CCR (*(volatile uint32_t *)0xE000ED14u)
#define SCB_CFSR (*(volatile uint32_t *)0xE000ED28u)
#define SCB_MMFAR (*(volatile uint32_t *)0xE000ED34u)
#define SCB_BFAR (*(volatile uint32_t *)0xE000ED38u)
#define CCR_UNALIGN_TRP (1u << 3)
#define CCR_DIV_0_TRP (1u << 4)
#define CFSR_MMFAR_VALID (1u << 7)
#define CFSR_BFAR_VALID (1u << 15)

#define MPU_CTRL (*(volatile uint32_t *)0xE000ED94u)
#define MPU_RBAR (*(volatile uint32_t *)0xE000ED9Cu)
#define MPU_RASR (*(volatile uint32_t *)0xE000EDA0u)
#define MPU_CTRL_ENABLE 1u
#define MPU_CTRL_DEFAULT_MAP 4u           /* for what no region covers */
#define MPU_RASR_READ_ONLY_4M 0x06020000u /* AP = 6: read-only; TEX,S,C,B = 0,0,1,0: normal */
#define MPU_RASR_SIZE_4M_ENABLE (21u << 1 | 1u)

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

static void make_core_strict(void) {
    SCB_CCR |= CCR_UNALIGN_TRP | CCR_DIV_0_TRP;
    MPU_RBAR = 0x00000000u | 1u << 4; /* region 0 at address 0 */
    MPU_RASR = MPU_RASR_READ_ONLY_4M | MPU_RASR_SIZE_4M_ENABLE;
    MPU_CTRL = MPU_CTRL_DEFAULT_MAP | MPU_CTRL_ENABLE;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
}

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

static void print_hex(const char *label, uint32_t value) {
    char text[9];
    for (int i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15u];
    }
    text[8] = '\0';
    semihosting_print(label);
    semihosting_print(text);
}

/* What a fault pushes: r0-r3, r12, lr, pc, xpsr. */
__attribute__((used, noreturn)) static void report_fault(const uint32_t *frame) {
    uint32_t status = SCB_CFSR;
    print_hex("fault: pc ", frame[6]);
    print_hex(" lr ", frame[5]);
    print_hex(" cfsr ", status);
    if (status & CFSR_BFAR_VALID) {
        print_hex(" address ", SCB_BFAR);
    } else if (status & CFSR_MMFAR_VALID) {
        print_hex(" address ", SCB_MMFAR);
    }
    semihosting_print("\n");
    semihosting_exit(2);
}

/* The stack may be what is broken: the report gets the initial one. */
__attribute__((naked)) void HardFault_Handler(void);
__attribute__((naked)) void HardFault_Handler(void) {
    __asm__("mov r0, sp\n\t"
            "ldr r1, =ld_initial_sp\n\t"
            "mov sp, r1\n\t"
            "b report_fault");
}
