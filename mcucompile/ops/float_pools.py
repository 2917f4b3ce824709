"""Means and maxima in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.ir import Array, QuantRule, Shape, Value
from mcucompile.ops.float32 import Float, float_call
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.only_window import OnlyWindow
from mcucompile.ops.pool import AveragePool, MaxPool, Pool2d
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.float32 import bounds, clamped


def _pool_call(
    op: Float, pool: Pool2d, kernel: str, params: dict[str, int], x: Value, y: Value
) -> KernelCall:
    """The call for `pool`, which `op` is, or is the same as."""
    _, h, w, c = x.shape
    _, oh, ow, _ = y.shape
    top, left, _, _ = pool.pads
    geometry = {"height": h, "width": w, "channels": c, "out_width": ow}
    for name, (first, second) in (
        ("kernel", pool.kernel),
        ("stride", pool.strides),
        ("dilation", pool.dilations),
    ):
        geometry |= {f"{name}_h": first, f"{name}_w": second}
    geometry |= {"pad_top": top, "pad_left": left}
    rows = h, oh
    return float_call(op, kernel, "mcuc/pool_f32.h", geometry | params, pool.clamp, rows, x, y)


@dataclass(frozen=True)
class FloatAveragePool(Float, AveragePool):
    """The mean of a window."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        (x,) = arrays
        counts = self._counts(x.shape[1], x.shape[2], self._counted()).astype(np.float32)
        with np.errstate(all="ignore"):
            total = np.zeros((1, 1, 1, 1), np.float32)
            for tap in self._taps(x, 0.0):
                total = total + tap
            return (clamped(total / counts, self.clamp),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        sides = ("top", "left", "bottom", "right")
        counted = {f"count_{s}": n for s, n in zip(sides, self._counted(), strict=True)}
        kernel = "mcuc_average_pool_f32"
        return _pool_call(self, self, kernel, counted, operands[0], results[0])


@dataclass(frozen=True)
class FloatMaxPool(Float, MaxPool):
    """The largest number of a window."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        lo, hi = (np.float32(bound) for bound in bounds(self.clamp))
        y = np.full((1, 1, 1, 1), lo)
        for tap in self._taps(arrays[0], -np.inf):
            y = np.where(tap > y, tap, y)
        return (np.where(y < hi, y, hi),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return _pool_call(self, self, "mcuc_max_pool_f32", {}, operands[0], results[0])


@dataclass(frozen=True)
class FloatGlobalAveragePool(OnlyWindow, Float, GlobalAveragePool):
    """The mean of a whole image: of its only window."""

    def window(self, image: Shape) -> FloatAveragePool:
        kernel = image[1], image[2]
        return FloatAveragePool(self.name, self.origin, kernel, (1, 1), clamp=self.clamp)


@dataclass(frozen=True)
class FloatGlobalMaxPool(OnlyWindow, Float, GlobalMaxPool):
    """The largest number of a whole image: of its only window."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def window(self, image: Shape) -> FloatMaxPool:
        kernel = image[1], image[2]
        return FloatMaxPool(self.name, self.origin, kernel, (1, 1), clamp=self.clamp)
