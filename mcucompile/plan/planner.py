"""The planner: which schedule, and where everything is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

from mcucompile.plan.explain import alternatives, choices
from mcucompile.plan.memories import Memory
from mcucompile.plan.order import reordered
from mcucompile.plan.place import Layout, assemble, lay_out, state_bytes
from mcucompile.plan.plan import Plan
from mcucompile.plan.program import Optimize, Program
from mcucompile.plan.segments import Schedule, Segmenter
from mcucompile.plan.stores import Network, build_network
from mcucompile.plan.trace import NEVER

Scheduling = Literal["auto", "whole", "stream"]

TOLERANCE = 1.05  # instructions that `balanced` may spend, of the fewest possible
SLACK = (1.0, 1.02, 1.05, 1.1, 1.2, 1.3)  # peaks that are tried: the placement may favour one
FITTING = (1.0, 0.97, 0.93, 0.88)  # peaks that are tried, of a limit that the arena has to keep
EASE = (0.9, 0.7)  # of the peak: what segments should need if the placement was not near its bound
EASED = 3  # peaks that are tried so
NEAR = 1.02  # arena, of its bound, that is good enough
TURNS: tuple[tuple[int, ...], ...] = ((4, 2), (2,), ())  # so may fewer rows at a time
STEPS = 5  # of halving the distance between two peaks


@dataclass(frozen=True)
class PlanOptions:
    """What the planner is to do.

    optimize: `ram` for the smallest arena, `time` for the fewest instructions that fit, `balanced`
    for the smallest arena at no more than 5 % more instructions than the fewest. instructions: if
    it is given, `balanced` takes that for the most instructions instead.
    ram: bytes the arena may have, None for any number. keep_input: a run leaves the bytes of the
    model's inputs intact. schedule: `whole` runs each step in one call, `stream` row by row
    wherever it saves bytes; `auto` leaves the choice to `optimize`. stream_input: the caller hands
    the rows of the input over one by one, and only those that are still needed are kept.
    memories: those the arena may be spread over, the first preferred; one by default.
    """

    optimize: Optimize = "balanced"
    ram: int | None = None
    keep_input: bool = False
    schedule: Scheduling = "auto"
    stream_input: bool = False
    memories: tuple[Memory, ...] = ()
    instructions: float | None = None


def make_plan(program: Program, options: PlanOptions = PlanOptions()) -> Plan:
    """The best plan for `program`, in its order of calls or a better one. Deterministic.

    If none fits into options.ram, it is the smallest. Raises UnsupportedModelError MC105 if a model
    output is a constant, UsageError MC033 if the input cannot arrive in rows.
    """
    if options.optimize == "balanced" and options.instructions is None:
        most = TOLERANCE * fewest_instructions(program, options)
        options = replace(options, instructions=most)
    rank, plan = _best(program, options)
    better = reordered(program)
    if better is not program:
        other = _best(better, options)
        rank, plan = min((rank, plan), other, key=lambda found: found[0])
    return plan


def _best(program: Program, options: PlanOptions) -> tuple[tuple[float, ...], Plan]:
    """The best plan in the order of `program`; the smaller its rank, the better."""
    if options.ram is not None:
        options = replace(options, ram=max(0, options.ram - state_bytes(program)))
    segmenters = [
        Segmenter(net, options.schedule != "whole") for net in _networks(program, options)
    ]
    search = _Search(options)
    for ease, segmenter in product((1.0, *EASE), segmenters):
        search.explore(segmenter, ease)
        best = search.best
        if best is not None and best.layout.size <= NEAR * best.layout.bound:
            break
    assert best is not None
    net, memories = best.segmenter.net, options.memories
    plan = assemble(net, best.schedule, best.layout, options.keep_input, memories)
    explained = choices(best.segmenter, best.schedule), alternatives(best.segmenter)
    return best.rank, replace(plan, choices=explained[0], alternatives=explained[1])


@dataclass(frozen=True)
class _Found:
    """A schedule in a layout. rank: the smaller the better."""

    rank: tuple[float, ...]
    segmenter: Segmenter
    schedule: Schedule
    layout: Layout


def _networks(program: Program, options: PlanOptions) -> Iterator[Network]:
    """The ways to share bytes. Where several operands could give theirs to a result, the choice
    decides how far the places of tensors drift apart."""
    net = build_network(program, options.keep_input, options.stream_input)
    yield net
    other = build_network(program, options.keep_input, options.stream_input, heirs="first")
    if [t.heir for t in other.tasks] != [t.heir for t in net.tasks]:
        yield other


def least_peak(program: Program, options: PlanOptions, limit: int) -> int | None:
    """Bytes that the schedule of `program` with the smallest peak needs, states included; None if
    they are not below `limit`. Raises as make_plan."""
    net = build_network(program, options.keep_input, options.stream_input)
    states = state_bytes(program)
    schedule = Segmenter(net).least_memory(limit - states)
    return None if schedule is None else schedule.peak + states


def fewest_instructions(program: Program, options: PlanOptions) -> float:
    """Estimated instructions of the fastest schedule of `program`, whatever memory it needs. Raises
    as make_plan."""
    net = build_network(program, options.keep_input, options.stream_input)
    return Segmenter(net).fastest().cost


class _Search:
    """Tries schedules. best: the best so far."""

    def __init__(self, options: PlanOptions) -> None:
        self.options = options
        self.best: _Found | None = None

    def explore(self, segmenter: Segmenter, ease: float) -> None:
        """Place schedules of `segmenter`.

        ease: below 1, those that leave room to the placement; see Segmenter.cheapest.
        """
        seen: set[tuple[tuple[int, int, str, int, int], ...]] = set()
        for schedule in self._schedules(segmenter, ease):
            key = tuple((t.first, t.end, t.mode, t.turn, t.order) for t in schedule.traces)
            if key not in seen:
                seen.add(key)
                self._place(segmenter, schedule)

    def _place(self, segmenter: Segmenter, schedule: Schedule) -> None:
        """Keep `schedule` if its layout makes it the best."""
        if self.best is not None and self._rank(schedule, schedule.peak) >= self.best.rank:
            return
        layout = lay_out(segmenter.net, schedule, self.options.memories)
        found = _Found(self._rank(schedule, layout.size), segmenter, schedule, layout)
        if self.best is None or found.rank < self.best.rank:
            self.best = found

    def _rank(self, schedule: Schedule, size: int) -> tuple[float, ...]:
        """How good `schedule` in an arena of `size` bytes is: the smaller the better."""
        ram = self.options.ram
        too_much = max(0, size - ram) if ram is not None else 0
        if self.options.optimize == "time":
            return too_much, schedule.cost, size
        if self.options.optimize == "balanced" and self.options.schedule == "auto":
            most = self.options.instructions
            assert most is not None
            return too_much, max(0.0, schedule.cost - most), size, schedule.cost
        return too_much, size, schedule.cost

    @property
    def _ceiling(self) -> int:
        """No schedule with a higher peak is better than the best."""
        if self.best is None or self.options.optimize == "time" or self.best.rank[0]:
            return NEVER
        if self.options.optimize == "balanced" and self.options.schedule == "auto":
            return NEVER if self.best.rank[1] else self.best.layout.size
        return self.best.layout.size

    def _schedules(self, segmenter: Segmenter, ease: float) -> Iterator[Schedule]:
        """Schedules worth placing."""
        if self.options.optimize == "time" or self.options.schedule == "whole":
            fastest = segmenter.fastest()
            yield fastest
            fits = self.options.ram is None or fastest.peak <= self.options.ram
            if fits or self.options.schedule == "whole":
                return
        least = segmenter.least_memory(self._ceiling + 1)
        if least is None:
            return
        tried = set()
        peaks = self._peaks(segmenter, least)
        for wanted in peaks if ease == 1.0 else peaks[:EASED]:
            peak = min(max(wanted, least.peak), self._ceiling)
            if least.peak <= peak and peak not in tried:
                tried.add(peak)
                for turns in TURNS:
                    schedule = segmenter.cheapest(peak, turns, ease)
                    assert schedule is not None
                    yield schedule

    def _peaks(self, segmenter: Segmenter, least: Schedule) -> list[int]:
        """Peaks that schedules may have, the best first. The placement may favour any."""
        ram, most = self.options.ram, self.options.instructions
        peak = least.peak
        if self.options.optimize == "balanced" and self.options.schedule == "auto":
            assert most is not None
            peak = _balanced_peak(segmenter, least, most)
        if ram is not None and (self.options.optimize == "time" or peak > ram):
            return [*(int(ram * s) for s in FITTING), least.peak]
        return [int(peak * s) for s in SLACK]


def _balanced_peak(segmenter: Segmenter, least: Schedule, most: float) -> int:
    """The smallest peak at which a schedule takes at most `most` instructions; that of the fastest
    one if none does."""
    fastest = segmenter.fastest()

    def is_cheap(peak: int) -> bool:
        schedule = segmenter.cheapest(peak)
        return schedule is not None and schedule.cost <= most

    if is_cheap(least.peak):
        return least.peak
    wholes = {t.peak for t in segmenter.wholes if least.peak < t.peak < fastest.peak}
    peaks = [*sorted(wholes), fastest.peak]
    low, high = 0, len(peaks) - 1
    while low < high:  # the first peak that is cheap enough
        middle = (low + high) // 2
        low, high = (low, middle) if is_cheap(peaks[middle]) else (middle + 1, high)
    below, above = peaks[low - 1] if low else least.peak, peaks[low]
    for _ in range(STEPS):
        middle = (below + above) // 2
        below, above = (below, middle) if is_cheap(middle) else (middle, above)
    return above
