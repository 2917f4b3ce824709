/* The digits example with a camera that delivers row by row: the image is never in memory as a
 * whole.
 *
 * The model is compiled with --stream-input. Each row is computed with as soon as it is there; what
 * later rows need is kept, in a few rows per layer.
 */
#include <stdio.h>

#include "digits_rows.h"
#include "samples.h"

#define CLASSES DIGITS_ROWS_OUTPUT0_SIZE
#define WIDTH DIGITS_ROWS_INPUT0_ROW_SIZE

static uint8_t arena[DIGITS_ROWS_ARENA_SIZE] __attribute__((aligned(DIGITS_ROWS_ARENA_ALIGN)));

/* The int8 that stands for `real`: nearest, saturated. */
static int8_t quantize(float real) {
    float q = real / DIGITS_ROWS_INPUT0_SCALE + (float)DIGITS_ROWS_INPUT0_ZERO_POINT;
    int32_t nearest = (int32_t)(q < 0.0f ? q - 0.5f : q + 0.5f);
    return (int8_t)(nearest < -128 ? -128 : nearest > 127 ? 127 : nearest);
}

/* In a firmware: the interrupt of the camera at the end of a line. */
static int row_arrived(digits_rows_context *model, const uint8_t *pixels) {
    int8_t row[WIDTH];
    for (int x = 0; x < WIDTH; x++) {
        row[x] = quantize((float)pixels[x] / 16.0f); /* trained on 0..1 */
    }
    return digits_rows_push_rows(model, row, 1);
}

static int argmax(const int8_t *scores) {
    int best = 0;
    for (int i = 1; i < CLASSES; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

int main(void) {
    digits_rows_context model;
    digits_rows_init(&model, arena);
    int right = 0;
    for (int digit = 0; digit < 10; digit++) {
        digits_rows_begin(&model);
        int rows = 0;
        while (!row_arrived(&model, &sample_images[digit][rows * WIDTH])) {
            rows++;
        }
        int predicted = argmax(digits_rows_output(&model, 0));
        printf("a %d is read as %d after %d rows\n", digit, predicted, rows + 1);
        right += predicted == digit;
    }
    printf("%d of 10 right, %d bytes of arena\n", right, DIGITS_ROWS_ARENA_SIZE);
    return 0;
}
