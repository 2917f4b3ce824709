"""Is there a placement of at most a given height? An exhaustive search, whose "no" is a proof.

Each base is a number in an interval, at first from 0 to the height less the size of the block. For
a pair of blocks that meet at some tick, the difference of the bases is forbidden to lie in some
open intervals (`plan/offsets.py`), so it lies in one of the gaps between these: one block is above
the other, or they interlock. A decision takes one gap; if that is a contradiction, the others are
left. What follows for the intervals of all bases is found by propagation to a fixed point. Once
every difference has a single gap, the lowest bases are a placement; when there is no decision left
to take back, there is none.

The next pair to be decided is the one whose gaps leave the least room, and rather one that led to a
contradiction before: precedence constraint posting (Cheng & Smith, "Applying constraint
satisfaction techniques to job shop scheduling", 1997) with the weights of Boussemart et al.,
"Boosting systematic search by weighting constraints" (2004).

Where memory is short, few blocks are alive, and they leave no choice but of their order. So a proof
rarely takes more than the dozen blocks around the peak, and milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

Gap = tuple[int, int]  # first and last difference that is allowed, in units of the alignment

_FAR = 1 << 60


class LimitError(Exception):
    """The search has used up its operations."""


class _WrongError(Exception):
    """A contradiction. pair: that which cannot be kept apart."""

    def __init__(self, pair: int) -> None:
        super().__init__(pair)
        self.pair = pair


class ExactSearch:
    """Placements of blocks of `sizes` bytes.

    forbidden: (a, b) -> the open intervals, sorted and disjoint, in which base(b) - base(a) must
    not lie. work: how many times a pair may be looked at, in all calls together.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        forbidden: Mapping[tuple[int, int], Sequence[tuple[int, int]]],
        align: int,
        work: int,
    ) -> None:
        self.align, self.work, self.sizes = align, work, sizes
        self.pairs = list(forbidden)
        self.gaps = [_gaps(intervals, align) for intervals in forbidden.values()]
        self.touching: list[list[int]] = [[] for _ in sizes]
        for k, pair in enumerate(self.pairs):
            for block in pair:
                self.touching[block].append(k)
        self.weights = [1] * len(self.pairs)

    def place(self, height: int) -> list[int] | None:
        """Bases, multiples of the alignment and >= 0, of blocks that end at `height` or below.

        None if there are no such bases. Raises LimitError.
        """
        self.low = [0] * len(self.sizes)
        self.high = [(height - size) // self.align for size in self.sizes]
        self.allowed = list(self.gaps)
        if min(self.high, default=0) < 0 or not self._follows(range(len(self.pairs))):
            return None
        trail: list[tuple[list[int], list[int], list[tuple[Gap, ...]], int, tuple[Gap, ...]]] = []
        while (pair := self._tightest()) is not None:
            taken, others = self._choices(pair)
            trail.append((self.low[:], self.high[:], self.allowed[:], pair, others))
            while not self._decide(pair, taken):
                if not trail:
                    return None
                self.low, self.high, self.allowed, pair, taken = trail.pop()
        return [base * self.align for base in self.low]

    def _decide(self, pair: int, gaps: tuple[Gap, ...]) -> bool:
        """Leave only `gaps` to `pair`; False if that is a contradiction."""
        self.allowed[pair] = gaps
        return self._follows([pair])

    def _follows(self, pairs: Iterable[int]) -> bool:
        """Draw the conclusions from `pairs`; False if they contradict each other."""
        queue = list(pairs)
        waiting = set(queue)
        try:
            for k in queue:  # which grows
                waiting.discard(k)
                for block in self._narrow(k):
                    found = [other for other in self.touching[block] if other not in waiting]
                    queue += found
                    waiting.update(found)
        except _WrongError as wrong:
            self.weights[wrong.pair] += 1
            return False
        return True

    def _narrow(self, k: int) -> list[int]:
        """Adapt the intervals of the bases of pair `k` to each other; the blocks whose changed."""
        self._spend(1)
        low, high = self.low, self.high
        a, b = self.pairs[k]
        least, most = low[b] - high[a], high[b] - low[a]
        gaps = self.allowed[k]
        if len(gaps) > 2 or gaps[0][1] < least or gaps[-1][0] > most:
            gaps = tuple(g for g in gaps if g[1] >= least and g[0] <= most)
            if not gaps:
                raise _WrongError(k)
            self.allowed[k] = gaps
        first, last = gaps[0][0], gaps[-1][1]
        changed = []
        if first > least:
            changed += self._raise(b, low[a] + first) + self._lower(a, high[b] - first)
        if last < most:
            changed += self._lower(b, high[a] + last) + self._raise(a, low[b] - last)
        if low[a] > high[a] or low[b] > high[b]:
            raise _WrongError(k)
        return changed

    def _raise(self, block: int, base: int) -> list[int]:
        """The base of `block` is not less than `base`; [block] if that is news."""
        if base <= self.low[block]:
            return []
        self.low[block] = base
        return [block]

    def _lower(self, block: int, base: int) -> list[int]:
        """The base of `block` is not more than `base`; [block] if that is news."""
        if base >= self.high[block]:
            return []
        self.high[block] = base
        return [block]

    def _spend(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise LimitError

    def _tightest(self) -> int | None:
        """The pair to be decided next; None if each has a single gap."""
        self._spend(len(self.pairs) // 4)
        found, best = None, math.inf
        for k, gaps in enumerate(self.allowed):
            if len(gaps) > 1:
                least, most = self._differences(k)
                room = (min(most - gaps[-1][0], gaps[0][1] - least) + 1) / self.weights[k]
                if room < best:
                    found, best = k, room
        return found

    def _choices(self, pair: int) -> tuple[tuple[Gap, ...], tuple[Gap, ...]]:
        """The gap of `pair` that leaves the most room, and the others."""
        least, most = self._differences(pair)
        gaps = self.allowed[pair]
        best = max(gaps, key=lambda gap: min(gap[1], most) - max(gap[0], least))
        return (best,), tuple(gap for gap in gaps if gap != best)

    def _differences(self, pair: int) -> tuple[int, int]:
        """The least and the largest difference that the intervals of two bases permit."""
        a, b = self.pairs[pair]
        return self.low[b] - self.high[a], self.high[b] - self.low[a]


def _gaps(intervals: Iterable[tuple[int, int]], align: int) -> tuple[Gap, ...]:
    """What open `intervals` leave of the multiples of `align`."""
    found, begin = [], -_FAR
    for lo, hi in intervals:
        if begin <= lo // align:
            found.append((begin, lo // align))
        begin = -(-hi // align)
    return (*found, (begin, _FAR))
