/* Firmware that reads ten handwritten digits: board support in, predictions out.
 *
 * The same source runs on the host, under QEMU and on a board: all it needs is a printf.
 */
#include <stdio.h>

#include "digits.h"
#include "samples.h"

static uint8_t arena[DIGITS_ARENA_SIZE] __attribute__((aligned(DIGITS_ARENA_ALIGN)));

/* The int8 that stands for `real`: nearest, saturated. */
static int8_t quantize(float real) {
    float q = real / DIGITS_INPUT0_SCALE + (float)DIGITS_INPUT0_ZERO_POINT;
    int32_t nearest = (int32_t)(q < 0.0f ? q - 0.5f : q + 0.5f);
    return (int8_t)(nearest < -128 ? -128 : nearest > 127 ? 127 : nearest);
}

static int32_t argmax(const int8_t *scores, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

int main(void) {
    digits_context model;
    digits_init(&model, arena);
    int right = 0;
    for (int digit = 0; digit < 10; digit++) {
        int8_t *input = digits_input(&model, 0);
        for (int32_t i = 0; i < DIGITS_INPUT0_SIZE; i++) {
            input[i] = quantize((float)sample_images[digit][i] / 16.0f); /* trained on 0..1 */
        }
        digits_run(&model);
        int predicted = (int)argmax(digits_output(&model, 0), DIGITS_OUTPUT0_SIZE);
        printf("a %d is read as %d\n", digit, predicted);
        right += predicted == digit;
    }
    printf("%d of 10 right, %d bytes of arena\n", right, DIGITS_ARENA_SIZE);
    return 0;
}
