/* The arch primitives against what they are meant to compute.
 *
 * The same source runs on the host (portable) and under QEMU (portable and dsp), so that every
 * core family gives the same numbers. First known values, written out by hand; then each primitive
 * against its definition in 64-bit arithmetic, on extreme and pseudo-random operands.
 * Prints one line per failure and returns how many there were, at most 1 as an exit status.
 */
#include <stdio.h>

#include "mcuc/mcuc.h"

static int failures;

static void check(int line, const char *what, int64_t have, int64_t want) {
    if (have != want) {
        failures++;
        if (failures <= 20) {
            printf("test_arch.c:%d: %s is %ld, not %ld\n", line, what, (long)have, (long)want);
        }
    }
}

#define CHECK(have, want) check(__LINE__, #have, (int64_t)(have), (int64_t)(want))

static void known_values(void) {
    CHECK(mcuc_lo16(0x1234FFFEu), -2);
    CHECK(mcuc_hi16(0x80001234u), -32768);
    CHECK(mcuc_pack16(-2, 3), 0x0003FFFEu);
    CHECK(mcuc_even8(0x7F80FF01u), 0xFF800001u);
    CHECK(mcuc_odd8(0x7F80FF01u), 0x007FFFFFu);
    CHECK(mcuc_odd8_swapped(0x7F80FF01u), 0xFFFF007Fu);
    CHECK(mcuc_pack_lo(0x11112222u, 0x33334444u), 0x44442222u);
    CHECK(mcuc_pack_hi(0x11112222u, 0x33334444u), 0x33331111u);

    uint32_t a = mcuc_pack16(3, -5);
    uint32_t b = mcuc_pack16(-7, 11);
    CHECK(mcuc_smlad(a, b, 100), 100 - 21 - 55);
    CHECK(mcuc_smlabb(a, b, 100), 100 - 21);
    CHECK(mcuc_smlatb(a, b, 100), 100 + 35);
    CHECK(mcuc_smlabt(a, b, 100), 100 + 33);
    CHECK(mcuc_smlatt(a, b, 100), 100 - 55);

    a = mcuc_pack16(-32768, -32768);
    CHECK(mcuc_smlad_wrap(a, a, -1), INT32_MAX);
    CHECK(mcuc_even8_add(0x7FFF8000u, 0x00010080u), 0x80007F80u);
    CHECK(mcuc_odd8_add(0x7FFF8000u, 0x01008000u), 0x80007F80u);
    CHECK(mcuc_join8(-1, 2, -128, 127), 0x7F8002FFu);
    CHECK(mcuc_usat8x2(0xFFFF0100u), 0x000000FFu);
    CHECK(mcuc_usat8x2(0x00FE8000u), 0x00FE0000u);
    CHECK(mcuc_max8x4(0x7F80FF05u, 0x80000106u), 0x7F000106u);
    CHECK(mcuc_min8x4(0x7F80FF05u, 0x80000106u), 0x8080FF05u);
    CHECK(mcuc_clamp8x4(0x7F80FF05u, -10, 100), 0x64F6FF05u);
    CHECK(mcuc_clamp8x4(0x7F80FF05u, -128, 127), 0x7F80FF05u);
    CHECK(mcuc_shift_sat8(-1, 3), -1);
    CHECK(mcuc_shift_sat8(1024, 3), 127);
    CHECK(mcuc_shift_sat8(-1032, 3), -128);
    CHECK(mcuc_shift_sat8(1000, 0), 127);

    /* One half rounds up, also below zero. */
    CHECK(mcuc_mul_round(1, 0x40000000, 0), 0);
    CHECK(mcuc_mul_round(2, 0x40000000, 0), 1);
    CHECK(mcuc_mul_round(-2, 0x40000000, 0), 0);
    CHECK(mcuc_mul_round(-3, 0x40000000, 0), -1);
    CHECK(mcuc_mul_round(INT32_MIN, INT32_MAX, 7), 7 - 1073741823);
    CHECK(mcuc_mul_round(INT32_MAX, INT32_MAX, -7), -7 + 1073741823);

    /* One half rounds to even. */
    CHECK(mcuc_mul_round_even(1, INT32_MIN, 5), 5);
    CHECK(mcuc_mul_round_even(-1, INT32_MIN, 5), 5);
    CHECK(mcuc_mul_round_even(3, INT32_MIN, 5), 3);
    CHECK(mcuc_mul_round_even(2, 0x40000000, 0), 0);
    CHECK(mcuc_mul_round_even(6, 0x40000000, 0), 2);
    CHECK(mcuc_mul_round_even(-6, 0x40000000, 0), -2);
    CHECK(mcuc_mul_round_even(7, 0x40000000, 0), 2);
    CHECK(mcuc_mul_round_even(-7, 0x40000000, 0), -2);

    /* No rounding: towards minus infinity. */
    CHECK(mcuc_mul_floor(3, 0x40000000, 5), 5);
    CHECK(mcuc_mul_floor(-3, 0x40000000, 5), 4);

    CHECK(mcuc_sat8(127), 127);
    CHECK(mcuc_sat8(128), 127);
    CHECK(mcuc_sat8(INT32_MAX), 127);
    CHECK(mcuc_sat8(-128), -128);
    CHECK(mcuc_sat8(-129), -128);
    CHECK(mcuc_sat8(INT32_MIN), -128);

    CHECK(mcuc_sat16(32767), 32767);
    CHECK(mcuc_sat16(32768), 32767);
    CHECK(mcuc_sat16(-32768), -32768);
    CHECK(mcuc_sat16(INT32_MIN), -32768);

    CHECK(mcuc_clamp(-11, -10, 100), -10);
    CHECK(mcuc_clamp(101, -10, 100), 100);
    CHECK(mcuc_clamp(99, -10, 100), 99);
    CHECK(mcuc_limit8(-50, -10, 100), -10);
    CHECK(mcuc_limit8(120, -10, 100), 100);
    CHECK(mcuc_limit8(-128, -128, 127), -128);
    CHECK(mcuc_clamp8(200, -128, 127), 127);
    CHECK(mcuc_clamp8(-200, -128, 127), -128);
    CHECK(mcuc_clamp8(-50, -10, 100), -10);
    CHECK(mcuc_clamp8(120, -10, 100), 100);
    CHECK(mcuc_clamp8(5, -10, 100), 5);

    /* Multiplier 1/2 (m = 2^30, shift 1), zero-point -3. */
    CHECK(mcuc_requant(20, 0x40000000, 1, -3, -128, 127), 7);
    CHECK(mcuc_requant(21, 0x40000000, 1, -3, -128, 127), 8);
    CHECK(mcuc_requant(-21, 0x40000000, 1, -3, -128, 127), -13);
    CHECK(mcuc_requant(1000, 0x40000000, 1, -3, -3, 100), 100);
    CHECK(mcuc_requant(-1000, 0x40000000, 1, -3, -3, 100), -3);
    CHECK(mcuc_is_shifted(0), 0);
    CHECK(mcuc_is_shifted(1), 1);
    CHECK(mcuc_rescale_apply(mcuc_rescale_plain(-3), 22, INT32_MAX), 8);

    /* TFLite: one half up, then one half away from zero. */
    CHECK(mcuc_tflite_scale(101, 1 << 30, 0), 51);
    CHECK(mcuc_tflite_scale(-101, 1 << 30, 0), -50);
    CHECK(mcuc_tflite_scale(101, 1 << 30, -1), 26);
    CHECK(mcuc_tflite_scale(-102, 1 << 30, -1), -26);
    CHECK(mcuc_tflite_scale(3, 1 << 30, 1), 3);
    mcuc_rescale rescale = {1, -3, -10, 7};
    CHECK(mcuc_rescale_apply(rescale, 21, 0x40000000), 7);
    CHECK(mcuc_rescale_apply(mcuc_rescale_plain(5), 40, 0x40000000), 15);
}

static void words_and_rows(void) {
    uint32_t words[2] = {0x04030201u, 0x08070605u};
    int8_t bytes[8];
    memcpy(bytes, words, sizeof bytes);
    CHECK(bytes[0], 1);
    CHECK(mcuc_load32(&words[1]), 0x08070605u);
    mcuc_store32(&words[0], 0xFFFEFDFCu);
    CHECK(words[0], 0xFFFEFDFCu);
    mcuc_store16((char *)&words[0] + 2, -2);
    CHECK(words[0], 0xFFFEFDFCu);
    mcuc_store16(&words[0], 0x12345);
    CHECK(words[0], 0xFFFE2345u);
    uint32_t first, second;
    mcuc_load_pair(words, &first, &second);
    CHECK(first, 0xFFFE2345u);
    CHECK(second, 0x08070605u);
    mcuc_store_pair(words, 0x11223344u, 0x55667788u);
    CHECK(words[0], 0x11223344u);
    CHECK(words[1], 0x55667788u);
    uint32_t four[4];
    CHECK(mcuc_store_four(four, 1, 2, 3, 4) - four, 4);
    CHECK(four[0] + 10 * four[1] + 100 * four[2] + 1000 * four[3], 4321);
    CHECK(mcuc_is_aligned(&words[1]), 1);
    CHECK(mcuc_is_aligned((char *)&words[1] + 2), 0);

    /* A ring of three rows: row 4 sits where row 1 sat. */
    int8_t ring[12];
    mcuc_src src = {ring, 4, 3};
    mcuc_dst dst = {ring, 4, 3};
    CHECK(mcuc_src_row(&src, 2) - ring, 8);
    CHECK(mcuc_src_row(&src, 4) - ring, 4);
    CHECK(mcuc_dst_row(&dst, 4) - ring, 4);
}

/* Half of the operands are extreme, the others come from a linear congruential generator. */
static uint32_t operand(void) {
    static const uint32_t extreme[] = {0u,          1u,          0xFFFFFFFFu, 0x80000000u,
                                       0x7FFFFFFFu, 0x80008000u, 0x7FFF7FFFu, 0x00FF00FFu,
                                       0x80808080u, 0x7F7F7F7Fu, 0xFF00FF00u, 0x0000FFFFu};
    static uint32_t state = 1u;
    state = state * 1664525u + 1013904223u;
    uint32_t choice = state >> 16;
    state = state * 1664525u + 1013904223u;
    return choice % 2 == 0 ? extreme[choice / 2 % 12] : state;
}

static int64_t s8(uint32_t word, int byte) {
    int64_t v = (word >> (8 * byte)) & 0xFFu;
    return v >= 128 ? v - 256 : v;
}

static int64_t s16(uint32_t word, int half) {
    int64_t v = (word >> (16 * half)) & 0xFFFFu;
    return v >= 32768 ? v - 65536 : v;
}

static int64_t s32(uint32_t word) {
    return word >= 0x80000000u ? (int64_t)word - 0x100000000LL : (int64_t)word;
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a >= 0 ? a / b : -((-a + b - 1) / b);
}

static int64_t limit(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* A word of the low halves of two numbers. */
static int64_t lanes(int64_t lo, int64_t hi) {
    return (lo & 0xFFFF) | (hi & 0xFFFF) << 16;
}

static void lanes_of(uint32_t a, uint32_t b) {
    CHECK(mcuc_lo16(a), s16(a, 0));
    CHECK(mcuc_hi16(a), s16(a, 1));
    CHECK(mcuc_even8(a), lanes(s8(a, 0), s8(a, 2)));
    CHECK(mcuc_odd8(a), lanes(s8(a, 1), s8(a, 3)));
    CHECK(mcuc_odd8_swapped(a), lanes(s8(a, 3), s8(a, 1)));
    CHECK(mcuc_pack16((int32_t)s16(a, 0), (int32_t)s16(b, 1)), lanes(s16(a, 0), s16(b, 1)));
    CHECK(mcuc_pack_lo(a, b), lanes(s16(a, 0), s16(b, 0)));
    CHECK(mcuc_pack_hi(a, b), lanes(s16(a, 1), s16(b, 1)));
    CHECK(mcuc_add16x2(a, b), lanes(s16(a, 0) + s16(b, 0), s16(a, 1) + s16(b, 1)));
    CHECK(mcuc_sub16x2(a, b), lanes(s16(a, 0) - s16(b, 0), s16(a, 1) - s16(b, 1)));
    CHECK(mcuc_even8_add(a, b), lanes(s16(a, 0) + s8(b, 0), s16(a, 1) + s8(b, 2)));
    CHECK(mcuc_odd8_add(a, b), lanes(s16(a, 0) + s8(b, 1), s16(a, 1) + s8(b, 3)));
    CHECK(mcuc_usat8x2(a), lanes(limit(s16(a, 0), 0, 255), limit(s16(a, 1), 0, 255)));
}

static void bytes_of(uint32_t a, uint32_t b, int32_t lo, int32_t hi) {
    uint32_t larger = mcuc_max8x4(a, b);
    uint32_t smaller = mcuc_min8x4(a, b);
    uint32_t clamped = mcuc_clamp8x4(a, lo, hi);
    for (int i = 0; i < 4; i++) {
        CHECK(s8(larger, i), s8(a, i) > s8(b, i) ? s8(a, i) : s8(b, i));
        CHECK(s8(smaller, i), s8(a, i) < s8(b, i) ? s8(a, i) : s8(b, i));
        CHECK(s8(clamped, i), limit(s8(a, i), lo, hi));
    }
    CHECK(mcuc_join8((int32_t)a, (int32_t)(a >> 8), (int32_t)(a >> 16), (int32_t)(a >> 24)), a);
}

/* Sums of two products stay within int32 because one factor is an int8; acc leaves the room. */
static void sums_of(uint32_t a, uint32_t b, int32_t acc) {
    CHECK(mcuc_smlabb(a, b, acc), acc + s16(a, 0) * s16(b, 0));
    CHECK(mcuc_smlatb(a, b, acc), acc + s16(a, 1) * s16(b, 0));
    CHECK(mcuc_smlatb_from(a, b, acc), acc + s16(a, 1) * s16(b, 0));
    CHECK(mcuc_smlabt(a, b, acc), acc + s16(a, 0) * s16(b, 1));
    CHECK(mcuc_smlatt(a, b, acc), acc + s16(a, 1) * s16(b, 1));
    uint32_t w = mcuc_even8(b);
    int64_t dot = acc + s16(a, 0) * s16(w, 0) + s16(a, 1) * s16(w, 1);
    CHECK(mcuc_smlad(a, w, acc), dot);
    CHECK(mcuc_smlawb((int32_t)b, a, acc), acc + floor_div(s32(b) * s16(a, 0), 1 << 16));
    CHECK(mcuc_smlawt((int32_t)b, a, acc), acc + floor_div(s32(b) * s16(a, 1), 1 << 16));
    int64_t wide = (int64_t)a + s16(a, 0) * s16(b, 0) + s16(a, 1) * s16(b, 1);
    CHECK((uint32_t)mcuc_smlad_wrap(a, b, (int32_t)a), wide & 0xFFFFFFFF);
    CHECK((uint32_t)mcuc_smlad_from(a, b, (int32_t)a), wide & 0xFFFFFFFF);
}

static void rounding_of(int32_t x, int32_t m, int32_t zp, int32_t shift) {
    int64_t rounded = zp + floor_div((int64_t)x * m + 0x80000000LL, 0x100000000LL);
    CHECK(mcuc_mul_round(x, m, zp), rounded);
    CHECK(mcuc_mul_floor(x, m, zp), zp + floor_div((int64_t)x * m, 0x100000000LL));
    CHECK(mcuc_requant(x, m, 0, zp, -128, 127), limit(rounded, -128, 127));
    CHECK(mcuc_requant(x, m, 0, zp, -50, 50), limit(rounded, -50, 50));
    CHECK(mcuc_sat8(x), limit(x, -128, 127));
    CHECK(mcuc_sat16(x), limit(x, -32768, 32767));
    CHECK(mcuc_shift_sat8(x, 11), limit(floor_div(x, 1 << 11), -128, 127));
    CHECK(mcuc_shift_sat8(x, shift), limit(floor_div(x, 1LL << shift), -128, 127));
}

/* Twice rounded: to an integer, one half up, then to a multiple of 2^right, one half away. */
static void tflite_rounding_of(int32_t x, int32_t m, int32_t right) {
    const int64_t once = floor_div((int64_t)x * m + (1 << 30), 0x80000000LL);
    const int64_t size = once < 0 ? -once : once;
    const int64_t twice = right == 0 ? size : (size + (1LL << (right - 1))) >> right;
    CHECK(mcuc_tflite_scale(x, m, -right), once < 0 ? -twice : twice);
}

static void definitions(void) {
    for (int i = 0; i < 20000; i++) {
        uint32_t a = operand();
        uint32_t b = operand();
        int32_t zp = (int32_t)s8((uint32_t)i, 0);
        lanes_of(a, b);
        bytes_of(a, b, zp, zp < 100 ? zp + 27 : 127);
        sums_of(a, b, (int32_t)limit(s32(operand()), -(1 << 29), 1 << 29));
        rounding_of((int32_t)s32(a), (int32_t)(b & 0x7FFFFFFFu), zp, i % 31);
        tflite_rounding_of((int32_t)s32(a), (int32_t)(b & 0x7FFFFFFFu), i % 31);
    }
}

int main(void) {
    known_values();
    words_and_rows();
    definitions();
    printf("test_arch: %d failures\n", failures);
    return failures != 0;
}
