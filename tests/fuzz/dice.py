"""Random choices in which edges are likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from mcucompile.ir import QParams

T = TypeVar("T")


class Dice:
    """Choices from one seeded generator, `rng`."""

    def __init__(self, seed: Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)

    def number(self, least: int, most: int) -> int:
        """An integer of [least, most]."""
        return int(self.rng.integers(least, most + 1))

    def numbers(self, count: int, least: int, most: int) -> list[int]:
        return [self.number(least, most) for _ in range(count)]

    def size(self, most: int) -> int:
        """A size of [1, most]: 1 and multiples of four are likely."""
        kind = self.number(0, 5)
        if kind == 0:
            return 1
        if kind <= 2 and most >= 4:
            return 4 * self.number(1, most // 4)
        return self.number(1, most)

    def one_of(self, options: Sequence[T]) -> T:
        return options[self.number(0, len(options) - 1)]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def logarithmic(self, least: float, most: float) -> float:
        """A number of [least, most], each order of magnitude as likely as another."""
        return float(np.exp(self.rng.uniform(np.log(least), np.log(most))))

    def zero_point(self) -> int:
        return self.one_of([-128, 127, 0, self.number(-128, 127), self.number(-128, 127)])

    def step(self, least: float, most: float) -> float:
        """A number of about [least, most]; powers of two, of which half a step is a tie, are
        likely."""
        value = self.logarithmic(least, most)
        return 2.0 ** round(np.log2(value)) if self.chance(0.3) else value

    def qparams(self, least: float = 0.001, most: float = 10.0) -> QParams:
        return QParams((self.step(least, most),), self.zero_point())

    def clamp(self, result: QParams) -> tuple[float, float] | None:
        """Real bounds: none, those of a Relu, or any two integers of the result."""
        kind = self.number(0, 5)
        if kind <= 2:
            return None
        if kind == 3:
            return 0.0, float("inf")
        lo, hi = sorted(self.numbers(2, -128, 127))
        scale, zero = result.scale[0], result.zero_point
        return scale * (lo - zero), scale * (hi - zero)
