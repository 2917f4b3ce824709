/* mcuc: the kernel runtime of mcucompile. Types that every kernel shares.
 *
 * A kernel is a `static inline` function
 *
 *     void mcuc_<kernel>(const mcuc_<kernel>_params *p, const mcuc_src *in, const mcuc_dst *out,
 *                        int32_t y0, int32_t y1, void *scratch)
 *
 * that computes output rows [y0, y1) from the tensors in[0..] to the tensors out[0..]. A tensor is
 * seen as rows that may sit whole in memory or in a ring of a few rows, so that whole-layer, row by
 * row and patch by patch execution are the same kernel. Parameters are compile-time constants
 * where the generated code inlines the kernel into one function per layer, and run-time values
 * where layers share one function.
 */
#ifndef MCUC_H
#define MCUC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Generated code names the ABI it was generated for; a difference stops the compilation. */
#define MCUC_RUNTIME_ABI 1

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "mcuc kernels need a little-endian core"
#endif

/* Kernels must inline so that their parameters fold. */
#define MCUC_KERNEL static inline __attribute__((always_inline, unused))

/* For the part of a kernel that gains nothing from constant parameters: one copy for all layers. */
#define MCUC_SHARED static __attribute__((noinline, unused))

/* Makes the C compiler forget what it knows about memory: values it had loaded are loaded again. */
#define MCUC_FORGET_MEMORY() __asm__ volatile("" ::: "memory")

/* Hides what the C compiler knows about a pointer: of the accesses of an unrolled loop it would
 * compute every address beforehand, and keep them on the stack. */
#define MCUC_OPAQUE(pointer) __asm__ volatile("" : "+r"(pointer))

/* Keeps a variable out of the registers at this place: unrolled products need them all, and gcc
 * would hold constants, pointers and counters of outer loops in some. */
#define MCUC_IN_MEMORY(variable) __asm__("" : "+m"(variable))

/* Host debug builds check what the compiler guarantees. */
#ifdef MCUC_DEBUG
#include <assert.h>
#define MCUC_REQUIRE(condition) assert(condition)
#else
#define MCUC_REQUIRE(condition) ((void)0)
#endif

/* A tensor that is read: row y starts at base + (y % rows) * stride bytes.
 * rows is the tensor's height where it is whole, the ring's height where it is not. */
typedef struct {
    const int8_t *base;
    int32_t stride;
    int32_t rows;
} mcuc_src;

/* A tensor that is written; see mcuc_src. */
typedef struct {
    int8_t *base;
    int32_t stride;
    int32_t rows;
} mcuc_dst;

MCUC_KERNEL const int8_t *mcuc_src_row(const mcuc_src *t, int32_t y) {
    return t->base + (y % t->rows) * t->stride;
}

MCUC_KERNEL int8_t *mcuc_dst_row(const mcuc_dst *t, int32_t y) {
    return t->base + (y % t->rows) * t->stride;
}

#if defined(__ARM_FEATURE_DSP) && !defined(MCUC_PORTABLE)
#include "mcuc/arch/dsp.h"
#else
#include "mcuc/arch/portable.h"
#endif

#include "mcuc/arch/common.h"

#endif
