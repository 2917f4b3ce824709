"""Base addresses: the placement core, which knows nothing of programs or values.

A block is something that needs one base address; at each tick of time it occupies a range of
bytes relative to that base. Two blocks that are alive at the same tick must not overlap, so the
difference of their bases is forbidden to lie in an open interval. The union of these intervals
over all common ticks is the complete statement of what must not overlap, whether a tick is a
whole kernel call or the computation of one row, whether a block is a tensor, a ring of rows or a
tensor that its reader consumes from one end while the next one grows into the freed bytes.

Blocks are placed one after the other at the lowest base that no interval forbids; where all ranges
start at their base, some order gives the best placement there is. What remains is a search for a
good order: a portfolio of sorted orders, the best of them improved by hill climbing, in which the
block that sets the height, or one it must not overlap, is moved forward. Same result every time:
the seed is fixed and the search is limited by a count of operations, not by time.

No placement is lower than the bytes in use at the worst tick. Often none is as low, because blocks
that grow into each other's bytes come only in certain orders. An exhaustive search over the blocks
around the peak (`plan/exact.py`) finds the height below which these cannot be placed, nor can all.
Then it is tried on all blocks; climbing is for instances that are too large for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mcucompile.plan.exact import ExactSearch, LimitError

Intervals = tuple[tuple[int, int], ...]

WORK = 1_000_000  # intervals looked at in one search, about half a second
ROUNDS = 150  # moves tried per block and climb, at most
CLIMBS = 3  # orders of the portfolio that are improved
NEAR = 1.005  # of the bound: climbing would gain little more than the exact search did
CROWDS = (8, 16)  # blocks around the peak that are placed exactly
EXACT_WORK = 200_000  # pairs looked at in each exact search, less than half a second


@dataclass(frozen=True)
class Span:
    """Bytes [base + lo, base + hi) are in use during ticks first..last, both inclusive."""

    first: int
    last: int
    lo: int
    hi: int


@dataclass(frozen=True)
class Block:
    """Something that needs one base address. spans: in order of time, none overlapping in time."""

    spans: tuple[Span, ...]

    @property
    def size(self) -> int:
        return max(s.hi for s in self.spans)

    @property
    def first(self) -> int:
        return self.spans[0].first

    @property
    def last(self) -> int:
        return self.spans[-1].last

    def alive(self, tick: int) -> bool:
        return any(s.first <= tick <= s.last for s in self.spans)


@dataclass(frozen=True)
class Placement:
    """bases: one per block. size: bytes from 0 to the end of the highest block. bound: a multiple
    of the alignment below which there is no placement, as is proved."""

    bases: tuple[int, ...]
    size: int
    bound: int


def live_bytes(blocks: Sequence[Block]) -> list[int]:
    """Bytes in use at each tick from 0 on; no placement is smaller than the largest of them."""
    change = [0] * (max((b.last for b in blocks), default=-1) + 2)
    for block in blocks:
        for s in block.spans:
            change[s.first] += s.hi - s.lo
            change[s.last + 1] -= s.hi - s.lo
    total, live = 0, []
    for delta in change[:-1]:
        total += delta
        live.append(total)
    return live


def place(
    blocks: Sequence[Block], align: int, work: int = WORK, borders: Sequence[int] = ()
) -> Placement:
    """Bases, multiples of `align` and >= 0, that keep all blocks apart, near the least height.

    Stops as soon as a bound is met. work: limit of the search for an order. borders: addresses that
    no block may lie across, because another memory begins there.
    """
    if not blocks:
        return Placement((), 0, 0)
    live = live_bytes(blocks)
    search = _Search(blocks, align, borders)
    starts = sorted((search.stack(order) for order in _portfolio(blocks)), key=lambda s: s.size)
    best, bound = starts[0], _up(max(live), align)
    for crowd in CROWDS:
        if best.size > bound:
            bound = search.least(_most_crowded(blocks, live, crowd), bound, best.size)
    found = Placement(best.bases, best.size, bound)
    if found.size > bound and not borders:
        found = search.descend(found)
    for start in starts[:CLIMBS]:
        if found.size <= (1 if borders else NEAR) * found.bound:
            break
        best = search.climb(start, found.bound, work // CLIMBS)
        if best.size < found.size:
            found = Placement(best.bases, best.size, found.bound)
    return found


def _up(size: int, align: int) -> int:
    return -(-size // align) * align


def _most_crowded(blocks: Sequence[Block], live: Sequence[int], count: int) -> list[int]:
    """The `count` blocks that are alive when most bytes are."""
    most = [max(max(live[s.first : s.last + 1]) for s in block.spans) for block in blocks]
    return sorted(range(len(blocks)), key=lambda i: -most[i])[:count]


def _portfolio(blocks: Sequence[Block]) -> list[list[int]]:
    """Orders worth trying first."""
    live = live_bytes(blocks)
    peak = live.index(max(live))

    def by(key: Callable[[Block], tuple[int, ...]]) -> list[int]:
        return sorted(range(len(blocks)), key=lambda i: key(blocks[i]))

    return [
        by(lambda b: (-b.size,)),
        by(lambda b: (not b.alive(peak), -b.size)),
        by(lambda b: (b.first, -b.size)),
        by(lambda b: (-b.last, -b.size)),
        by(lambda b: (-b.size * (b.last - b.first + 1),)),
        by(lambda b: (b.first - b.last, -b.size)),
        by(lambda b: (not b.alive(peak), -b.last)),
        by(lambda b: (not b.alive(peak), b.first)),
    ]


@dataclass(frozen=True)
class _Stack:
    """A placement and the order that gave it. top: the block that ends highest."""

    order: list[int]
    bases: tuple[int, ...]
    size: int
    top: int


class _Search:
    """Placements of fixed blocks in varying orders."""

    def __init__(self, blocks: Sequence[Block], align: int, borders: Sequence[int]) -> None:
        self.sizes = [b.size for b in blocks]
        self.across = [[(edge - size, edge) for edge in borders] for size in self.sizes]
        self.align = align
        self.forbidden = forbidden_differences(blocks)
        self.rivals = [list(f) for f in self.forbidden]
        self.looked = 0  # intervals, so far

    def least(self, some: Sequence[int], low: int, high: int) -> int:
        """The least height of a placement of the blocks `some`, so far as it can be proved.

        It is not less than `low`, a multiple of the alignment; `high` is enough.
        """
        exact = self._exact(some)
        high = _up(high, self.align)
        middle = high - self.align  # most likely there is none lower
        while low < high:
            try:
                bases = exact.place(middle)
            except LimitError:
                break
            if bases is None:
                low = middle + self.align
            else:
                high = _up(self._height(some, bases), self.align)
            middle = (low + high) // 2 // self.align * self.align
        return low

    def descend(self, found: Placement) -> Placement:
        """The best placement of all blocks, if the exact search comes to an end."""
        everything = range(len(self.sizes))
        exact = self._exact(everything)
        while found.size > found.bound:
            below = _up(found.size, self.align) - self.align
            try:
                bases = exact.place(below)
            except LimitError:
                break
            if bases is None:
                return replace(found, bound=below + self.align)
            found = Placement(tuple(bases), self._height(everything, bases), found.bound)
        return found

    def _height(self, blocks: Sequence[int], bases: Sequence[int]) -> int:
        return max(base + self.sizes[b] for b, base in zip(blocks, bases, strict=True))

    def _exact(self, some: Sequence[int]) -> ExactSearch:
        number = {b: i for i, b in enumerate(some)}
        forbidden = {
            (number[a], number[b]): intervals
            for b in some
            for a, intervals in self.forbidden[b].items()
            if a in number and number[a] < number[b]
        }
        return ExactSearch([self.sizes[b] for b in some], forbidden, self.align, EXACT_WORK)

    def stack(self, order: list[int]) -> _Stack:
        """The blocks placed in `order`, each as low as possible."""
        bases = [-1] * len(order)
        self._pile(order, bases, None)
        return self._stacked(order, bases)

    def restack(self, before: _Stack, order: list[int]) -> _Stack | None:
        """As `stack`, but None if it is higher than `before`, from which it differs late."""
        same = next((i for i, b in enumerate(order) if b != before.order[i]), len(order))
        bases = [-1] * len(order)
        for b in order[:same]:
            bases[b] = before.bases[b]
        return self._stacked(order, bases) if self._pile(order[same:], bases, before.size) else None

    def _stacked(self, order: list[int], bases: list[int]) -> _Stack:
        top = max(range(len(bases)), key=lambda i: bases[i] + self.sizes[i])
        return _Stack(order, tuple(bases), bases[top] + self.sizes[top], top)

    def _pile(self, blocks: list[int], bases: list[int], limit: int | None) -> bool:
        """Add `blocks` to those that have a base; False as soon as one ends beyond `limit`."""
        for b in blocks:
            self.looked += len(self.rivals[b])
            taken = [
                (bases[a] + lo, bases[a] + hi)
                for a, intervals in self.forbidden[b].items()
                if bases[a] >= 0
                for lo, hi in intervals
            ]
            taken = sorted(taken + self.across[b])
            base = 0
            for lo, hi in taken:
                if lo >= base:  # sorted: no later interval holds this base
                    break
                if base < hi:
                    base = -(-hi // self.align) * self.align
            bases[b] = base
            if limit is not None and base + self.sizes[b] > limit:
                return False
        return True

    def climb(self, start: _Stack, bound: int, work: int) -> _Stack:
        """The best stack found from `start` by moves that do not make it higher."""
        rng = random.Random(0)
        best = start
        end = self.looked + work
        for _ in range(ROUNDS * len(self.sizes)):
            if best.size <= bound or self.looked > end:
                break
            stack = self.restack(best, self._neighbour(best, rng))
            if stack is not None:
                best = stack
        return best

    def _neighbour(self, stack: _Stack, rng: random.Random) -> list[int]:
        """The stack's order with one block moved forward and at times two others swapped."""
        order = list(stack.order)
        block = stack.top
        if self.rivals[block] and rng.random() < 0.5:
            block = rng.choice(self.rivals[block])
        place = order.index(block)
        order.pop(place)
        order.insert(rng.randrange(place + 1) if rng.random() < 0.7 else 0, block)
        if rng.random() < 0.3 and len(order) > 1:
            i, j = rng.sample(range(len(order)), 2)
            order[i], order[j] = order[j], order[i]
        return order


def forbidden_differences(blocks: Sequence[Block]) -> list[dict[int, Intervals]]:
    """For each block b, {a: the open intervals in which base(b) - base(a) must not lie}."""
    found: list[dict[int, set[tuple[int, int]]]] = [{} for _ in blocks]
    spans = [(s, b) for b, block in enumerate(blocks) for s in block.spans]
    spans.sort(key=lambda item: item[0].first)
    alive: list[tuple[Span, int]] = []
    for s, b in spans:
        alive = [(u, a) for u, a in alive if u.last >= s.first]
        for u, a in alive:
            found[b].setdefault(a, set()).add((u.lo - s.hi, u.hi - s.lo))
            found[a].setdefault(b, set()).add((s.lo - u.hi, s.hi - u.lo))
        alive.append((s, b))
    return [{a: _union(intervals) for a, intervals in f.items()} for f in found]


def _union(intervals: set[tuple[int, int]]) -> Intervals:
    """Open intervals as few disjoint ones; those that only touch leave the point between them."""
    merged: list[tuple[int, int]] = []
    for lo, hi in sorted(intervals):
        if merged and lo < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], hi))
        else:
            merged.append((lo, hi))
    return tuple(merged)
