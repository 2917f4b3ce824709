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

Scheduling = Literal["auto", "whole", "stream"]

TOLERANCE = 1.05  # instructions that `balanced` may spend, of the fewest possible
SLACK = (1.0, 1.02, 1.05, 1.1, 1.2, 1.3)  # peaks that are tried: the placement may favour one
EASE = (0.9, 0.7)  # of the peak: what segments should need if the placement was not near its bound
EASED = 3  # peaks that are tried so
NEAR = 1.02  # arena, of its bound, that is good enough
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
    if options.ram is not None:
        options = replace(options, ram=max(0, options.ram - state_bytes(program)))
    segmenters = [
        Segmenter(net, options.schedule != "whole") for net in _networks(program, options)
    ]
    best: _Found | None = None
    for ease, segmenter in product((1.0, *EASE), segmenters):
        for schedule in _schedules(segmenter, options, ease):
            if best is None or _may_be_smaller(schedule, best, options):
                layout = lay_out(segmenter.net, schedule, options.memories)
                found = _Found(_rank(schedule, layout, options), segmenter, schedule, layout)
                best = found if best is None or found.rank < best.rank else best
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


def _may_be_smaller(schedule: Schedule, best: _Found, options: PlanOptions) -> bool:
    """Can a layout of `schedule` be smaller than the best so far, where that is what counts?"""
    return options.optimize == "time" or schedule.peak <= best.layout.size


def least_peak(program: Program, options: PlanOptions, limit: int) -> int | None:
    """Bytes that the schedule of `program` with the smallest peak needs, states included; None if
    they are not below `limit`. Raises as make_plan."""
    net = build_network(program, options.keep_input, options.stream_input)
    states = state_bytes(program)
    schedule = Segmenter(net).least_memory(limit - states)
    return None if schedule is None else schedule.peak + states


def _rank(schedule: Schedule, layout: Layout, options: PlanOptions) -> tuple[float, ...]:
    """The smaller the better."""
    too_much = max(0, layout.size - options.ram) if options.ram is not None else 0
    if options.optimize == "time":
        return too_much, schedule.cost, layout.size
    return too_much, layout.size, schedule.cost


def _schedules(segmenter: Segmenter, options: PlanOptions, ease: float) -> Iterator[Schedule]:
    """Schedules worth placing. ease: below 1, those that leave room to the placement; see
    Segmenter.cheapest."""
    fastest = segmenter.fastest()
    if options.schedule == "whole":
        yield fastest
        return
    least = segmenter.least_memory()
    assert least is not None
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
    for peak, turns in product(peaks if ease == 1.0 else peaks[:EASED], TURNS):
        schedule = segmenter.cheapest(max(peak, least.peak), turns, ease)
        assert schedule is not None
        key = tuple((t.first, t.end, t.mode, t.turn, t.order) for t in schedule.traces)
        dear = options.optimize == "balanced" and schedule.cost > TOLERANCE * fastest.cost
        fits_only = options.ram is not None and peak == least.peak
        if key not in seen and (fits_only or not dear):
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
