/* Runs a compiled model on samples from a file, in one of four modes:
 *
 *     run    every sample: the outputs go to the output file; prints "stack BYTES"
 *     dump   one sample: what each step wrote goes to the output file, step after step
 *     count  one sample: prints "total TICKS" for the run and "empty TICKS" for an empty function
 *     steps  one sample: prints "step INDEX TICKS" for each step and "empty TICKS"
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

/* A poisoned arena with the next sample in it; 0 if there is none. Nothing that an earlier run left
 * behind can be of use. */
static int load_sample(void) {
    int8_t *arena = platform_arena();
    for (int32_t i = 0; i < MODEL_ARENA_SIZE; i++) {
        arena[i] = POISON;
    }
    for (int i = 0; i < MODEL_INPUTS; i++) {
        if (!platform_read(MODEL_INPUT(&context, i), input_sizes[i])) {
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
    platform_call(MODEL_RUN, &context);
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
    print_number("total ", platform_call(MODEL_RUN, &context));
    print_number("\nempty ", platform_call(empty_run, &context));
    platform_print("\n");
    platform_check_guards();
}

#ifdef MCUC_STEP_HOOK

typedef struct {
    int32_t step, offset, size;
} region;

static const region step_writes[] = {MODEL_STEP_WRITES{MODEL_STEPS, 0, 0}};
static volatile uint32_t step_ticks[MODEL_STEPS + 1][2];
static int dumping;

static void dump_step(int step) {
    for (const region *r = step_writes; r->step < MODEL_STEPS; r++) {
        if (r->step == step) {
            platform_write(platform_arena() + r->offset, (size_t)r->size);
        }
    }
}

/* Called before (done = 0) and after (done = 1) each step. The path from one reading of the clock
 * to the next is the same for every step, so that an empty pair of calls measures it. */
void mcuc_step_hook(int step, int done);
void mcuc_step_hook(int step, int done) {
    step_ticks[step][done] = platform_ticks();
    if (dumping && done) {
        dump_step(step);
    }
}

static void dump_run(void) {
    load_the_sample();
    dumping = 1;
    run_model();
}

/* A step that does nothing, called like the others: nothing else stands between the two calls, and
 * the second is no tail call. */
static __attribute__((noinline)) void empty_step(void) {
    mcuc_step_hook(MODEL_STEPS, 0);
    mcuc_step_hook(MODEL_STEPS, 1);
    __asm__ volatile("" ::: "memory");
}

static void count_steps(void) {
    load_the_sample();
    run_model();
    empty_step();
    for (uint32_t i = 0; i <= MODEL_STEPS; i++) {
        if (i < MODEL_STEPS) {
            print_number("step ", i);
        } else {
            platform_print("empty");
        }
        print_number(" ", step_ticks[i][1] - step_ticks[i][0]);
        platform_print("\n");
    }
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
