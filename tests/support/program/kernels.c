/* Calls kernels on the cases of in.bin, each in several ways, and writes every result to out.bin.
 *
 * All operands, results, constants and scratch lie in blocks of exactly their size. Results and
 * scratch are filled with noise before each call. in.bin (int32 numbers, arrays of bytes):
 *
 *     cases, then for each case
 *         kernel, its parameters in order (a constant: size, bytes)
 *         reads, then for each: rows, bytes of a row, the earlier operand that is the same, or -1
 *         writes, then for each: rows, bytes of a row
 *         bytes of scratch
 *         ways, then for each: kind, argument
 *         of a ring: rows it holds, stride, divide, top, reach (see KIND_RING)
 *         samples, then for each: the bytes of all operands that are no earlier one
 */
#include <string.h>

#include "kernels.h"
#include "program.h"

#define MAX_OPERANDS 8
#define MAX_WAYS 8

enum {
    KIND_WHOLE,    /* all rows in one call */
    KIND_BANDS,    /* `argument` rows per call */
    KIND_IN_PLACE, /* the first result in the bytes of operand `argument` */
    KIND_RING,  /* row by row, operand 0 in a ring into which rows come just before the output row
                   that needs them: y needs those before row y * stride / divide - top + reach */
    KIND_FOLDS, /* `argument` rows of operand 0 per call, in a ring of so many */
    KIND_BELOW, /* all rows in one call, the first result `argument` bytes below operand 0 */
    KIND_TOP,   /* as KIND_RING, the result in place of the first row that was needed */
};

typedef struct {
    int32_t rows, row_bytes, same_as;
    int8_t *sample;
} operand;

static const kernel *tested;
static const void *params;
static operand reads[MAX_OPERANDS], writes[MAX_OPERANDS];
static int32_t read_count, write_count, scratch_bytes;
static int32_t ring_rows, ring_stride, ring_divide, ring_top, ring_reach;
static uint8_t noise;

int32_t number(void) {
    int32_t value;
    read_input(&value, sizeof value);
    return value;
}

float real(void) {
    float value;
    read_input(&value, sizeof value);
    return value;
}

const void *constant(void) {
    size_t size = (size_t)number();
    void *data = allocate(size);
    read_input(data, size);
    return data;
}

static int32_t count(int32_t limit) {
    int32_t n = number();
    if (n < 0 || n > limit) {
        fail("in.bin is wrong");
    }
    return n;
}

static size_t bytes(const operand *o) {
    return (size_t)o->rows * (size_t)o->row_bytes;
}

static void *noisy_block(size_t size) {
    return memset(allocate(size), noise, size);
}

static void disturb(void *scratch) {
    if (scratch) {
        memset(scratch, noise, (size_t)scratch_bytes);
    }
}

static void call(const mcuc_src *in, const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    disturb(scratch);
    tested->call(params, in, out, y0, y1, scratch);
}

static void call_in_bands(const mcuc_src *in, const mcuc_dst *out, void *scratch, int32_t band) {
    int32_t rows = writes[0].rows;
    for (int32_t y = 0; y < rows; y += band) {
        call(in, out, y, y + band < rows ? y + band : rows, scratch);
    }
}

/* Scratch keeps what it has between the calls. */
static void call_folding(mcuc_src *in, const mcuc_dst *out, void *scratch, int32_t band) {
    const operand *x = &reads[0];
    int8_t *ring = noisy_block((size_t)band * (size_t)x->row_bytes);
    in[0] = (mcuc_src){ring, x->row_bytes, band};
    disturb(scratch);
    for (int32_t y = 0; y < x->rows; y += band) {
        int32_t end = y + band < x->rows ? y + band : x->rows;
        copy(ring, x->sample + y * x->row_bytes, (size_t)(end - y) * (size_t)x->row_bytes);
        tested->call(params, in, out, y, end, scratch);
    }
}

/* Row by row, which leaves nothing of a result but its last row. */
static void call_in_ring(mcuc_src *in, mcuc_dst *out, void *scratch, int32_t on_top) {
    const operand *x = &reads[0], *y = &writes[0];
    size_t in_row = (size_t)x->row_bytes, out_row = (size_t)y->row_bytes;
    int8_t *ring = noisy_block((size_t)ring_rows * in_row);
    in[0] = (mcuc_src){ring, x->row_bytes, ring_rows};
    out[0] = (mcuc_dst){noisy_block(out_row), y->row_bytes, 1};
    for (int32_t row = 0, have = 0; row < y->rows; row++) {
        int32_t need = row * ring_stride / ring_divide - ring_top + ring_reach;
        for (; have < need && have < x->rows; have++) {
            copy(ring + have % ring_rows * x->row_bytes, x->sample + have * x->row_bytes, in_row);
        }
        if (on_top) {
            int32_t top = row * ring_stride - ring_top;
            out[0].base = ring + (top % ring_rows + ring_rows) % ring_rows * x->row_bytes;
        }
        call(in, out, row, row + 1, scratch);
        write_output(out[0].base, out_row);
    }
}

static void run(int32_t kind, int32_t argument) {
    size_t before = allocated();
    mcuc_src in[MAX_OPERANDS] = {{0}};
    mcuc_dst out[MAX_OPERANDS] = {{0}};
    int8_t *copies[MAX_OPERANDS];
    int32_t shared = kind == KIND_IN_PLACE ? argument : -1;
    void *scratch = scratch_bytes ? allocate((size_t)scratch_bytes) : NULL;
    noise = (uint8_t)(noise * 5 + 0x55);
    for (int32_t i = 0; i < read_count; i++) {
        const operand *o = &reads[i];
        size_t size = bytes(o), result = bytes(&writes[0]);
        if (o->same_as < 0) {
            copies[i] = noisy_block(i == shared && result > size ? result : size);
            copy(copies[i], o->sample, size);
        } else {
            copies[i] = copies[o->same_as];
        }
        in[i] = (mcuc_src){copies[i], o->row_bytes, o->rows};
    }
    if (kind == KIND_BELOW) {
        size_t size = bytes(&reads[0]), result = bytes(&writes[0]), below = (size_t)argument;
        int8_t *block = noisy_block(below + size > result ? below + size : result);
        copy(block + below, reads[0].sample, size);
        in[0].base = block + below;
        out[0] = (mcuc_dst){block, writes[0].row_bytes, writes[0].rows};
        call(in, out, 0, writes[0].rows, scratch);
        write_output(block, result);
    } else if (kind == KIND_RING || kind == KIND_TOP) {
        call_in_ring(in, out, scratch, kind == KIND_TOP);
    } else {
        for (int32_t i = 0; i < write_count; i++) {
            int8_t *base = i == 0 && shared >= 0 ? copies[shared] : noisy_block(bytes(&writes[i]));
            out[i] = (mcuc_dst){base, writes[i].row_bytes, writes[i].rows};
        }
        if (kind == KIND_FOLDS) {
            call_folding(in, out, scratch, argument);
        } else {
            call_in_bands(in, out, scratch, kind == KIND_BANDS ? argument : writes[0].rows);
        }
        for (int32_t i = 0; i < write_count; i++) {
            write_output(out[i].base, bytes(&writes[i]));
        }
    }
    for (int32_t i = 0; i < read_count; i++) {
        if (shared < 0 && memcmp(copies[i], reads[i].sample, bytes(&reads[i])) != 0) {
            fail("an operand was changed");
        }
    }
    release(before);
}

static void read_operands(void) {
    read_count = count(MAX_OPERANDS);
    for (int32_t i = 0; i < read_count; i++) {
        reads[i].rows = number();
        reads[i].row_bytes = number();
        reads[i].same_as = number();
    }
    write_count = count(MAX_OPERANDS);
    for (int32_t i = 0; i < write_count; i++) {
        writes[i].rows = number();
        writes[i].row_bytes = number();
    }
    scratch_bytes = number();
}

static void read_sample(void) {
    for (int32_t i = 0; i < read_count; i++) {
        operand *o = &reads[i];
        if (o->same_as < 0) {
            o->sample = allocate(bytes(o));
            read_input(o->sample, bytes(o));
        } else {
            o->sample = reads[o->same_as].sample;
        }
    }
}

static void run_case(void) {
    int32_t ways[MAX_WAYS][2];
    tested = kernels[number()];
    params = tested->params();
    read_operands();
    int32_t way_count = count(MAX_WAYS);
    for (int32_t i = 0; i < way_count; i++) {
        ways[i][0] = number();
        ways[i][1] = number();
    }
    ring_rows = number();
    ring_stride = number();
    ring_divide = number();
    ring_top = number();
    ring_reach = number();
    for (int32_t samples = number(); samples > 0; samples--) {
        size_t before = allocated();
        read_sample();
        for (int32_t i = 0; i < way_count; i++) {
            run(ways[i][0], ways[i][1]);
        }
        release(before);
    }
    release(0);
}

void test(void) {
    for (int32_t cases = number(); cases > 0; cases--) {
        run_case();
    }
}
