"""What runs when, and which bytes it needs: the result of trying out a segment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

NEVER = 1 << 60  # a peak beyond any limit
Mode = Literal["whole", "rows"]


class Owner(NamedTuple):
    """Whose bytes: a store as a whole, the ring of a store within a segment, or a step's scratch.

    number: of the store, or the step.
    """

    kind: Literal["store", "ring", "scratch"]
    number: int


class Use(NamedTuple):
    """Bytes [lo, hi) from the owner's base are in use during ticks first..last, both inclusive.

    A tick is the computation of some rows of one step; ticks count from the segment's beginning.
    """

    owner: Owner
    first: int
    last: int
    lo: int
    hi: int


class Event(NamedTuple):
    """Rows [begin, end) of the result of `step` are computed in one call."""

    step: int
    begin: int
    end: int


@dataclass(frozen=True)
class Trace:
    """Steps [first, end) run as one segment.

    turn: rows that are computed at a time, as far as each kernel can; order: see `simulate`.
    peak: bytes in use at the worst tick, those of stores that only wait included.
    events: in order. heights: rows of each ring, by store.
    pulls: (step, slot) where computing a step makes the producer of that operand run.
    taken: steps whose result takes the place of the top row of its window, in the ring they read.
    rest: steps that are left with rows which only later segments want.
    merged: result store -> the store whose bytes it takes, from the same base on, although their
    rows differ. uses: of all touched stores, rings and scratch memories.
    """

    first: int
    end: int
    mode: Mode
    peak: int
    turn: int = 0
    order: int = 0
    events: tuple[Event, ...] = ()
    heights: Mapping[int, int] = field(default_factory=dict)
    pulls: frozenset[tuple[int, int]] = frozenset()
    taken: frozenset[int] = frozenset()
    rest: tuple[int, ...] = ()
    merged: Mapping[int, int] = field(default_factory=dict)
    uses: tuple[Use, ...] = ()
    ticks: int = 1


class Meter:
    """Adds up the bytes in use.

    limit: to reach it raises TooMuchError.
    """

    def __init__(self, waiting: int, limit: int | None) -> None:
        self.live = waiting
        self.peak = waiting
        self.limit = limit
        self.tick = 0
        self.sizes: dict[Owner, int] = {}

    def use(self, owner: Owner, lo: int, hi: int) -> None:
        """From this tick on `owner` uses bytes [lo, hi) of its own, none if lo == hi."""
        size = max(hi - lo, 0)
        self.live += size - self.sizes.get(owner, 0)
        self.sizes[owner] = size

    def step(self, scratch: Owner, size: int) -> None:
        """The tick happens, with `size` bytes of scratch memory."""
        if self.live + size > self.peak:
            self.peak = self.live + size
            if self.limit is not None and self.peak >= self.limit:
                raise TooMuchError(self.peak)
        self.tick += 1

    def finish(self) -> tuple[Use, ...]:
        """The uses, if they are kept."""
        return ()


class Recorder(Meter):
    """Remembers besides who used which bytes when."""

    def __init__(self, waiting: int, limit: int | None) -> None:
        super().__init__(waiting, limit)
        self.now: dict[Owner, tuple[int, int, int]] = {}  # owner: since which tick, lo, hi
        self.uses: list[Use] = []

    def use(self, owner: Owner, lo: int, hi: int) -> None:
        super().use(owner, lo, hi)
        before = self.now.pop(owner, None)
        if before is not None:
            since, old_lo, old_hi = before
            if since < self.tick:
                self.uses.append(Use(owner, since, self.tick - 1, old_lo, old_hi))
        if lo < hi:
            self.now[owner] = (self.tick, lo, hi)

    def step(self, scratch: Owner, size: int) -> None:
        if size:
            self.uses.append(Use(scratch, self.tick, self.tick, 0, size))
        super().step(scratch, size)

    def finish(self) -> tuple[Use, ...]:
        """All uses; those that go on end with the last tick."""
        for owner in list(self.now):
            self.use(owner, 0, 0)
        return tuple(self.uses)


class TooMuchError(Exception):
    """A segment needs at least `peak` bytes, which is more than it may."""

    def __init__(self, peak: int = NEVER) -> None:
        super().__init__(peak)
        self.peak = peak
