"""Which steps run whole, and which run row by row: a dynamic program over segments.

A segment is an interval of the order of the steps. What crosses its borders is kept whole, so that
segments combine freely: the peak of a schedule is the largest peak of its segments, its cost is the
sum of theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from mcucompile.cost import instructions
from mcucompile.plan.simulate import ORDERS, Simulator, turn_call, turn_rows
from mcucompile.plan.stores import Network
from mcucompile.plan.trace import NEVER, TooMuchError, Trace
from mcucompile.plan.whole import whole

BRIEF = 1.0  # instructions: so much a segment may cost more if it is shorter, with fewer rings
DEAR = 10.0  # times as many instructions: what a segment counts that leaves no room
TURNS = (4, 2)  # rows at a time instead of one: fewer instructions


@dataclass(frozen=True)
class Schedule:
    """Segments in order. peak: bytes; no placement needs less. cost: instructions, estimated."""

    traces: tuple[Trace, ...]
    peak: int
    cost: float


class Segmenter:
    """Schedules of one network. streams: whether segments may run row by row at all."""

    def __init__(self, net: Network, streams: bool = True) -> None:
        self.net = net
        self.count = len(net.tasks)
        self.streams = streams
        self.wholes = [whole(net, k) for k in range(self.count)]
        if net.pushed is not None:  # the first segment must take the rows as they come
            self.wholes[0] = replace(self.wholes[0], peak=NEVER)
        self.simulator = Simulator(net)
        self.borders = self.simulator.alive
        self.floors = _floors(net)
        self.known: dict[tuple[int, int, int, int], Trace] = {}
        self.beyond: dict[tuple[int, int, int, int], int] = {}  # peaks known to be no smaller
        self.prices = [instructions(t.whole) for t in net.tasks]
        self.sums: dict[int, list[float]] = {}  # turn: prices of the first steps, streamed

    def fastest(self) -> Schedule:
        """Every step in one call, unless the rows of the input arrive one by one."""
        if self.net.pushed is None:
            return self._schedule(self.wholes)
        schedule = self.cheapest(NEVER - 1)
        assert schedule is not None
        return schedule

    def least_memory(self, limit: float = math.inf) -> Schedule | None:
        """The schedule with the smallest peak; None if it is not below `limit`."""
        best: list[tuple[float, Trace | None]] = [(0, None)] + [(math.inf, None)] * self.count
        for end in range(1, self.count + 1):
            for first in range(end - 1, self.floors[end] - 1, -1):
                least = min(best[end][0], limit)
                if best[first][0] >= least:
                    continue
                trace = self._smallest(first, end, least)
                if trace is not None:
                    peak = max(best[first][0], trace.peak)
                    if peak < least:
                        best[end] = (peak, trace)
        if best[-1][0] == math.inf:
            return None
        return self._schedule(_backwards([trace for _, trace in best]))

    def cheapest(
        self, peak: int, turns: Sequence[int] = TURNS, ease: float = 1.0
    ) -> Schedule | None:
        """The schedule with the fewest instructions whose peak is at most `peak` bytes.

        turns: rows at a time that are tried, the most first; 1 always is. ease: a segment that
        needs more than this share of `peak` is taken only where there is hardly another way, which
        leaves the placement some room. None if there is no schedule.
        """
        eased = peak if ease == 1.0 else int(ease * peak)
        ceilings = {peak: 1.0} if eased == peak else {eased: 1.0, peak: DEAR}
        best: list[tuple[float, Trace | None]] = [(0, None)] + [(math.inf, None)] * self.count
        for end in range(1, self.count + 1):
            whole = self.wholes[end - 1]
            if whole.peak <= peak:
                dear = ceilings[eased if whole.peak <= eased else peak]
                best[end] = (best[end - 1][0] + dear * self.prices[end - 1], whole)
            needed = False  # to stream: a step that needs too much in one call
            for first in range(end - 1, self.floors[end] - 1, -1):
                needed |= self.wholes[first].peak > eased
                for ceiling, dear in ceilings.items() if needed and self.streams else ():
                    limit = (best[end][0] - best[first][0] + BRIEF) / dear
                    trace = self._cheaper(first, end, ceiling, turns, limit)
                    if trace is not None:
                        best[end] = (best[first][0] + dear * self.price(trace) - BRIEF, trace)
        if best[-1][0] == math.inf:
            return None
        return self._schedule(_backwards([trace for _, trace in best]))

    def streamed(self, first: int, end: int) -> Trace | None:
        """Steps [first, end) row by row with the fewest bytes; None where that is not possible."""
        if not self.streams or first < 0 or end > self.count:
            return None
        return self._best_order(first, end, 1, NEVER)

    def _cheaper(
        self, first: int, end: int, peak: int, turns: Sequence[int], limit: float
    ) -> Trace | None:
        """The streamed segment [first, end) within `peak` with the most rows at a time, if it costs
        less than `limit`."""
        cheap = [t for t in turns if self._stream_price(first, end, t) < limit]
        last = self._stream_price(first, end, 1) < limit
        if not (cheap or last) or self._best_order(first, end, 1, peak + 1) is None:
            return None
        for turn in [*cheap, 1] if last else cheap:
            trace = self._best_order(first, end, turn, peak + 1)
            if trace is not None:
                return trace
        return None

    def _best_order(self, first: int, end: int, turn: int, limit: float) -> Trace | None:
        """The streamed segment in the order of asking that needs the fewest bytes."""
        best = None
        for order in self._orders(first, end):
            trace = self._stream(first, end, turn, order, limit if best is None else best.peak)
            best = trace or best
        return best

    def _orders(self, first: int, end: int) -> range:
        """The order matters where a step that works in place asks for several operands."""
        tasks = self.net.tasks[first:end]
        several = any(
            t.heir is not None and sum(p >= first for p in t.producers) > 1 for t in tasks
        )
        return range(ORDERS if several else 1)

    def _smallest(self, first: int, end: int, limit: float) -> Trace | None:
        """The form of segment [first, end) that needs the fewest bytes, below `limit`."""
        best = self.wholes[first] if end - first == 1 and self.wholes[first].peak < limit else None
        if not self.streams:
            return best
        streamed = self._best_order(first, end, 1, limit if best is None else best.peak)
        return best if streamed is None else streamed

    def _stream(self, first: int, end: int, turn: int, order: int, limit: float) -> Trace | None:
        """The streamed segment if its peak is below `limit`."""
        if max(self.borders[first], self.borders[end]) >= limit:
            return None
        key = (first, end, turn, order)
        if key in self.known:
            trace = self.known[key]
            return trace if trace.peak < limit else None
        if limit <= self.beyond.get(key, 0):
            return None
        most = None if math.isinf(limit) else int(limit)
        try:
            self.known[key] = self.simulator.stream(first, end, turn, order, most)
        except TooMuchError as error:
            self.beyond[key] = error.peak
            return None
        return self.known[key]

    def price(self, trace: Trace) -> float:
        """Estimated instructions of a segment."""
        if trace.mode == "whole":
            return self.prices[trace.first]
        return self._stream_price(trace.first, trace.end, trace.turn)

    def _stream_price(self, first: int, end: int, turn: int) -> float:
        if turn not in self.sums:
            each = [instructions(turn_call(t, turn), turn_rows(t, turn)) for t in self.net.tasks]
            self.sums[turn] = [0.0, *accumulate(each)]
        return self.sums[turn][end] - self.sums[turn][first]

    def _schedule(self, traces: list[Trace]) -> Schedule:
        return Schedule(
            tuple(traces),
            max((t.peak for t in traces), default=0),
            sum(map(self.price, traces)),
        )


def _backwards(last: list[Trace | None]) -> list[Trace]:
    """The chain of segments that ends with the last; last[j] ends before step j."""
    chain: list[Trace] = []
    end = len(last) - 1
    while end > 0:
        trace = last[end]
        assert trace is not None
        chain.append(trace)
        end = trace.first
    return chain[::-1]


def _floors(net: Network) -> list[int]:
    """For each end, the first step from which a segment can run row by row to there: it may write
    to but one of the parts that a tensor is joined from, and not read that tensor."""
    floors, before, floor = [0], 0, 0
    for task in net.tasks:
        if any(store.joined for store in task.writes):
            floor, before = max(floor, before), task.step + 1
        if any(store is not None and store.joined for store in task.reads):
            floor = max(floor, before)
        floors.append(min(floor, task.step))
    return floors
