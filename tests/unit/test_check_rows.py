"""The checker against plans with rings of rows: no harmful corruption passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.plan import offsets
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Place, Plan, Pull, Region, Segment, Step
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import KernelCall, RowWindow
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import random_inputs, reference
from tests.support.row_mixing import RowBuilder, random_row_graph

Corruption = Callable[[Plan, np.random.Generator], Plan]


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "ROUNDS", 2)


def with_step(plan: Plan, index: int, **changes: object) -> Plan:
    steps = list(plan.steps)
    steps[index] = replace(steps[index], **changes)  # type: ignore[arg-type]
    return replace(plan, steps=tuple(steps))


def with_segment(plan: Plan, index: int, **changes: object) -> Plan:
    segments = list(plan.segments)
    segments[index] = replace(segments[index], **changes)  # type: ignore[arg-type]
    return replace(plan, segments=tuple(segments))


def with_call(plan: Plan, index: int, change: Callable[[KernelCall], KernelCall]) -> Plan:
    """The kernel itself is another one: in the program, in all its forms, and in the step."""

    def changed(call: KernelCall) -> KernelCall:
        call = change(call)
        turns = {n: change(t) for n, t in call.turns.items()}
        folding = change(call.folding) if call.folding is not None else None
        return replace(call, turns=turns, folding=folding)

    calls = list(plan.program.calls)
    calls[index] = changed(calls[index])
    plan = replace(plan, program=replace(plan.program, calls=tuple(calls)))
    return with_step(plan, index, call=changed(plan.steps[index].call))


def with_place(plan: Plan, rng: np.random.Generator, change: Callable[[Place], Place]) -> Plan:
    """One operand of one step is elsewhere; or else its value is, wherever it occurs."""
    k = int(rng.integers(len(plan.steps)))
    step = plan.steps[k]
    places = [*step.reads, *step.writes]
    slot = int(rng.integers(len(places)))
    old = places[slot]
    if old is None:
        return plan
    new = change(old)
    if rng.random() < 0.5:
        places[slot] = new
        count = len(step.reads)
        return with_step(plan, k, reads=tuple(places[:count]), writes=tuple(places[count:]))
    operands = [*step.call.reads, *step.call.writes]
    root = plan.program.root(operands[slot].value)

    def moved(place: Place | None, name: str) -> Place | None:
        return new if place == old and plan.program.root(name) == root else place

    def moved_step(s: Step) -> Step:
        reads = (moved(p, o.value) for p, o in zip(s.reads, s.call.reads, strict=True))
        writes = (moved(p, o.value) for p, o in zip(s.writes, s.call.writes, strict=True))
        return replace(s, reads=tuple(reads), writes=tuple(writes))  # type: ignore[arg-type]

    return replace(plan, steps=tuple(map(moved_step, plan.steps)))


# -- corruptions ------------------------------------------------------------------------------


def offset(plan: Plan, rng: np.random.Generator) -> Plan:
    by = int(rng.choice([-12, -8, -4, 1, 4, 8, 12, 40]))
    return with_place(plan, rng, lambda p: replace(p, offset=max(0, p.offset + by)))


def ring_height(plan: Plan, rng: np.random.Generator) -> Plan:
    by = int(rng.choice([-2, -1, 1]))
    return with_place(plan, rng, lambda p: replace(p, rows=max(1, p.rows + by)))


def pitch(plan: Plan, rng: np.random.Generator) -> Plan:
    by = int(rng.choice([-4, -1, 1, 4]))
    return with_place(plan, rng, lambda p: replace(p, pitch=max(1, p.pitch + by)))


def stride_or_lead(plan: Plan, rng: np.random.Generator) -> Plan:
    stride, lead = int(rng.integers(-1, 2)), int(rng.integers(-1, 3))
    return with_place(
        plan,
        rng,
        lambda p: replace(p, stride=max(1, p.stride + stride), lead=max(0, p.lead + lead)),
    )


def order_of_segments(plan: Plan, rng: np.random.Generator) -> Plan:
    order = list(plan.segments)
    i, j = rng.integers(len(order), size=2)
    order[i], order[j] = order[j], order[i]
    return replace(plan, segments=tuple(order))


def sinks_or_rest(plan: Plan, rng: np.random.Generator) -> Plan:
    i, segment = random_segment(plan, rng)
    sinks = list(segment.sinks)
    kind = rng.choice(["other", "more", "fewer", "order", "rest"])
    inside = int(rng.integers(segment.first, segment.end))
    if kind == "other":
        sinks[0] = inside
    elif kind == "more":
        sinks.append(inside)
    elif kind == "fewer":
        sinks.pop(int(rng.integers(len(sinks))))
    elif kind == "order":
        sinks.reverse()
    else:
        return with_segment(plan, i, rest=() if segment.rest else (inside,))
    return with_segment(plan, i, sinks=tuple(sinks))


def pulls(plan: Plan, rng: np.random.Generator) -> Plan:
    """A step does not ask, asks another step, asks along another slot, or in another order."""
    i, segment = random_segment(plan, rng)
    if not segment.pulls:
        return plan
    changed = dict(segment.pulls)
    k = int(rng.choice(list(changed)))
    found = list(changed[k])
    at = int(rng.integers(len(found)))
    kind = rng.choice(["gone", "producer", "slot", "order", "moved"])
    if kind == "gone":
        found.pop(at)
    elif kind == "producer":
        found[at] = Pull(found[at].slot, int(rng.integers(segment.first, segment.end)))
    elif kind == "slot":
        found[at] = Pull(found[at].slot + 1, found[at].producer)
    elif kind == "order":
        found.reverse()
    else:
        other = int(rng.integers(segment.first, segment.end))
        changed[other] = (*changed.get(other, ()), found.pop(at))
    return with_segment(plan, i, pulls={**changed, k: tuple(found)})


def random_segment(plan: Plan, rng: np.random.Generator) -> tuple[int, Segment]:
    """One that runs row by row, if there is one."""
    found = [i for i, s in enumerate(plan.segments) if s.mode == "rows"]
    i = int(rng.choice(found or range(len(plan.segments))))
    return i, plan.segments[i]


def rows_at_a_time(plan: Plan, rng: np.random.Generator) -> Plan:
    k = int(rng.integers(len(plan.steps)))
    return with_step(plan, k, rows=max(1, plan.steps[k].rows + int(rng.choice([-1, 1, 2, 3]))))


def scratch(plan: Plan, rng: np.random.Generator) -> Plan:
    found = [k for k, s in enumerate(plan.steps) if s.scratch is not None]
    if not found:
        return plan
    k = int(rng.choice(found))
    old = plan.steps[k].scratch
    assert old is not None
    if rng.random() < 0.2:
        return with_step(plan, k, scratch=Region(old.offset, old.end - 1))
    to = 4 * int(rng.integers(plan.arena_size // 4))
    return with_step(plan, k, scratch=Region(to, to + old.size))


def window(plan: Plan, rng: np.random.Generator) -> Plan:
    """The kernel needs other rows than the plan was made for; or the step alone believes so."""
    k = int(rng.integers(len(plan.steps)))
    size, top = int(rng.choice([-1, 0, 1, 2])), int(rng.choice([-1, 0, 1]))

    def other(w: RowWindow | None) -> RowWindow | None:
        return None if w is None else replace(w, size=max(1, w.size + size), top=w.top + top)

    def change(call: KernelCall) -> KernelCall:
        return replace(call, windows=tuple(map(other, call.windows)))

    if rng.random() < 0.5:
        return with_call(plan, k, change)
    return with_step(plan, k, call=change(plan.steps[k].call))


def promise(plan: Plan, rng: np.random.Generator) -> Plan:
    """The kernel does not allow any more what the plan may be doing."""
    lodged = [k for k, s in enumerate(plan.steps) if s.call.takes_top or s.call.in_place]
    k = int(rng.choice(lodged or range(len(plan.steps))))
    lost = rng.choice(["in_place", "takes_top", "band", "tile"])
    none = {"in_place": (), "takes_top": False, "band": 0, "tile": None}[str(lost)]
    return with_call(plan, k, lambda call: replace(call, **{str(lost): none}))


CORRUPTIONS: tuple[Corruption, ...] = (
    offset,
    ring_height,
    pitch,
    stride_or_lead,
    order_of_segments,
    sinks_or_rest,
    pulls,
    rows_at_a_time,
    scratch,
    window,
    promise,
)


def still_right(plan: Plan, graph: Graph, inputs: list[Array]) -> bool:
    """Does the arena interpreter find every row that is read, and the outputs?"""
    try:
        outputs = run_plan(plan, graph, inputs)
    except (InternalError, ValueError, IndexError, KeyError, TypeError, RecursionError):
        return False
    return all(map(np.array_equal, outputs, reference(graph, inputs)))


def streamed_plan(rng: np.random.Generator) -> tuple[Graph, Plan]:
    """One with rows that run depth-first."""
    while True:
        graph, program = random_row_graph(rng, int(rng.integers(2, 6)))
        plan = make_plan(program, PlanOptions("ram", schedule="stream"))
        if any(s.mode == "rows" for s in plan.segments):
            return graph, plan


def corrupt_plans(corrupt: Corruption, seed: int, plans: int, times: int) -> int:
    """How many corruptions changed what is read or the outputs; they must all be rejected."""
    rng = np.random.default_rng(seed)
    harmful = 0
    for _ in range(plans):
        graph, plan = streamed_plan(rng)
        check_plan(plan)
        inputs = random_inputs(graph, rng, batch=1)
        for _ in range(times):
            bad = corrupt(plan, rng)
            if not still_right(bad, graph, inputs):
                harmful += 1
                with pytest.raises(InternalError):
                    check_plan(bad)
    return harmful


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_every_corruption_that_changes_a_result_is_rejected(corrupt: Corruption) -> None:
    """1,001 corruptions in all."""
    assert corrupt_plans(corrupt, seed=11, plans=7, times=13) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_many_more_corruptions_are_rejected(corrupt: Corruption, seed: int) -> None:
    corrupt_plans(corrupt, 100 + seed, plans=20, times=20)


# -- what planners get wrong ------------------------------------------------------------------


def lodging_plan(rows: int = 8) -> Plan:
    """Step 1 reads a ring and puts its rows into that; step 2 reads them."""
    build = RowBuilder((rows, 2, 4))
    y = build.block("b", build.inputs[0], 3)
    plan = make_plan(build.program(y), PlanOptions("ram", schedule="stream"))
    check_plan(plan)
    assert plan.steps[1].writes[0].lead
    return plan


def ring_of(step: Step) -> Place:
    (place,) = step.reads
    assert place is not None
    return place


def test_a_ring_with_a_lodger_needs_a_slot_more_than_its_live_rows() -> None:
    """The slot of a row in the padding has to be there before any row is pushed into it."""
    plan = lodging_plan()
    ring = ring_of(plan.steps[1])
    less = ring.rows - 1
    small = with_step(plan, 0, writes=(replace(ring, rows=less),))
    lodger = replace(plan.steps[1].writes[0], rows=less, lead=less - 1)
    small = with_step(small, 1, reads=(replace(ring, rows=less),), writes=(lodger,))
    small = with_step(small, 2, reads=(lodger,))
    with pytest.raises(InternalError, match=r"step 1 \(bd\)"):
        check_plan(small)


def test_a_ring_does_not_die_before_its_lodger_is_read() -> None:
    plan = lodging_plan()
    lodger = ring_of(plan.steps[2])
    step = plan.steps[2]
    assert step.scratch is not None
    for y in range(8):
        over = Region(lodger.row(y), lodger.row(y) + step.scratch.size)
        with pytest.raises(InternalError, match=r"step \d"):
            check_plan(with_step(plan, 2, scratch=over))


def test_rows_of_a_lodger_are_computed_and_read_one_at_a_time() -> None:
    plan = lodging_plan()
    for k in (1, 2):
        with pytest.raises(InternalError, match="it sees one row where it needs several"):
            check_plan(with_step(plan, k, rows=2))


def test_a_row_is_needed_one_stride_longer() -> None:
    """As if `first` were computed from the row before."""
    build = RowBuilder((12, 2, 4))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 12)
    y = build.conv("b", a, RowWindow(3, 2, 0), 2)
    plan = make_plan(build.program(y), PlanOptions("ram", schedule="stream"))
    check_plan(plan)
    for k in (0, 1):

        def change(call: KernelCall) -> KernelCall:
            (w,) = call.windows
            assert w is not None
            return replace(
                call, windows=(replace(w, size=w.size + w.stride, top=w.top + w.stride),)
            )

        with pytest.raises(
            InternalError, match=rf"step {k} .* (is not intact|overlaps what is read)"
        ):
            check_plan(with_call(plan, k, change))


def test_sums_in_scratch_last_until_the_last_row() -> None:
    build = RowBuilder((12, 2, 3))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 24)
    b = build.conv("b", a, RowWindow(3, 1, 1), 24, scratch=4)
    plan = make_plan(build.program(build.pool("p", b)), PlanOptions("ram", schedule="stream"))
    check_plan(plan)
    folding = next(s for s in plan.steps if s.call.folds)
    assert folding.scratch is not None
    over = Region(folding.scratch.offset, folding.scratch.offset + 4)
    with pytest.raises(InternalError, match=r"step 2 .* sums in scratch are not intact"):
        check_plan(with_step(plan, 1, scratch=over))


def test_rows_at_a_time_are_those_the_kernel_was_made_for() -> None:
    build = RowBuilder((12, 2, 4))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 16, turns=True)
    y = build.conv("b", a, RowWindow(3, 1, 1), 2, band=2)
    plan = make_plan(build.program(y), PlanOptions("ram", schedule="stream"))
    check_plan(plan)
    assert [s.rows for s in plan.steps][1] % 2 == 0
    with pytest.raises(InternalError, match="cannot do 3 rows at a time"):
        check_plan(with_step(plan, 1, rows=3))
    variant = replace(plan.program.calls[0].turns[4], windows=plan.program.calls[0].windows)
    with pytest.raises(InternalError, match="cannot do 2 rows at a time"):
        check_plan(with_step(plan, 0, call=variant, rows=2, scratch=Region(0, 32)))


def test_segments_are_run_as_they_say() -> None:
    plan = lodging_plan()
    (segment,) = plan.segments
    cases: dict[str, dict[str, object]] = {
        "asks steps that are not its own": {"sinks": ()},
        "step 0 cannot ask step 1": {"pulls": {**segment.pulls, 0: (Pull(0, 1),)}},
        "it is no single call": {"mode": "whole"},
    }
    for text, change in cases.items():
        with pytest.raises(InternalError, match=text):
            check_plan(with_segment(plan, 0, **change))
