"""Statistics of the numbers a tensor takes, in memory that does not grow with the samples."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mcucompile.ir import Array

PERCENTILE = 99.99
BINS = 8192
TRACE = 1e-4


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


class Histogram(Observer):
    """Counts in BINS bins over [-peak, peak], whose peak doubles (pairs of bins merge) when a
    larger number comes: bins are at most 1 / 16 of an int8 step of the whole range wide."""

    def __init__(self) -> None:
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

    @property
    def width(self) -> float:
        """Of a bin, in the tensor's units."""
        return 2 * self.peak / BINS

    def range(self) -> tuple[float, float]:
        lo, hi = self.worthy() if self.peak > 0.0 else (0.0, 0.0)
        return max(lo, self.bounds.lo), min(hi, self.bounds.hi)

    @abstractmethod
    def worthy(self) -> tuple[float, float]:
        """The range by the histogram, which may be wider than the numbers seen. Not all are 0."""


class Percentile(Histogram):
    """What remains when the outermost (100 - percentile) % of the numbers at either end go."""

    def __init__(self, percentile: float = PERCENTILE) -> None:
        super().__init__()
        self.percentile = percentile

    def worthy(self) -> tuple[float, float]:
        spare = self.counts.sum() * (1 - self.percentile / 100)
        below, above = np.cumsum(self.counts), np.cumsum(self.counts[::-1])
        lo = -self.peak + self.width * int(np.argmax(below > spare))
        hi = self.peak - self.width * int(np.argmax(above > spare))
        return lo, hi


class MeanSquaredError(Histogram):
    """The range with the smallest mean squared error of the numbers stored in 8 bits.

    Clipping a few large numbers pays if it makes the steps of all others smaller. Each end moves
    inwards in SHARES of what was seen, in turns, until none gains.
    """

    SHARES = np.linspace(1.0, 0.1, 91)
    TURNS = 4

    def worthy(self) -> tuple[float, float]:
        lo, hi = least, most = min(self.bounds.lo, 0.0), max(self.bounds.hi, 0.0)
        full = np.flatnonzero(self.counts)
        centres = (full + 0.5) * self.width - self.peak
        weights = self.counts[full].astype(np.float64)
        for _ in range(self.TURNS):
            before = lo, hi
            hi = min(most * self.SHARES, key=lambda end: _error(centres, weights, lo, end))
            lo = min(least * self.SHARES, key=lambda end: _error(centres, weights, end, hi))
            if (lo, hi) == before:
                break
        return float(lo), float(hi)


def _error(numbers: Array, weights: Array, lo: float, hi: float) -> float:
    """Sum of weighted squared errors if the range [lo, hi], 0 in it, has 255 steps."""
    step = (hi - lo) / 255
    if step == 0.0:
        return float(weights @ numbers**2)
    stored = np.clip(np.rint(numbers / step), np.rint(lo / step), np.rint(hi / step))
    return float(weights @ (stored * step - numbers) ** 2)


class Entropy(Histogram):
    """Magnitudes up to the threshold that loses the least information about their distribution.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017: of 2048 bins of magnitudes the first n
    are kept, the last one counting all that is clipped; the same bins merged into as many levels
    as int8 has (128 for numbers of both signs, 255 for others) are spread evenly over what they
    were merged from. The n with the smallest Kullback-Leibler divergence between both is chosen.
    Zeros do not count, which int8 always represents.
    """

    MAGNITUDES = 2048
    STRIDE = 4  # in n

    def worthy(self) -> tuple[float, float]:
        half = BINS // 2
        folded = self.counts[half:] + self.counts[:half][::-1]
        counts = folded.reshape(self.MAGNITUDES, -1).sum(axis=1).astype(np.float64)
        counts[0] = 0.0
        levels = 128 if self.bounds.lo < 0.0 < self.bounds.hi else 255
        last = int(np.flatnonzero(counts).max(initial=0)) + 1
        lengths = [*range(levels, last, self.STRIDE), max(last, levels)]
        best = min(lengths, key=lambda n: _divergence(counts, n, levels))
        threshold = best * self.peak / self.MAGNITUDES
        return -threshold, threshold


def _divergence(counts: Array, length: int, levels: int) -> float:
    """KL divergence, in nats, of the first `length` counts from what `levels` can tell of them.

    What the levels rule out counts as TRACE of a number, as in onnxruntime's calibrator.
    """
    clipped = counts[:length].copy()
    clipped[-1] += counts[length:].sum()
    seen = clipped > 0
    if not seen.any():
        return 0.0
    starts = np.arange(levels) * length // levels
    level = np.searchsorted(starts, np.arange(length), side="right") - 1
    sums = np.add.reduceat(counts[:length], starts)
    shares = np.add.reduceat(seen.astype(np.float64), starts)
    spread = np.maximum((sums / np.maximum(shares, 1.0))[level[seen]], TRACE)
    p, q = clipped[seen] / clipped.sum(), spread / spread.sum()
    return float(np.sum(p * np.log(p / q)))
