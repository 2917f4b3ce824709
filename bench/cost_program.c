/* Counts the instructions of functions on QEMU's MPS2 machines (see cost_program.py).
 *
 * With `-icount shift=7` the 25 MHz timer advances by 3.2 ticks per instruction. Each case prints
 * the ticks of its calls and those of as many calls of an empty function.
 */
#include "cost_program.h"
#include "semihosting.h"
#include "strict_core.h"

#define TIMER_CTRL (*(volatile uint32_t *)0x40000000u)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004u)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008u)

static int8_t arena[ARENA_SIZE] __attribute__((aligned(8)));

/* Softmax is the one kernel whose path depends on numbers. */
static void fill_arena(void) {
    uint32_t state = 12345;
    for (int32_t i = 0; i < ARENA_SIZE && i < 65536; i++) {
        state = state * 1664525u + 1013904223u;
        arena[i] = (int8_t)(state >> 24);
    }
}

static void print_number(uint32_t value) {
    char text[12], *p = text + sizeof text;
    *--p = '\0';
    *--p = '\n';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    semihosting_print(p);
}

static __attribute__((noinline)) void empty(int8_t *a, int32_t y0, int32_t y1) {
    (void)a, (void)y0, (void)y1;
    __asm__ volatile("" ::: "memory");
}

/* Ticks of calls of `step` rows each. */
static __attribute__((noinline)) uint32_t time_calls(cost_function call, int32_t rows,
                                                     int32_t step) {
    uint32_t start = TIMER_VALUE;
    for (int32_t y = 0; y < rows; y += step) {
        call(arena, y, y + step < rows ? y + step : rows);
    }
    return start - TIMER_VALUE;
}

int main(void) {
    make_core_strict();
    TIMER_RELOAD = 0xFFFFFFFFu;
    TIMER_VALUE = 0xFFFFFFFFu;
    TIMER_CTRL = 1;
    for (int32_t i = 0; i < cost_count; i++) {
        const cost_case *c = &cost_cases[i];
        fill_arena();
        print_number(time_calls(c->call, c->rows, c->step));
        print_number(time_calls(empty, c->rows, c->step));
    }
    semihosting_exit(0);
}
