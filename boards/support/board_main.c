/* The board's own image: runs the model once on zeros and prints the first output and the cycles
 * it took. It shows that model, start-up code and memory map of the board fit together. */
#include <stdint.h>

#include "console.h"
#include "harness_config.h"

#define DEMCR (*(volatile uint32_t *)0xE000EDFCu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL (*(volatile uint32_t *)0xE0001000u)
#define DWT_CYCCNT (*(volatile uint32_t *)0xE0001004u)
#define DWT_LAR (*(volatile uint32_t *)0xE0001FB0u)
#define DWT_LAR_UNLOCK 0xC5ACCE55u /* a Cortex-M7 locks the unit at reset */

static const int32_t output_sizes[] = {MODEL_OUTPUT_SIZES};

static int8_t arena[MODEL_ARENA_SIZE + !MODEL_ARENA_SIZE]
    __attribute__((section(".bss.arena"), aligned(MODEL_ARENA_ALIGN)));
static MODEL_CONTEXT context __attribute__((section(".bss.model_context")));

static void start_cycle_counter(void) {
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_UNLOCK;
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
}

static void print_number(int32_t value) {
    char text[12], *p = text + sizeof text;
    uint32_t rest = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    *--p = '\0';
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (value < 0) {
        *--p = '-';
    }
    console_print(p);
    console_print(" ");
}

#ifdef MODEL_PUSHED_ROWS

static void fill_inputs(void) {
}

/* One row of zeros stands for all that a camera would deliver. */
static void run_model(void) {
    static const int8_t row[MODEL_PUSHED_ROW_SIZE];
    for (int32_t y = 0; y < MODEL_PUSHED_ROWS; y++) {
        MODEL_PUSH_ROWS(&context, row, 1);
    }
}

#else

static void fill_inputs(void) {
    static const int32_t input_sizes[] = {MODEL_INPUT_SIZES};
    for (int i = 0; i < MODEL_INPUTS; i++) {
        int8_t *input = MODEL_INPUT(&context, i);
        for (int32_t k = 0; k < input_sizes[i]; k++) {
            input[k] = 0;
        }
    }
}

static void run_model(void) {
    MODEL_RUN(&context);
}

#endif

int main(void) {
    MODEL_INIT(&context, arena);
    fill_inputs();
    start_cycle_counter();
    uint32_t start = DWT_CYCCNT;
    run_model();
    uint32_t cycles = DWT_CYCCNT - start;

    const int8_t *output = MODEL_OUTPUT(&context, 0);
    for (int32_t k = 0; k < output_sizes[0]; k++) {
        print_number(output[k]);
    }
    console_print("\ncycles ");
    print_number((int32_t)cycles);
    console_print("\n");
    return 0;
}
