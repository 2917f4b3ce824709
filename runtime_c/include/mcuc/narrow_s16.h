/* mcuc_narrow_s16: int16 numbers become int8 numbers of another scale.
 *
 * computes       y = sat8(zp + (x * m + 2^(shift-1) >> shift))
 * layout         rows of `width` numbers
 * preconditions  int16 rows are 2-byte aligned
 * aliasing       number by number, each is read before its result is written
 * scratch        none
 * exactness      equals mcucompile.quant.wide.WideRule
 */
#ifndef MCUC_NARROW_S16_H
#define MCUC_NARROW_S16_H

#include "mcuc/wide.h"

typedef struct {
    int32_t width;
    int32_t m, shift, zp;
} mcuc_narrow_s16_params;

MCUC_KERNEL void mcuc_narrow_s16(const mcuc_narrow_s16_params *p, const mcuc_src *in,
                                 const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {
    (void)scratch;
    for (int32_t y = y0; y < y1; y++) {
        const int8_t *x = mcuc_src_row(in, y);
        int8_t *o = mcuc_dst_row(out, y);
        for (int32_t i = 0; i < p->width; i++) {
            const int32_t v = mcuc_wide_get(x, i, 16);
            o[i] = (int8_t)mcuc_wide_scale(v, p->m, p->shift, p->zp, -128, 127);
        }
    }
}

#endif
