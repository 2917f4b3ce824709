/* Which positions of a sliding window are inside. */
#ifndef MCUC_TAPS_H
#define MCUC_TAPS_H

#include "mcuc/mcuc.h"

/* Positions [first, end) of a window on one axis. */
typedef struct {
    int32_t first, end;
} mcuc_taps;

/* Those of `taps` positions start, start + dilation, ... that lie in [lo, hi). */
MCUC_KERNEL mcuc_taps mcuc_taps_within(int32_t start, int32_t dilation, int32_t taps, int32_t lo,
                                       int32_t hi) {
    mcuc_taps t = {0, taps};
    if (start < lo) {
        t.first = (lo - start + dilation - 1) / dilation;
    }
    if (start + (taps - 1) * dilation >= hi) {
        t.end = (hi - start + dilation - 1) / dilation;
    }
    return t;
}

#endif
