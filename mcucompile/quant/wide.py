"""The arithmetic of operators whose activations may be int16: 64 bits, rounded once.

    y = clamp(zp + floor((acc * m + 2^(s-1)) / 2^s))        0 <= m < 2^31,  0 < s < 63

`acc` is exact. m has as many of its 31 bits as the largest `acc` leaves room for in 63; a layer has
m and s for each output channel. Weights have 8 bits, and an activation less its zero-point 17 at
most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, QParams
from mcucompile.quant.numbers import INT32_LIMIT, clamp_bounds

ROOM = 2**62  # for acc * m and the half together
MOST_SHIFT = 62
DEVIATION = 2**16  # of an activation from its zero-point, at most


@dataclass(frozen=True)
class WideRule:
    """m, shift: one of each per output channel, or one for all. result: the result's parameters.

    lo, hi: clamp bounds of the result.
    """

    m: tuple[int, ...]
    shift: tuple[int, ...]
    result: QParams
    lo: int
    hi: int

    @property
    def table(self) -> Array:
        """m and shift of each channel in turn, int32."""
        return np.array([self.m, self.shift], dtype=np.int32).T.reshape(-1)

    def apply(self, acc: Array, m: Array | None = None) -> Array:
        """The integers for sums `acc` (any shape, channels last); m: for each, if not the own."""
        m = np.asarray(self.m, dtype=np.int64) if m is None else m
        shift = np.asarray(self.shift, dtype=np.int64)
        y = (acc.astype(np.int64) * m + (np.int64(1) << shift - 1)) >> shift
        y = np.clip(y + self.result.zero_point, self.lo, self.hi)
        return np.asarray(y, dtype=self.result.dtype)


def wide_rule(
    multipliers: Sequence[float],
    bound: Sequence[int],
    result: QParams,
    clamp: tuple[float, float] | None = None,
) -> WideRule:
    """The WideRule for real `multipliers` >= 0 of sums within `bound`, one each per channel.

    Raises OverflowError where a multiplier is 2^30 or more.
    """
    pairs = [_factor(x, b) for x, b in zip(multipliers, bound, strict=True)]
    m, shift = zip(*pairs, strict=True)
    return WideRule(m, shift, result, *clamp_bounds(result, clamp))


def _factor(real: float, bound: int) -> tuple[int, int]:
    """m and s with m / 2^s next to `real`."""
    shift = min(MOST_SHIFT, 31 - math.frexp(real)[1])
    while shift > 0:
        m = round(real * 2.0**shift)
        if m < INT32_LIMIT and bound * m + 2 ** (shift - 1) < ROOM:
            return m, shift
        shift -= 1
    raise OverflowError(f"a multiplier of {real:.3g} is too large")


@dataclass(frozen=True)
class WideSum:
    """acc = sum (x - zero) * m, of operands with equal (or broadcastable) shapes, then as `rule`,
    whose multiplier is 1."""

    m: tuple[int, ...]
    zeros: tuple[int, ...]
    rule: WideRule

    def apply(self, operands: Sequence[Array]) -> Array:
        """The integers of the result."""
        terms = zip(operands, self.m, self.zeros, strict=True)
        return self.rule.apply(np.asarray(sum((x.astype(np.int64) - z) * m for x, m, z in terms)))


def wide_sum(
    operands: Sequence[QParams],
    signs: Sequence[int],
    result: QParams,
    clamp: tuple[float, float] | None = None,
) -> WideSum:
    """The WideSum for sum(sign_i * x_i). Raises OverflowError as `wide_rule`."""
    real = [q.scale[0] / result.scale[0] for q in operands]
    _, shift = _factor(max(real), DEVIATION * len(real))
    m = tuple(s * round(r * 2.0**shift) for r, s in zip(real, signs, strict=True))
    rule = WideRule((1,), (shift,), result, *clamp_bounds(result, clamp))
    return WideSum(m, tuple(q.zero_point for q in operands), rule)


@dataclass(frozen=True)
class WideMean:
    """acc = sum - n * zero, then as `rule`, with m = floor((numerator + count / 2) / count).

    n numbers are summed; count counts, which is more where zeros around the image count too.
    numerator: the multiplier of `rule`.
    """

    zero: int
    rule: WideRule

    @property
    def numerator(self) -> int:
        return self.rule.m[0]

    def apply(self, total: Array, n: Array, count: Array) -> Array:
        """Means of the sums `total`; n, count: integers >= 1 that broadcast to its shape."""
        m = (self.numerator + count // 2) // count
        return self.rule.apply(total.astype(np.int64) - n * self.zero, m)


def wide_mean(
    operand: QParams, result: QParams, clamp: tuple[float, float] | None = None
) -> WideMean:
    """The WideMean. acc grows with the count as m falls, so that their product has its room.

    Raises OverflowError as `wide_rule`.
    """
    rule = wide_rule([operand.scale[0] / result.scale[0]], [2 * DEVIATION], result, clamp)
    return WideMean(operand.zero_point, rule)
