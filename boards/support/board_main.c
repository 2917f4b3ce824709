/* The board's own image: runs the model once on a sample that is part of the image, and prints what
 * it gives, whether that is what the integer reference gives, and the cycles it took. */
#include <stdint.h>

#include "board.h"
#include "console.h"
#include "harness_config.h"
#include "sample.h"

#define DEMCR REGISTER(0xE000EDFCu)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL REGISTER(0xE0001000u)
#define DWT_CYCCNT REGISTER(0xE0001004u)
#define DWT_LAR REGISTER(0xE0001FB0u)
#define DWT_LAR_UNLOCK 0xC5ACCE55u /* a Cortex-M7 locks the unit at reset */

#define SHOWN 16 /* numbers of the first output */

static const int32_t output_sizes[] = {MODEL_OUTPUT_SIZES};

MODEL_ARENAS
static MODEL_CONTEXT context __attribute__((section(".bss.model_context")));

/* For boards without a file of their own: clocks and caches stay as they are after reset. */
__attribute__((weak)) uint32_t board_start(void) {
    return 0;
}

static void start_cycle_counter(void) {
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = DWT_LAR_UNLOCK;
    DWT_CYCCNT = 0;
    DWT_CTRL |= 1u;
}

static void print_number(uint32_t value) {
    char text[12], *p = text + sizeof text;
    *--p = '\0';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    console_print(p);
}

static void print_line(const char *label, uint32_t value, const char *unit) {
    console_print(label);
    print_number(value);
    console_print(unit);
}

#ifdef MODEL_PUSHED_ROWS

static void fill_inputs(void) {
}

static void run_model(void) {
    for (int32_t y = 0; y < MODEL_PUSHED_ROWS; y++) {
        MODEL_PUSH_ROWS(&context, (const void *)(sample + y * MODEL_PUSHED_ROW_SIZE), 1);
    }
}

#else

static void fill_inputs(void) {
    static const int32_t input_sizes[] = {MODEL_INPUT_SIZES};
    const int8_t *from = sample;
    for (int i = 0; i < MODEL_INPUTS; i++) {
        int8_t *input = (int8_t *)MODEL_INPUT(&context, i);
        for (int32_t k = 0; k < input_sizes[i]; k++) {
            input[k] = *from++;
        }
    }
}

static void run_model(void) {
    MODEL_RUN(&context);
}

#endif

/* The number of bytes in all outputs that are not those of the reference. */
static uint32_t count_differences(void) {
    uint32_t differences = 0;
    const int8_t *want = expected;
    for (int i = 0; i < MODEL_OUTPUTS; i++) {
        const int8_t *output = (const int8_t *)MODEL_OUTPUT(&context, i);
        for (int32_t k = 0; k < output_sizes[i]; k++) {
            differences += output[k] != *want++;
        }
    }
    return differences;
}

static void print_output(void) {
    const int8_t *output = (const int8_t *)MODEL_OUTPUT(&context, 0);
    console_print("output");
    for (int32_t k = 0; k < output_sizes[0] && k < SHOWN; k++) {
        console_print(output[k] < 0 ? " -" : " ");
        print_number((uint32_t)(output[k] < 0 ? -output[k] : output[k]));
    }
    console_print(output_sizes[0] > SHOWN ? " ...\n" : "\n");
}

int main(void) {
    const uint32_t clock = board_start();
    MODEL_START(&context);
    fill_inputs();
    start_cycle_counter();
    const uint32_t start = DWT_CYCCNT;
    run_model();
    const uint32_t cycles = DWT_CYCCNT - start;

    console_print("\nmodel " MODEL_NAME "\n");
    print_line("clock ", clock, " Hz\n");
    print_output();
    print_line("differences ", count_differences(), " bytes from the reference\n");
    print_line("cycles ", cycles, "\n");
    console_end();
    return 0;
}
