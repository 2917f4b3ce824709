"""The planner: which schedule, and where everything is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mcucompile.plan.explain import alternatives, choices
from mcucompile.plan.memories import Memory
from mcucompile.plan.order import reordered
from mcucompile.plan.place import Layout, assemble, lay_out, state_bytes
from mcucompile.plan.plan import Plan
from mcucompile.plan.program import Optimize, Program
from mcucompile.plan.segments import Schedule, Segmenter
from mcucompile.plan.stores import build_network

Scheduling = Literal["auto", "whole", "stream"]

TOLERANCE = 1.05  # instructions that `balanced` may spend, of the fewest possible
SLACK = (1.0, 1.02, 1.05, 1.1, 1.2, 1.3)  # peaks that are tried: the placement may favour one
TURNS: tuple[tuple[int, ...], ...] = ((4, 2), (2,), ())  # so may fewer rows at a time
STEPS = 5  # of halving the distance between two peaks


@dataclass(frozen=True)
class PlanOptions:
    """What the planner is to do.

    optimize: `ram` for the smallest arena, `time` for the fewest instructions that fit, `balanced`
    for the smallest arena at no more than 5 % more instructions than the fewest.
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


def make_plan(program: Program, options: PlanOptions = PlanOptions()) -> Plan:
    """The best plan for `program`, in its order of calls or a better one. Deterministic.

    If none fits into options.ram, it is the smallest. Raises UnsupportedModelError MC105 if a model
    output is a constant, UsageError MC033 if the input cannot arrive in rows.
    """
    rank, plan = _best(program, options)
    better = reordered(program)
    if better is not program:
        other = _best(better, options)
        rank, plan = min((rank, plan), other, key=lambda found: found[0])
    return plan


def _best(program: Program, options: PlanOptions) -> tuple[tuple[float, ...], Plan]:
    """The best plan in the order of `program`; the smaller its rank, the better."""
    net = build_network(program, options.keep_input, options.stream_input)
    if options.ram is not None:
        options = replace(options, ram=max(0, options.ram - state_bytes(program)))
    segmenter = Segmenter(net, streams=options.schedule != "whole")
    best: tuple[tuple[float, ...], Schedule, Layout] | None = None
    for schedule in _schedules(segmenter, options):
        if best is not None and options.optimize != "time" and schedule.peak > best[2].size:
            break
        layout = lay_out(net, schedule, options.memories)
        rank = _rank(schedule, layout, options)
        if best is None or rank < best[0]:
            best = (rank, schedule, layout)
    assert best is not None
    plan = assemble(net, best[1], best[2], options.keep_input, options.memories)
    explained = replace(
        plan, choices=choices(segmenter, best[1]), alternatives=alternatives(segmenter)
    )
    return best[0], explained


def least_peak(program: Program, options: PlanOptions) -> int:
    """Bytes that the schedule of `program` with the smallest peak needs, states included. Raises as
    make_plan."""
    net = build_network(program, options.keep_input, options.stream_input)
    return Segmenter(net).least_memory().peak + state_bytes(program)


def _rank(schedule: Schedule, layout: Layout, options: PlanOptions) -> tuple[float, ...]:
    """The smaller the better."""
    too_much = max(0, layout.size - options.ram) if options.ram is not None else 0
    if options.optimize == "time":
        return too_much, schedule.cost, layout.size
    return too_much, layout.size, schedule.cost


def _schedules(segmenter: Segmenter, options: PlanOptions) -> Iterator[Schedule]:
    """Schedules worth placing."""
    fastest = segmenter.fastest()
    if options.schedule == "whole":
        yield fastest
        return
    least = segmenter.least_memory()
    if options.optimize == "ram" or options.schedule == "stream":
        peaks = [int(least.peak * s) for s in SLACK]
    elif options.optimize == "balanced":
        peak = _balanced_peak(segmenter, least, fastest)
        peaks = [int(peak * s) for s in SLACK]
        if options.ram is not None and peak > options.ram:
            peaks += [least.peak]
    else:
        yield fastest
        if options.ram is None or fastest.peak <= options.ram:
            return
        peaks = [int(options.ram * s) for s in (1.0, 0.97, 0.93, 0.88)] + [least.peak]
    seen: set[tuple[tuple[int, int, str, int, int], ...]] = set()
    for peak in peaks:
        for turns in TURNS:
            schedule = segmenter.cheapest(max(peak, least.peak), turns)
            assert schedule is not None
            key = tuple((t.first, t.end, t.mode, t.turn, t.order) for t in schedule.traces)
            if key not in seen:
                seen.add(key)
                yield schedule


def _balanced_peak(segmenter: Segmenter, least: Schedule, fastest: Schedule) -> int:
    """The smallest peak at which a schedule costs little more than the fastest."""

    def is_cheap(peak: int) -> bool:
        schedule = segmenter.cheapest(peak)
        return schedule is not None and schedule.cost <= TOLERANCE * fastest.cost

    if is_cheap(least.peak):
        return least.peak
    peaks = sorted({t.peak for t in segmenter.wholes if t.peak > least.peak})
    low, high = 0, len(peaks) - 1
    while low < high:  # the first peak that is cheap enough
        middle = (low + high) // 2
        low, high = (low, middle) if is_cheap(peaks[middle]) else (middle + 1, high)
    below, above = peaks[low - 1] if low else least.peak, peaks[low]
    for _ in range(STEPS):
        middle = (below + above) // 2
        below, above = (below, middle) if is_cheap(middle) else (middle, above)
    return above
