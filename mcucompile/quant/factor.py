"""A number times a factor that another number stands for: quotients, and slopes by channel.

    y = requant(x1 - zp1, multiplier t[x2])       or requant(x1 - zp1, p) where x1 >= zp1

t has an int32 for each of the 256 numbers x2 may be, so that a division, or any other function of
x2, costs a look into a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, QParams
from mcucompile.quant.numbers import INT32_LIMIT, clamp_bounds

MOST_SHIFT = 9  # with it a multiplier of 31 bits is 256 steps of the result for one of the operand


@dataclass(frozen=True)
class FactorRule:
    """table: int32, shape (256,), by byte: the multipliers of 0, 1, ... 127, -128, ... -1.

    positive: that of operands from the zero-point on; 0 if theirs is in the table too.
    """

    table: Array
    positive: int
    shift: int
    operand_zero: int
    zero_point: int
    lo: int
    hi: int

    def apply(self, x1: Array, x2: Array) -> Array:
        """int8 results for int8 operands of equal (or broadcastable) shapes."""
        x = x1.astype(np.int64) - self.operand_zero
        m = self.table.astype(np.int64)[x2.view(np.uint8)]
        if self.positive:
            m = np.where(x >= 0, self.positive, m)
        y = (((x << self.shift) * m + 2**31) >> 32) + self.zero_point
        return np.asarray(np.clip(y, self.lo, self.hi), dtype=np.int8)


def factor_rule(
    factors: Array,
    positive: float,
    operand: QParams,
    result: QParams,
    clamp: tuple[float, float] | None = None,
) -> FactorRule:
    """The rule for real `factors` of the numbers x2 = -128 ... 127, and `positive` (0 for none).

    Factors so large that the least step of the operand saturates the result are cut off, so every
    rule keeps to 32 bits.
    """
    unit = operand.scale[0] / result.scale[0]
    largest = max(float(np.abs(factors).max()), positive) * unit
    shift = 0
    while shift < MOST_SHIFT and round(largest * 2.0 ** (32 - shift)) >= INT32_LIMIT:
        shift += 1
    limit = float(INT32_LIMIT - 1)
    m = np.clip(np.rint(factors * (unit * 2.0 ** (32 - shift))), -limit, limit)
    above = min(max(round(positive * unit * 2.0 ** (32 - shift)), 1), INT32_LIMIT - 1)
    return FactorRule(
        np.roll(m.astype(np.int32), 128),
        above if positive else 0,
        shift,
        operand.zero_point,
        result.zero_point,
        *clamp_bounds(result, clamp),
    )
