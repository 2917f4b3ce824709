"""Means and maxima of int16 numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.only_window import OnlyWindow
from mcucompile.ops.pool import AveragePool, MaxPool, Pool2d
from mcucompile.ops.wide import Wide, bounds, operand, why
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.numbers import clamp_bounds
from mcucompile.quant.wide import WideMean, wide_mean


def _mean(op: Op, x: Value, result: Value, clamp: tuple[float, float] | None) -> WideMean:
    try:
        return wide_mean(x.q, result.q, clamp)
    except OverflowError as error:
        raise too_coarse(op) from error


def _pool_call(
    op: Op, x: Value, result: Value, pool: Pool2d, kernel: str, params: dict[str, int]
) -> KernelCall:
    """The call for `pool`, which `op` is, or is the same as."""
    _, h, w, c = x.shape
    _, oh, ow, _ = result.shape
    top, left, _, _ = pool.pads
    geometry = {"height": h, "width": w, "channels": c, "out_width": ow, "in_bits": x.q.bits}
    for name, (first, second) in (
        ("kernel", pool.kernel),
        ("stride", pool.strides),
        ("dilation", pool.dilations),
    ):
        geometry |= {f"{name}_h": first, f"{name}_w": second}
    return KernelCall(
        op=op.name,
        kernel=kernel,
        header="mcuc/pool_s16.h",
        params={**geometry, "pad_top": top, "pad_left": left, **params},
        reads=(operand(x, h),),
        writes=(operand(result, oh),),
        band=1,
        why=why([x], result),
    )


@dataclass(frozen=True)
class WideAveragePool(Wide, AveragePool):
    """The mean of a window."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x = arrays[0].astype(np.int64)
        n = self._counts(x.shape[1], x.shape[2], (0, 0, 0, 0))
        counts = self._counts(x.shape[1], x.shape[2], self._counted())
        total = np.asarray(sum(self._taps(x, 0)))
        mean = _mean(self, operands[0], results[0], self.clamp)
        return (mean.apply(total, n, counts),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        mean = _mean(self, operands[0], results[0], self.clamp)
        sides = ("top", "left", "bottom", "right")
        counted = {f"count_{s}": n for s, n in zip(sides, self._counted(), strict=True)}
        params = {**counted, **_mean_params(mean)}
        return _pool_call(self, operands[0], results[0], self, "mcuc_average_pool_s16", params)


def _mean_params(mean: WideMean) -> dict[str, int]:
    rule = mean.rule
    return {
        "in_zp": mean.zero,
        "numerator": mean.numerator,
        "shift": rule.shift[0],
        **bounds(rule),
    }


@dataclass(frozen=True)
class WideGlobalAveragePool(OnlyWindow, Wide, GlobalAveragePool):
    """The mean of a whole image: of its only window."""

    def window(self, image: Shape) -> WideAveragePool:
        return WideAveragePool(
            self.name, self.origin, (image[1], image[2]), (1, 1), clamp=self.clamp, bits=self.bits
        )


@dataclass(frozen=True)
class WideMaxPool(Wide, MaxPool):
    """The largest number of a window."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        q = results[0].q
        y = self._largest(arrays[0], q.limits[0])
        return (np.clip(y, *clamp_bounds(q, self.clamp)).astype(q.dtype),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params = {"lo": lo, "hi": hi}
        return _pool_call(self, operands[0], results[0], self, "mcuc_max_pool_s16", params)


@dataclass(frozen=True)
class WideGlobalMaxPool(OnlyWindow, Wide, GlobalMaxPool):
    """The largest number of a whole image: of its only window."""

    def window(self, image: Shape) -> WideMaxPool:
        kernel = image[1], image[2]
        return WideMaxPool(self.name, self.origin, kernel, (1, 1), clamp=self.clamp)
