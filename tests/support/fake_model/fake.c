/* Arena: input 0 at 0, input 1 at 8, step 0's result t at 12, outputs at 20 and 24.
 *
 *     step 0: t[i] = a[i] + table[i]
 *     step 1: y0[i] = t[i] - b[i], y1 = t[0]
 *
 * Values of a[0] from 101 on ask for misbehaviour. */
#include "fake.h"

extern const int8_t fake_table[8];

#ifdef MCUC_STEP_HOOK
void mcuc_step_hook(int step, int32_t y0, int32_t y1, int done);
#define STEP_BEGIN(step) mcuc_step_hook((step), 0, 1, 0)
#define STEP_END(step) mcuc_step_hook((step), 0, 1, 1)
#else
#define STEP_BEGIN(step) ((void)0)
#define STEP_END(step) ((void)0)
#endif

static __attribute__((noinline)) void fake_step0(int8_t *arena) {
    volatile int8_t copy[64]; /* a frame worth measuring */
    for (int32_t i = 0; i < 64; i++) {
        copy[i] = arena[i & 7];
    }
    for (int32_t i = 0; i < 8; i++) {
        arena[12 + i] = (int8_t)(copy[i] + fake_table[i]);
    }
}

static __attribute__((noinline, optimize("no-jump-tables"))) void fake_misbehave(int8_t *arena,
                                                                                 int32_t how) {
    switch (how) {
    case 101: /* a write after the arena */
        arena[FAKE_ARENA_SIZE] = 1;
        break;
    case 102: /* an unaligned word */
        *(volatile uint32_t *)(uintptr_t)((uintptr_t)arena + 1u) = 0;
        break;
    case 103: /* a division by zero */
        *(volatile int32_t *)(uintptr_t)arena = how / *(volatile int8_t *)&(int8_t){0};
        break;
    case 104: /* a write to flash */
        *(volatile int8_t *)(uintptr_t)fake_table = 1;
        break;
    case 105: /* no memory there */
        *(volatile int8_t *)(uintptr_t)0x90000000u = 1;
        break;
    case 107: /* a read after the model's constants */
        (void)*(volatile int8_t *)((uintptr_t)fake_table + 4096u);
        break;
    case 108: /* a write after the model's memory */
        *(volatile int8_t *)((uintptr_t)arena + 4096u) = 1;
        break;
    case 109: /* a read of code that is not the model's */
        (void)*(volatile int8_t *)(uintptr_t)0x2000u;
        break;
    case 110: /* a read of a peripheral */
        (void)*(volatile uint32_t *)(uintptr_t)0x40000004u;
        break;
    case 111: /* a write below the stack */
        *((volatile int8_t *)(uintptr_t)0x1FFFFFFFu) = 1;
        break;
    case 112: /* a call with more on the stack than there is room for */
#ifdef __arm__
        __asm__ volatile("msr msp, %0\n\tpush {r0, r1}" ::"r"(0x1FFFF000u));
#endif
        break;
    case 106: /* no end */
        while (*(volatile int8_t *)arena == 106) {
        }
        break;
    default:
        break;
    }
}

static __attribute__((noinline)) void fake_step1(int8_t *arena) {
    for (int32_t i = 0; i < 4; i++) {
        arena[20 + i] = (int8_t)(arena[12 + i] - arena[8 + i]);
    }
    arena[24] = arena[12];
    if (arena[0] > 100) {
        fake_misbehave(arena, arena[0]);
    }
}

void fake_init(fake_context *ctx, void *arena) {
    ctx->arena = (int8_t *)arena;
}

int8_t *fake_input(fake_context *ctx, int32_t index) {
    return ctx->arena + (index == 0 ? 0 : 8);
}

const int8_t *fake_output(const fake_context *ctx, int32_t index) {
    return ctx->arena + (index == 0 ? 20 : 24);
}

void fake_run(fake_context *ctx) {
    int8_t *arena = ctx->arena;
    STEP_BEGIN(0);
    fake_step0(arena);
    STEP_END(0);
    STEP_BEGIN(1);
    fake_step1(arena);
    STEP_END(1);
}
