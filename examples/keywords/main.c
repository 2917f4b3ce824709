/* Firmware that listens: a quarter of a second of audio in, what was heard out.
 *
 * The model takes the samples of the microphone as they are: its first layer is a learned filter
 * bank. The same source runs on the host, under QEMU and on a board: all it needs is a printf, and
 * record() replaced by the microphone.
 */
#include <stdio.h>

#include "keywords.h"
#include "samples.h"

#define CLASSES KEYWORDS_OUTPUT0_SIZE

static const char *const names[CLASSES] = {"noise", "rising", "falling", "warble"};
static uint8_t arena[KEYWORDS_ARENA_SIZE] __attribute__((aligned(KEYWORDS_ARENA_ALIGN)));

/* The int8 that stands for `real`: nearest, saturated. */
static int8_t quantize(float real) {
    float q = real / KEYWORDS_INPUT0_SCALE + (float)KEYWORDS_INPUT0_ZERO_POINT;
    int32_t nearest = (int32_t)(q < 0.0f ? q - 0.5f : q + 0.5f);
    return (int8_t)(nearest < -128 ? -128 : nearest > 127 ? 127 : nearest);
}

/* Puts a clip where the model takes it from. Trained on -1..1, the microphone gives -127..127. */
static void record(int8_t *input, int which) {
    for (int32_t i = 0; i < KEYWORDS_INPUT0_SIZE; i++) {
        input[i] = quantize((float)sample_clips[which][i] / 127.0f);
    }
}

static int argmax(const int8_t *scores) {
    int best = 0;
    for (int i = 1; i < CLASSES; i++) {
        best = scores[i] > scores[best] ? i : best;
    }
    return best;
}

int main(void) {
    keywords_context model;
    keywords_init(&model, arena);
    int right = 0;
    for (int which = 0; which < CLASSES; which++) {
        record(keywords_input(&model, 0), which);
        keywords_run(&model);
        int heard = argmax(keywords_output(&model, 0));
        printf("%s: heard %s\n", names[which], names[heard]);
        right += heard == which;
    }
    printf("%d of %d right, %d bytes of arena\n", right, CLASSES, KEYWORDS_ARENA_SIZE);
    return 0;
}
