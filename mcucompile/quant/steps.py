"""Sums of a function of int8 numbers, and a growing function of the sum, both by table.

    acc = sum terms[x]                                int32
    y   = the number of steps that are <= acc, less 128

`terms` has an int32 for each number x may be. `steps` are 255 int32 that say from which sum on the
result is -127, -126, ... 127: the result is the exact one, rounded, whatever the function (a root,
a logarithm) would cost to compute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import QMAX, QMIN, Array, QParams
from mcucompile.quant.numbers import INT32_LIMIT


@dataclass(frozen=True)
class StepRule:
    """terms: int32, shape (256,), by byte: those of 0, 1, ... 127, -128, ... -1.

    steps: int32, shape (255,), ascending.
    """

    terms: Array
    steps: Array

    def apply(self, x: Array, axes: tuple[int, ...]) -> Array:
        """int8 results for int8 operands, whose `axes` become 1."""
        acc = self.terms.astype(np.int64)[x.view(np.uint8)].sum(axis=axes, keepdims=True)
        return np.asarray(np.searchsorted(self.steps, acc, side="right") + QMIN, dtype=np.int8)


def step_rule(
    terms: Array, inverse: Callable[[Array], Array], count: int, result: QParams
) -> StepRule:
    """The rule for sums of `count` of the integers `terms` (for x = -128 ... 127).

    inverse: the sum at which the result is a given real number, float64, growing; infinite where
    no sum gives one. Raises OverflowError if a sum may leave 32 bits.
    """
    if count * int(np.abs(terms).max()) >= INT32_LIMIT - 1:
        raise OverflowError(f"a sum of {count} terms may leave 32 bits")
    results = (np.arange(QMIN + 1, QMAX + 1) - result.zero_point - 0.5) * result.scale[0]
    with np.errstate(all="ignore"):
        sums = np.ceil(inverse(results))
    steps = np.clip(sums, -INT32_LIMIT, INT32_LIMIT - 1).astype(np.int32)
    return StepRule(np.roll(terms, 128).astype(np.int32), steps)
