/* Functions of one float32 number, element by element, among them the usual activation functions.
 *
 * computes       y = clamp(f(x)):
 *                mcuc_identity_f32     x
 *                mcuc_abs_f32          -x if x < 0, else x
 *                mcuc_leakyrelu_f32    x * a if x < 0, else x
 *                mcuc_scale_f32        x * a + b
 *                mcuc_hardsigmoid_f32  x * a + b within [0, 1]
 *                mcuc_hardswish_f32    x * hardsigmoid(x) with a = 1/6, b = 1/2
 *                mcuc_exp_f32          e^x
 *                mcuc_elu_f32          (e^x - 1) * a if x < 0, else x
 *                mcuc_sigmoid_f32      1 / (1 + e^-x)
 *                mcuc_tanh_f32         1 - 2 / (e^(x + x) + 1)
 *                mcuc_swish_f32        x * sigmoid(x * a)
 * layout         rows of `width` numbers
 * preconditions  rows are 4-byte aligned
 * aliasing       number by number, each read before its result is written
 * scratch        none
 * exactness      equals mcucompile.quant.float32.FUNCTIONS. e^x is computed here, without libm.
 */
#ifndef MCUC_FUNCTIONS_F32_H
#define MCUC_FUNCTIONS_F32_H

#include "mcuc/float32.h"

typedef struct {
    int32_t width;
    float a, b;
    float lo, hi;
} mcuc_function_f32_params;

/* e^x = 2^n * e^r with n = nearest(x / ln 2), r = x - n * ln 2, and a polynomial for e^r. */
MCUC_KERNEL float mcuc_exp_of(float x) {
    float n, r, y, power;
    uint32_t bits;
    x = mcuc_clamp_f32(x, -87.0f, 88.0f);
    n = mcuc_rounded(mcuc_add_product(12582912.0f, x, 1.44269502f)) - 12582912.0f;
    r = x - mcuc_rounded(n * 0.693359375f);
    r = r - mcuc_rounded(n * -0.00021219444f);
    y = mcuc_add_product(0.00836892333f, 0.00137513818f, r);
    y = mcuc_add_product(0.0416695327f, y, r);
    y = mcuc_add_product(0.166665182f, y, r);
    y = mcuc_add_product(0.499999881f, y, r);
    y = mcuc_add_product(r, mcuc_rounded(y * r), r) + 1.0f;
    bits = (uint32_t)((int32_t)n + 127) << 23;
    memcpy(&power, &bits, 4);
    return mcuc_rounded(y * power);
}

MCUC_KERNEL float mcuc_sigmoid_of(float x) {
    return 1.0f / (1.0f + mcuc_exp_of(-x));
}

MCUC_KERNEL float mcuc_hardsigmoid_of(float x, float a, float b) {
    return mcuc_clamp_f32(mcuc_add_product(b, x, a), 0.0f, 1.0f);
}

/* A kernel whose result for a number x is `f`. */
#define MCUC_FUNCTION_F32(name, f)                                                                 \
    typedef mcuc_function_f32_params mcuc_##name##_f32_params;                                     \
    MCUC_KERNEL void mcuc_##name##_f32(const mcuc_##name##_f32_params *p, const mcuc_src *in,      \
                                       const mcuc_dst *out, int32_t y0, int32_t y1,                \
                                       void *scratch) {                                            \
        (void)scratch;                                                                             \
        for (int32_t row = y0; row < y1; row++) {                                                  \
            const mcuc_float *from = mcuc_float_src(in, row);                                      \
            mcuc_float *o = mcuc_float_dst(out, row);                                              \
            for (int32_t i = 0; i < p->width; i++) {                                               \
                const float x = from[i];                                                           \
                o[i] = mcuc_clamp_f32(f, p->lo, p->hi);                                            \
            }                                                                                      \
        }                                                                                          \
    }

MCUC_FUNCTION_F32(identity, x)
MCUC_FUNCTION_F32(abs, x < 0.0f ? -x : x)
MCUC_FUNCTION_F32(leakyrelu, x < 0.0f ? x * p->a : x)
MCUC_FUNCTION_F32(scale, mcuc_add_product(p->b, x, p->a))
MCUC_FUNCTION_F32(hardsigmoid, mcuc_hardsigmoid_of(x, p->a, p->b))
MCUC_FUNCTION_F32(hardswish, x *mcuc_hardsigmoid_of(x, 0.166666672f, 0.5f))
MCUC_FUNCTION_F32(exp, mcuc_exp_of(x))
MCUC_FUNCTION_F32(elu, x < 0.0f ? (mcuc_exp_of(x) - 1.0f) * p->a : x)
MCUC_FUNCTION_F32(sigmoid, mcuc_sigmoid_of(x))
MCUC_FUNCTION_F32(tanh, 1.0f - 2.0f / (mcuc_exp_of(x + x) + 1.0f))
MCUC_FUNCTION_F32(swish, x *mcuc_sigmoid_of(x * p->a))

#endif
