/* Where the time goes, measured: cycles of each step, for `mcucompile profile --import`.
 *
 * The model is built with MCUC_PROFILER, so that it calls back as each step begins and ends. Steps
 * that run row by row do so many times in a run. A call costs some cycles itself; how many is
 * measured first, and subtracted.
 */
#include <stdio.h>

#include "digits_profiled.h"
#include "samples.h"

#define RUNS 10 /* of which the mean is printed */

#if defined(__arm__)
/* The cycle counter of a Cortex-M3, M4, M7 or M33; a Cortex-M0 has none. Armv7-M Architecture
 * Reference Manual, C1.6.5 and C1.8. */
#define DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xE0001FB0u) /* Cortex-M7 */

static void start_counter(void) {
    DEMCR |= 1u << 24; /* TRCENA */
    DWT_LAR = 0xC5ACCE55u;
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u; /* CYCCNTENA */
}

static uint32_t now(void) {
    return DWT_CYCCNT;
}
#else
#include <time.h>

static void start_counter(void) {
}

static uint32_t now(void) {
    return (uint32_t)clock();
}
#endif

static uint8_t arena[DIGITS_PROFILED_ARENA_SIZE]
    __attribute__((aligned(DIGITS_PROFILED_ARENA_ALIGN)));

typedef struct {
    uint32_t began; /* the counter may wrap around: differences are right */
    uint32_t cycles[DIGITS_PROFILED_STEPS];
    uint32_t calls[DIGITS_PROFILED_STEPS];
} profile;

static void on_step(void *user, int32_t step, int32_t done) {
    profile *p = (profile *)user;
    if (done) {
        p->cycles[step] += now() - p->began;
        p->calls[step]++;
    } else {
        p->began = now();
    }
}

/* Cycles that the profile adds to each call of a step. */
static uint32_t own_cycles(void) {
    static profile empty;
    const volatile mcuc_profiler called = on_step; /* by its address, as the model does */
    for (int i = 0; i < 64; i++) {
        called(&empty, 0, 0);
        called(&empty, 0, 1);
    }
    return empty.cycles[0] / 64;
}

int main(void) {
    static profile measured;
    digits_profiled_context model;
    start_counter();
    const uint32_t own = own_cycles();
    digits_profiled_init(&model, arena);
    digits_profiled_set_profiler(on_step, &measured);
    for (int run = 0; run < RUNS; run++) {
        int8_t *input = digits_profiled_input(&model, 0);
        for (int32_t i = 0; i < DIGITS_PROFILED_INPUT0_SIZE; i++) {
            input[i] = (int8_t)(sample_images[run % 10][i] * 8 - 64);
        }
        digits_profiled_run(&model);
    }
    printf("step,cycles\n");
    for (int step = 0; step < DIGITS_PROFILED_STEPS; step++) {
        const uint32_t all = own * measured.calls[step];
        const uint32_t cycles = measured.cycles[step] > all ? measured.cycles[step] - all : 0;
        printf("%d,%lu\n", step, (unsigned long)(cycles / RUNS));
    }
    return 0;
}
