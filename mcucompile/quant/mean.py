"""The mean of int8 numbers: an int32 sum, then the requantization rule with ties to even.

    y = requant(sum - n * zp_x, m(count))

A mean of 2^k numbers is halfway between two integers for one sum in 2^k. Rounding these up would
shift the mean of the means, and differ from ONNX, which rounds to even.

`n` numbers are summed, and `count` counts, which is more where zeros around the image count too.
Where the count differs between windows, m(count) = floor((numerator + count / 2) / count): one
32-bit division in a window at the border replaces a table of multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Op, QParams
from mcucompile.quant.bounds import within_int32
from mcucompile.quant.numbers import INT32_LIMIT, Requant, clamp_bounds


@dataclass(frozen=True)
class MeanRule:
    """rule: the requantization of a window with the full count.

    numerator: for other counts, below 2^32; 0 where there are none.
    """

    rule: Requant
    full: int
    numerator: int
    operand_zero: int

    def params(self) -> dict[str, int]:
        """The fields of a kernel for sums of the full count."""
        return {
            "zero": self.full * self.operand_zero,
            "m": self.rule.m[0],
            "shift": self.rule.shift,
            "zp": self.rule.zero_point,
            "lo": self.rule.lo,
            "hi": self.rule.hi,
        }

    def apply(self, total: Array, n: Array, count: Array) -> Array:
        """int8 means of the sums `total`; n, count: integers >= 1 that broadcast to its shape."""
        r = self.rule
        m = np.where(count == self.full, r.m[0], (self.numerator + count // 2) // count)
        acc = (total.astype(np.int64) - n * self.operand_zero) << r.shift
        up = (acc * m + 2**31) >> 32
        is_tie = (acc * m) & (2**32 - 1) == 2**31
        y = up - (up & is_tie) + r.zero_point
        return np.asarray(np.clip(y, r.lo, r.hi), dtype=np.int8)


def mean_rule(
    op: Op,
    operand: QParams,
    result: QParams,
    counts: tuple[int, int],
    clamp: tuple[float, float] | None = None,
) -> MeanRule:
    """The MeanRule of `op` for windows whose counts lie between counts[0] and counts[1].

    The shift is the least that keeps multipliers below 2^31, and the numerator below 2^32. Raises
    QuantizationError if sums may leave 32 bits.
    """
    least, full = counts
    real = operand.scale[0] / result.scale[0]
    shift = 0
    while round(real / least * 2.0 ** (32 - shift)) >= INT32_LIMIT or (
        least < full and round(real * 2.0 ** (32 - shift)) >= 2 * INT32_LIMIT
    ):
        shift += 1
    m, numerator = round(real / full * 2.0 ** (32 - shift)), 0
    if least < full:
        numerator = round(real * 2.0 ** (32 - shift))
        m = (numerator + full // 2) // full
    rule = Requant((m,), shift, result.zero_point, *clamp_bounds(result, clamp))
    return MeanRule(within_int32(op, rule, 255 * full), full, numerator, operand.zero_point)
