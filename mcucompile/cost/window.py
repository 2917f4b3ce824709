"""Which rows kernels work on: those of a call, and those of the input that they need."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mcucompile.plan.program import KernelCall


@dataclass(frozen=True)
class Bands:
    """`rows` output rows, computed in calls of `step` rows each."""

    rows: int
    step: int

    @property
    def calls(self) -> int:
        return -(-self.rows // self.step)

    def groups(self, size: int) -> int:
        """Groups of up to `size` rows, if no group spans two calls."""
        full, rest = divmod(self.rows, self.step)
        return full * -(-self.step // size) + -(-rest // size)

    def fetched(self, stride: int, reach: int) -> int:
        """Input rows that all calls look at, where a call looks at each row once and every output
        row sees `reach` rows, `stride` rows on from those of the one before."""
        return self.calls * reach + (self.rows - self.calls) * min(stride, reach)

    def fetched_inside(self, stride: int, reach: int, top: int, height: int) -> int:
        """Those of `fetched` that are within [0, height), if the first one is row -top."""
        return _inside(self.rows, self.step, stride, reach, top, height)


@lru_cache(4096)
def _inside(rows: int, step: int, stride: int, reach: int, top: int, height: int) -> int:
    total, stride_ = 0, min(stride, reach)
    for y in range(0, rows, step):
        first = y * stride - top
        if stride <= reach:
            end = first + (min(step, rows - y) - 1) * stride_ + reach
            total += max(0, min(end, height) - max(first, 0))
        else:
            for i in range(min(step, rows - y)):
                start = first + i * stride
                total += max(0, min(start + reach, height) - max(start, 0))
    return total


@lru_cache(4096)
def taps_inside(count: int, stride: int, taps: int, dilation: int, before: int, size: int) -> int:
    """On one axis, how many positions of all `count` windows are inside of the image."""
    return sum(
        0 <= i * stride - before + k * dilation < size for i in range(count) for k in range(taps)
    )


@lru_cache(4096)
def full_windows(count: int, stride: int, reach: int, before: int, size: int) -> int:
    """On one axis, how many of `count` windows are inside of the image from end to end."""
    return sum(0 <= i * stride - before <= size - reach for i in range(count))


def depthwise_window(kernel: str) -> tuple[int, int, int, int]:
    """Height, width, horizontal stride and rows at a time of a kernel of `mcuc/depthwise.h`, or of
    `mcuc/expand_depthwise.h`, which computes one."""
    pattern = r"mcuc_(?:expand_)?depthwise_(\d+)x(\d+)s(\d+)(?:r(\d+))?(?:_any)?_s8$"
    found = re.match(pattern, kernel)
    if found is None:
        raise ValueError(f"{kernel} is no depthwise convolution of one window")
    kh, kw, stride, rows = (int(n) for n in found.groups(default="1"))
    return kh, kw, stride, rows


def rows_of(call: KernelCall) -> int:
    """The rows that calls count: of the result, or of operand 0 where the kernel folds those."""
    return (call.reads if call.folds else call.writes)[0].rows


def ring_rows(call: KernelCall, operand: int, step: int) -> int:
    """The rows of an operand that `step` rows of the result need at the same time."""
    rows, window = call.reads[operand].rows, call.window(operand)
    if call.folds:
        return min(rows, step)
    if window is None:
        return rows
    return min(rows, -(-(step - 1) * window.stride // window.divide) + window.size)
