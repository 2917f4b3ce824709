"""The plan checker: names what is wrong, and lets no harmful corruption pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Place, Plan, Region, Step
from mcucompile.plan.planner import make_plan
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import Builder, random_graph, random_inputs, reference


def residual_plan() -> Plan:
    """skip (32 bytes) waits while main is computed with scratch; the sum goes in place."""
    build = Builder(8)
    (skip,) = build.mix("skip", build.inputs, 32)
    (main,) = build.mix("main", [skip], 32, scratch=12)
    (total,) = build.mix("total", [skip, main], 32, in_place=[(1, 0)])
    (last,) = build.mix("last", [total], 4)
    return make_plan(build.program(last))


def at(region: Region, offset: int) -> Region:
    return Region(offset, offset + region.size)


def put(place: Place | None, offset: int) -> Place:
    assert place is not None
    return replace(place, offset=offset)


def with_step(plan: Plan, index: int, **changes: object) -> Plan:
    steps = list(plan.steps)
    steps[index] = replace(steps[index], **changes)
    return replace(plan, steps=tuple(steps))


def test_correct_plan_passes() -> None:
    check_plan(residual_plan())


def test_value_overwritten_while_it_waits() -> None:
    build = Builder(8)
    (skip,) = build.mix("skip", build.inputs, 32)
    (main,) = build.mix("main", build.inputs, 32)
    (total,) = build.mix("total", [skip, main], 8)
    plan = make_plan(build.program(total))
    clobbered = with_step(plan, 1, writes=plan.steps[0].writes)
    with pytest.raises(
        InternalError, match=r"step 2 \(total\).* reads 'skip': .* holds byte 0 of 'main'"
    ):
        check_plan(clobbered)


def test_value_looked_for_where_it_is_not() -> None:
    plan = residual_plan()
    moved = with_step(plan, 0, writes=(put(plan.steps[0].writes[0], 64),))
    with pytest.raises(InternalError, match=r"step 1 \(main\).* reads 'skip'"):
        check_plan(replace(moved, arena_size=128))


def test_scratch_over_an_operand_and_scratch_too_small() -> None:
    plan = residual_plan()
    step = plan.steps[1]
    for place in (step.reads[0], step.writes[0]):
        assert place is not None
        scratch = Region(place.offset, place.offset + 12)
        with pytest.raises(InternalError, match=r"scratch overlaps|is not intact"):
            check_plan(with_step(plan, 1, scratch=scratch))
    with pytest.raises(InternalError, match=r"step 1 \(main\): it has no scratch"):
        check_plan(with_step(plan, 1, scratch=None))
    with pytest.raises(InternalError, match=r"step 1 \(main\): scratch is smaller than 12"):
        check_plan(with_step(plan, 1, scratch=Region(64, 72)))


def test_result_over_an_operand_only_where_the_kernel_allows_it_and_at_the_same_base() -> None:
    plan = residual_plan()
    total = plan.steps[2]
    with pytest.raises(InternalError, match=r"step 2 \(total\).*result 0 .* overlaps .*'skip'"):
        check_plan(with_step(plan, 2, writes=(total.reads[0],)))
    shifted = put(total.writes[0], total.writes[0].offset + 4)
    with pytest.raises(InternalError, match=r"step 2 \(total\).*result 0 .* overlaps"):
        check_plan(replace(with_step(plan, 2, writes=(shifted,)), arena_size=128))


def test_places_must_be_aligned_inside_and_of_the_right_size() -> None:
    plan = residual_plan()
    last = plan.steps[3].writes[0]
    cases = {
        "not aligned": put(last, last.offset + 1),
        "not inside": put(last, plan.arena_size),
        "not the size of its value": replace(last, row_bytes=8, pitch=8),
    }
    for text, place in cases.items():
        with pytest.raises(InternalError, match=text):
            check_plan(with_step(plan, 3, writes=(place,)))
    with pytest.raises(InternalError, match="not inside"):
        check_plan(replace(plan, arena_size=plan.arena_size - 4))
    with pytest.raises(InternalError, match="not aligned"):
        check_plan(replace(plan, arena_size=plan.arena_size + 2))


def test_steps_and_segments_must_be_those_of_the_program() -> None:
    plan = residual_plan()
    with pytest.raises(InternalError, match="3 steps for 4 kernel calls"):
        check_plan(replace(plan, steps=plan.steps[:3]))
    with pytest.raises(InternalError, match="step 0 is not the program's call"):
        check_plan(replace(plan, steps=plan.steps[::-1]))
    with pytest.raises(InternalError, match="segments do not cover"):
        check_plan(replace(plan, segments=plan.segments[:3]))


def test_outputs_and_kept_inputs_must_be_intact_at_the_end() -> None:
    plan = residual_plan()
    (name,) = plan.outputs
    moved = at(plan.outputs[name], 64 if plan.outputs[name].offset != 64 else 60)
    with pytest.raises(InternalError, match="output 'last'"):
        check_plan(replace(plan, outputs={name: moved}, arena_size=128))
    with pytest.raises(InternalError, match=r"input 'in0'"):
        check_plan(replace(plan, keeps_inputs=True))


def test_inputs_must_not_overlap_even_if_one_is_never_read() -> None:
    build = Builder(8, 8)
    (x,) = build.mix("x", build.inputs[1:], 8)
    plan = make_plan(build.program(x))
    check_plan(plan)
    same = dict.fromkeys(plan.inputs, plan.inputs["in1"])
    with pytest.raises(InternalError, match=r"input 'in0'.* holds byte 0 of 'in1'"):
        check_plan(replace(plan, inputs=same))


# -- random corruption ------------------------------------------------------------------------


def shift_all(plan: Plan, change: Callable[[str, int], int]) -> Plan:
    """`plan` with the offset of each value, everywhere it occurs, replaced by change(root, .)."""
    root = plan.program.root

    def moved(step: Step) -> Step:
        reads = [
            None if r is None else put(r, change(root(o.value), r.offset))
            for o, r in zip(step.call.reads, step.reads, strict=True)
        ]
        operands = zip(step.call.writes, step.writes, strict=True)
        writes = [put(r, change(o.value, r.offset)) for o, r in operands]
        return replace(step, reads=tuple(reads), writes=tuple(writes))

    return replace(
        plan,
        steps=tuple(moved(s) for s in plan.steps),
        inputs={n: at(r, change(root(n), r.offset)) for n, r in plan.inputs.items()},
        outputs={n: at(r, change(root(n), r.offset)) for n, r in plan.outputs.items()},
    )


def move_buffer(plan: Plan, rng: np.random.Generator) -> Plan:
    """One value goes somewhere else, consistently; breaks in-place pairs too."""
    target = rng.choice([v for b in plan.buffers for v in b.values])
    offset = 4 * int(rng.integers(plan.arena_size // 4 + 1))
    return shift_all(plan, lambda name, now: offset if name == target else now)


def swap_buffers(plan: Plan, rng: np.random.Generator) -> Plan:
    places = {v: b.region.offset for b in plan.buffers for v in b.values}
    a, b = (str(n) for n in rng.choice(list(places), 2))
    other = {a: places[b], b: places[a]}
    return shift_all(plan, lambda name, now: other.get(name, now))


def move_one_operand(plan: Plan, rng: np.random.Generator) -> Plan:
    """One slot of one step looks elsewhere, aligned or not."""
    index = int(rng.integers(len(plan.steps)))
    step = plan.steps[index]
    slots = list(step.reads) + list(step.writes)
    slot = int(rng.integers(len(slots)))
    old = slots[slot]
    if old is not None:
        by = int(rng.choice([-8, -4, -1, 1, 4, 8]))
        slots[slot] = put(old, max(0, old.offset + by))
    reads = tuple(slots[: len(step.reads)])
    return with_step(plan, index, reads=reads, writes=tuple(slots[len(step.reads) :]))


def change_scratch(plan: Plan, rng: np.random.Generator) -> Plan:
    """Scratch memory shrunk, moved (with its buffer or without) or gone."""
    steps = [i for i, s in enumerate(plan.steps) if s.scratch is not None]
    if not steps:
        return plan
    index = int(rng.choice(steps))
    old = plan.steps[index].scratch
    assert old is not None
    moved = at(old, 4 * int(rng.integers(plan.arena_size // 4)))
    choices = [None, Region(old.offset, max(old.offset, old.end - 4)), moved, moved, moved]
    new = choices[int(rng.integers(len(choices)))]
    return with_step(plan, index, scratch=new)


def forbid_in_place(plan: Plan, rng: np.random.Generator) -> Plan:
    """A kernel no longer allows what the plan does."""
    index = int(rng.integers(len(plan.steps)))
    call = replace(plan.steps[index].call, in_place=())
    calls = list(plan.program.calls)
    calls[index] = call
    changed = with_step(plan, index, call=call)
    return replace(changed, program=replace(plan.program, calls=tuple(calls)))


def run_in_another_order(plan: Plan, rng: np.random.Generator) -> Plan:
    order = list(plan.segments)
    i, j = rng.integers(len(order), size=2)
    order[i], order[j] = order[j], order[i]
    return replace(plan, segments=tuple(order))


def shrink_arena(plan: Plan, rng: np.random.Generator) -> Plan:
    return replace(plan, arena_size=plan.arena_size - int(rng.integers(1, 12)))


def move_port(plan: Plan, rng: np.random.Generator) -> Plan:
    """An input or output is not where the steps have it."""
    ports = dict(plan.inputs if rng.random() < 0.5 else plan.outputs)
    name = rng.choice(list(ports))
    inputs = tuple(ports) == tuple(plan.inputs)
    ports[name] = at(ports[name], 4 * int(rng.integers(plan.arena_size // 4 + 1)))
    return replace(plan, inputs=ports) if inputs else replace(plan, outputs=ports)


CORRUPTIONS = (
    move_buffer,
    swap_buffers,
    move_one_operand,
    change_scratch,
    forbid_in_place,
    run_in_another_order,
    shrink_arena,
    move_port,
)


def still_right(plan: Plan, graph: Graph, inputs: list[Array]) -> bool:
    """Does the arena interpreter find every row that is read, and the outputs?"""
    try:
        outputs = run_plan(plan, graph, inputs)
    except (InternalError, ValueError, IndexError, TypeError):
        return False
    expected = reference(graph, inputs)
    return all(map(np.array_equal, outputs, expected))


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_every_corruption_that_changes_a_result_is_rejected(
    corrupt: Callable[[Plan, np.random.Generator], Plan],
) -> None:
    rng = np.random.default_rng(7)
    harmful = 0
    for _ in range(10):
        graph, program = random_graph(rng, int(rng.integers(3, 16)))
        plan = make_plan(program)
        inputs = random_inputs(graph, rng, batch=1)
        for _ in range(13):
            bad = corrupt(plan, rng)
            if still_right(bad, graph, inputs):
                continue
            harmful += 1
            with pytest.raises(InternalError):
                check_plan(bad)
    assert harmful >= 20
