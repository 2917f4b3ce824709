/* Runs a compiled model on samples from a file, in one of four modes:
 *
 *     run    every sample: the outputs go to the output file; prints "stack BYTES"
 *     dump   one sample: the rows that each call wrote go to the output file, call after call
 *     count  one sample: prints "total TICKS" for the run and "empty TICKS" for an empty function
 *     steps  one sample: prints "step INDEX TICKS" for each call of a step, then "empty TICKS"
 *
 * A sample is the bytes of all inputs, in order. dump and steps need a model compiled with
 * MCUC_STEP_HOOK. Nothing here calls the C library: library code in an image is the model's.
 */
#include "platform.h"

#define POISON ((int8_t)0xA5)

static const size_t input_sizes[] = {MODEL_INPUT_SIZES};
static const size_t output_sizes[] = {MODEL_OUTPUT_SIZES};

static MODEL_CONTEXT context __attribute__((section(".bss.model_context")));

static void print_number(const char *label, uint32_t value) {
    char text[12], *p = text + sizeof text;
    *--p = '\0';
    do {
        *--p = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    platform_print(label);
    platform_print(p);
}

#ifdef MODEL_PUSHED_ROWS

/* The caller's own copy of the input. */
static int8_t sample[MODEL_INPUT_SIZES] __attribute__((aligned(4)));

static int8_t *input_place(int index) {
    (void)index;
    return sample;
}

static void run_once(MODEL_CONTEXT *ctx) {
    MODEL_BEGIN(ctx);
    MODEL_PUSH_ROWS(ctx, (const void *)sample, MODEL_PUSHED_ROWS);
}

#else

static int8_t *input_place(int index) {
    return (int8_t *)MODEL_INPUT(&context, index);
}

#define run_once MODEL_RUN

#endif

/* A poisoned arena with the next sample in it; 0 if there is none. Nothing that an earlier run left
 * behind can be of use, but for states that it keeps for the next: samples follow each other. */
static int load_sample(void) {
    int8_t *arena = platform_arena();
    for (int32_t i = 0; i < MODEL_ARENA_SIZE - MODEL_STATE_SIZE; i++) {
        arena[i] = POISON;
    }
    for (int i = 0; i < MODEL_INPUTS; i++) {
        if (!platform_read(input_place(i), input_sizes[i])) {
            if (i > 0) {
                platform_fail("the input file ends within a sample");
            }
            return 0;
        }
    }
    return 1;
}

static void load_the_sample(void) {
    if (!load_sample()) {
        platform_fail("the input file is empty");
    }
}

static void run_model(void) {
    platform_call(run_once, &context);
    platform_check_guards();
}

static void run_samples(void) {
    while (load_sample()) {
        run_model();
        for (int i = 0; i < MODEL_OUTPUTS; i++) {
            platform_write(MODEL_OUTPUT(&context, i), output_sizes[i]);
        }
    }
    print_number("stack ", platform_stack_used());
    platform_print("\n");
}

static void empty_run(MODEL_CONTEXT *ctx) {
    (void)ctx;
}

static void count_run(void) {
    load_the_sample();
    print_number("total ", platform_call(run_once, &context));
    print_number("\nempty ", platform_call(empty_run, &context));
    platform_print("\n");
    platform_check_guards();
}

#ifdef MCUC_STEP_HOOK

/* Row y of a result is in slot (y * stride + lead) % rows; a result that is `folded` from that many
 * rows has only row 0, which is there after the last of them. */
typedef struct {
    int32_t step, offset, row_bytes, rows, pitch, stride, lead, folded;
} place;

static const place step_writes[] = {MODEL_STEP_WRITES{MODEL_STEPS, 0, 0, 0, 0, 0, 0, 0}};
static enum { QUIET, DUMPING, COUNTING } reporting;

static void dump_rows(const place *p, int32_t y0, int32_t y1) {
    for (int32_t y = y0; y < y1; y++) {
        const int32_t slot = (y * p->stride + p->lead) % p->rows;
        platform_write(platform_arena() + p->offset + slot * p->pitch, (size_t)p->row_bytes);
    }
}

static void dump_step(int step, int32_t y0, int32_t y1) {
    for (const place *p = step_writes; p->step < MODEL_STEPS; p++) {
        if (p->step == step && p->folded == 0) {
            dump_rows(p, y0, y1);
        } else if (p->step == step && p->folded == y1) {
            dump_rows(p, 0, 1);
        }
    }
}

static void print_step(uint32_t step, uint32_t ticks) {
    if (step < MODEL_STEPS) {
        print_number("step ", step);
    } else {
        platform_print("empty");
    }
    print_number(" ", ticks);
    platform_print("\n");
}

/* Called before (done = 0) and after (done = 1) rows [y0, y1) of each step. The path from one
 * reading of the clock to the next is the same for every step, so that an empty pair of calls
 * measures it. */
__attribute__((noinline)) void mcuc_step_hook(int step, int32_t y0, int32_t y1, int done);
void mcuc_step_hook(int step, int32_t y0, int32_t y1, int done) {
    static volatile uint32_t begun;
    if (!done) {
        begun = platform_ticks();
        return;
    }
    uint32_t ticks = platform_ticks() - begun;
    if (reporting == DUMPING) {
        dump_step(step, y0, y1);
    } else if (reporting == COUNTING) {
        print_step((uint32_t)step, ticks);
    }
}

static void dump_run(void) {
    load_the_sample();
    reporting = DUMPING;
    run_model();
}

/* A step that does nothing, called like the others: nothing else stands between the two calls, and
 * the second is no tail call. */
static __attribute__((noinline)) void empty_step(void) {
    mcuc_step_hook(MODEL_STEPS, 0, 0, 0);
    mcuc_step_hook(MODEL_STEPS, 0, 0, 1);
    __asm__ volatile("" ::: "memory");
}

static void count_steps(void) {
    load_the_sample();
    reporting = COUNTING;
    run_model();
    empty_step();
}

#endif

static const struct {
    const char *name;
    void (*job)(void);
} modes[] = {
    {"run", run_samples},
    {"count", count_run},
#ifdef MCUC_STEP_HOOK
    {"dump", dump_run},
    {"steps", count_steps},
#endif
};

static int same(const char *a, const char *b) {
    while (*a && *a == *b) {
        a++, b++;
    }
    return *a == *b;
}

void harness(const char *mode) {
    MODEL_INIT(&context, platform_arena());
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (same(mode, modes[i].name)) {
            modes[i].job();
            return;
        }
    }
    platform_fail("unknown mode");
}
