"""Statistics of the numbers a tensor takes, in memory that does not grow with the samples."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mcucompile.ir import Array

PERCENTILE = 99.99
BINS = 8192


class Observer(ABC):
    """Sees the contents of one tensor, sample by sample."""

    @abstractmethod
    def update(self, array: Array) -> None:
        """Take in one more array (any shape, finite)."""

    @abstractmethod
    def range(self) -> tuple[float, float]:
        """The real range worth representing; after at least one update."""


class MinMax(Observer):
    """From the smallest to the largest number."""

    def __init__(self) -> None:
        self.lo, self.hi = np.inf, -np.inf

    def update(self, array: Array) -> None:
        self.lo = min(self.lo, float(array.min()))
        self.hi = max(self.hi, float(array.max()))

    def range(self) -> tuple[float, float]:
        return self.lo, self.hi


class Percentile(Observer):
    """What remains when the outermost (100 - percentile) % of the numbers at either end go.

    A histogram of BINS bins over [-peak, peak], whose peak doubles (pairs of bins merge) when a
    larger number comes: the range is exact to 2 * peak / BINS, that is to 1 / 16 of an int8 step.
    """

    def __init__(self, percentile: float = PERCENTILE) -> None:
        self.percentile = percentile
        self.bounds = MinMax()
        self.peak = 0.0
        self.counts = np.zeros(BINS, dtype=np.int64)

    def update(self, array: Array) -> None:
        self.bounds.update(array)
        largest = max(abs(self.bounds.lo), abs(self.bounds.hi))
        if largest == 0.0:
            self.counts[BINS // 2] += array.size  # zeros fall there at any peak
            return
        if self.peak == 0.0:
            self.peak = 2.0 ** np.ceil(np.log2(largest))
        while self.peak < largest:
            self._double()
        counts, _ = np.histogram(array, BINS, (-self.peak, self.peak))
        self.counts += counts

    def _double(self) -> None:
        quarter = BINS // 4
        pairs = self.counts.reshape(-1, 2).sum(axis=1)
        self.counts = np.pad(pairs, quarter)
        self.peak *= 2.0

    def range(self) -> tuple[float, float]:
        spare = self.counts.sum() * (1 - self.percentile / 100)
        below, above = np.cumsum(self.counts), np.cumsum(self.counts[::-1])
        width = 2 * self.peak / BINS
        lo = -self.peak + width * int(np.argmax(below > spare))
        hi = self.peak - width * int(np.argmax(above > spare))
        return max(lo, self.bounds.lo), min(hi, self.bounds.hi)
