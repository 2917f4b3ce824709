/* Firmware that feels: readings of an accelerometer in, the gesture out.
 *
 * It works on a sliding window: after every quarter of a window of new readings the model sees the
 * last 64. The same source runs on the host, under QEMU and on a board: all it needs is a printf,
 * and next_reading() replaced by the sensor.
 */
#include <stdio.h>

#include "gestures.h"
#include "samples.h"

#define CLASSES GESTURES_OUTPUT0_SIZE
#define AXES 3
#define WINDOW (GESTURES_INPUT0_SIZE / AXES)
#define HOP (WINDOW / 4)

static const char *const names[CLASSES] = {"still", "circle", "shake", "knock"};
static uint8_t arena[GESTURES_ARENA_SIZE] __attribute__((aligned(GESTURES_ARENA_ALIGN)));
static int8_t window[WINDOW * AXES]; /* a run overwrites its input, so the readings stay here */

/* The int8 that stands for `real`: nearest, saturated. */
static int8_t quantize(float real) {
    float q = real / GESTURES_INPUT0_SCALE + (float)GESTURES_INPUT0_ZERO_POINT;
    int32_t nearest = (int32_t)(q < 0.0f ? q - 0.5f : q + 0.5f);
    return (int8_t)(nearest < -128 ? -128 : nearest > 127 ? 127 : nearest);
}

/* x, y, z in 1/1000 g. */
static const int16_t *next_reading(int which, int32_t time) {
    return &sample_windows[which][time * AXES];
}

static void push_reading(const int16_t *reading) {
    for (int32_t i = 0; i < (WINDOW - 1) * AXES; i++) {
        window[i] = window[i + AXES];
    }
    for (int32_t axis = 0; axis < AXES; axis++) {
        window[(WINDOW - 1) * AXES + axis] = quantize((float)reading[axis] / 1000.0f);
    }
}

static int recognize(gestures_context *model) {
    int8_t *input = gestures_input(model, 0);
    for (int32_t i = 0; i < GESTURES_INPUT0_SIZE; i++) {
        input[i] = window[i];
    }
    gestures_run(model);
    const int8_t *scores = gestures_output(model, 0);
    int best = 0;
    for (int i = 1; i < CLASSES; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

int main(void) {
    gestures_context model;
    gestures_init(&model, arena);
    int right = 0;
    for (int which = 0; which < CLASSES; which++) {
        int felt = 0;
        printf("%s:", names[which]);
        for (int32_t time = 0; time < WINDOW; time++) {
            push_reading(next_reading(which, time));
            if ((time + 1) % HOP == 0) {
                felt = recognize(&model);
                printf(" %s", names[felt]);
            }
        }
        printf("\n");
        right += felt == which; /* when the window holds nothing else */
    }
    printf("%d of %d right, %d bytes of arena\n", right, CLASSES, GESTURES_ARENA_SIZE);
    return 0;
}
