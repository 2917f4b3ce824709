"""The plan checker: names what is wrong, and lets no harmful corruption pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.plan.check import check_plan
from mcucompile.plan.place import make_plan
from mcucompile.plan.plan import Plan, Region, Step
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


def with_step(plan: Plan, index: int, **changes: object) -> Plan:
    steps = list(plan.steps)
    steps[index] = replace(steps[index], **changes)
    return replace(plan, steps=tuple(steps))


def test_correct_plan_passes() -> None:
    check_plan(residual_plan())


def test_value_overwritten_while_it_waits() -> None:
    plan = residual_plan()
    skip = plan.steps[0].writes[0]
    scratch_there = with_step(plan, 1, reads=(at(skip, 64),), scratch=Region(skip.offset, 12))
    wrong = with_step(plan, 0, writes=(at(skip, 64),))
    with pytest.raises(InternalError, match=r"step 1 \(main\) reads 'skip'.*holds 'nothing'"):
        check_plan(replace(scratch_there, arena_size=128))
    with pytest.raises(InternalError, match=r"step 1 \(main\) reads 'skip'"):
        check_plan(replace(wrong, arena_size=128))
    build = Builder(8)
    (skip,) = build.mix("skip", build.inputs, 32)
    (main,) = build.mix("main", build.inputs, 32)
    (total,) = build.mix("total", [skip, main], 8)
    plan = make_plan(build.program(total))
    clobbered = with_step(plan, 1, writes=plan.steps[0].writes)
    with pytest.raises(
        InternalError, match=r"step 2 \(total\) reads 'skip': .* byte \d+ holds 'main'"
    ):
        check_plan(clobbered)


def test_scratch_over_an_operand_and_scratch_too_small() -> None:
    plan = residual_plan()
    skip = plan.steps[1].reads[0]
    assert skip is not None
    with pytest.raises(InternalError, match=r"step 1 \(main\): its scratch overlaps .*'skip'"):
        check_plan(with_step(plan, 1, scratch=Region(skip.offset, skip.offset + 12)))
    result = plan.steps[1].writes[0]
    with pytest.raises(InternalError, match=r"its scratch overlaps result 'main'|result 'main'"):
        check_plan(with_step(plan, 1, scratch=Region(result.offset, result.offset + 12)))
    for small in (None, Region(64, 72)):
        with pytest.raises(InternalError, match=r"step 1 \(main\): scratch is smaller than 12"):
            check_plan(with_step(plan, 1, scratch=small))


def test_result_over_an_operand_only_where_the_kernel_allows_it_and_at_the_same_base() -> None:
    plan = residual_plan()
    total = plan.steps[2]
    with pytest.raises(InternalError, match=r"step 2 \(total\): result 'total' overlaps .*'skip'"):
        check_plan(with_step(plan, 2, writes=(total.reads[0],)))
    shifted = at(total.writes[0], total.writes[0].offset + 4)
    with pytest.raises(InternalError, match=r"step 2 \(total\): result 'total' overlaps"):
        check_plan(replace(with_step(plan, 2, writes=(shifted,)), arena_size=128))


def test_regions_must_be_aligned_inside_and_of_the_right_size() -> None:
    plan = residual_plan()
    last = plan.steps[3].writes[0]
    cases = {
        "not aligned": at(last, last.offset + 1),
        "not inside": at(last, plan.arena_size),
        "not 4 bytes long": Region(last.offset, last.end + 4),
    }
    for text, region in cases.items():
        with pytest.raises(InternalError, match=text):
            check_plan(with_step(plan, 3, writes=(region,)))
    with pytest.raises(InternalError, match="not inside"):
        check_plan(replace(plan, arena_size=plan.arena_size - 4))
    with pytest.raises(InternalError, match="not aligned"):
        check_plan(replace(plan, arena_size=plan.arena_size + 2))


def test_steps_must_be_the_calls_of_the_program() -> None:
    plan = residual_plan()
    with pytest.raises(InternalError, match="3 steps for 4 kernel calls"):
        check_plan(replace(plan, steps=plan.steps[:3]))
    with pytest.raises(InternalError, match="step 0 is not the program's call"):
        check_plan(replace(plan, steps=plan.steps[::-1]))


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
    with pytest.raises(InternalError, match=r"input 'in0'.* holds 'in1'"):
        check_plan(replace(plan, inputs=same))


def test_buffers_must_agree_with_the_steps() -> None:
    plan = residual_plan()
    index = next(i for i, b in enumerate(plan.buffers) if b.name == "skip")
    skip = plan.buffers[index]
    wrong = {
        "not alive": replace(skip, last=skip.last - 1),
        "alive too early": replace(skip, first=skip.first - 1),
        "somewhere else": replace(skip, region=at(skip.region, skip.region.offset + 4)),
        "no buffer": replace(skip, values=()),
    }
    for text, buffer in wrong.items():
        buffers = (*plan.buffers[:index], buffer, *plan.buffers[index + 1 :])
        with pytest.raises(InternalError, match=text):
            check_plan(replace(plan, buffers=buffers))
    unscratched = tuple(b for b in plan.buffers if b.kind != "scratch")
    with pytest.raises(InternalError, match="buffer of its scratch"):
        check_plan(replace(plan, buffers=unscratched))


# -- random corruption ------------------------------------------------------------------------


def shift_all(plan: Plan, change: Callable[[str, Region], Region]) -> Plan:
    """`plan` with the region of each value, everywhere it occurs, replaced by change(root, .)."""
    root = plan.program.root

    def moved(step: Step) -> Step:
        reads = [
            None if r is None else change(root(o.value), r)
            for o, r in zip(step.call.reads, step.reads, strict=True)
        ]
        operands = zip(step.call.writes, step.writes, strict=True)
        writes = [change(o.value, r) for o, r in operands]
        return replace(step, reads=tuple(reads), writes=tuple(writes))

    return replace(
        plan,
        steps=tuple(moved(s) for s in plan.steps),
        buffers=tuple(
            b if b.kind == "scratch" else replace(b, region=change(b.name, b.region))
            for b in plan.buffers
        ),
        inputs={n: change(root(n), r) for n, r in plan.inputs.items()},
        outputs={n: change(root(n), r) for n, r in plan.outputs.items()},
    )


def move_buffer(plan: Plan, rng: np.random.Generator) -> Plan:
    """One value goes somewhere else, consistently; breaks in-place pairs too."""
    target = rng.choice([b.name for b in plan.buffers if b.kind == "activation"])
    offset = 4 * int(rng.integers(plan.arena_size // 4 + 1))
    return shift_all(plan, lambda name, r: at(r, offset) if name == target else r)


def swap_buffers(plan: Plan, rng: np.random.Generator) -> Plan:
    places = {b.name: b.region.offset for b in plan.buffers if b.kind == "activation"}
    a, b = (str(n) for n in rng.choice(list(places), 2))
    other = {a: places[b], b: places[a]}
    return shift_all(plan, lambda name, r: at(r, other.get(name, r.offset)))


def move_one_operand(plan: Plan, rng: np.random.Generator) -> Plan:
    """One slot of one step looks elsewhere, aligned or not."""
    index = int(rng.integers(len(plan.steps)))
    step = plan.steps[index]
    slots = list(step.reads) + list(step.writes)
    slot = int(rng.integers(len(slots)))
    old = slots[slot]
    if old is not None:
        by = int(rng.choice([-8, -4, -1, 1, 4, 8]))
        slots[slot] = Region(max(0, old.offset + by), max(0, old.offset + by) + old.size)
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
    changed = with_step(plan, index, scratch=new)
    if new is None or rng.random() < 0.3:
        return changed
    buffers = [
        replace(b, region=new) if b.kind == "scratch" and b.first == index else b
        for b in plan.buffers
    ]
    return replace(changed, buffers=tuple(buffers))


def forbid_in_place(plan: Plan, rng: np.random.Generator) -> Plan:
    """A kernel no longer allows what the plan does."""
    index = int(rng.integers(len(plan.steps)))
    call = replace(plan.steps[index].call, in_place=())
    calls = list(plan.program.calls)
    calls[index] = call
    changed = with_step(plan, index, call=call)
    return replace(changed, program=replace(plan.program, calls=tuple(calls)))


def change_lifetime(plan: Plan, rng: np.random.Generator) -> Plan:
    index = int(rng.integers(len(plan.buffers)))
    old = plan.buffers[index]
    by = rng.integers(-2, 3, 2)
    new = replace(old, first=old.first + int(by[0]), last=old.last + int(by[1]))
    return replace(plan, buffers=(*plan.buffers[:index], new, *plan.buffers[index + 1 :]))


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
    change_lifetime,
    shrink_arena,
    move_port,
)


def still_right(plan: Plan, graph: Graph, inputs: list[Array], expected: list[Array]) -> bool:
    """Does the arena interpreter give the reference's outputs?"""
    try:
        outputs = run_plan(plan, graph, inputs)
    except (ValueError, IndexError, TypeError):  # regions that numpy cannot read or write
        return False
    return all(
        a.shape == b.shape and bool(np.array_equal(a, b))
        for a, b in zip(outputs, expected, strict=True)
    )


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
def test_every_corruption_that_changes_a_result_is_rejected(
    corrupt: Callable[[Plan, np.random.Generator], Plan],
) -> None:
    rng = np.random.default_rng(7)
    harmful = 0
    for _ in range(150):
        graph, program = random_graph(rng, int(rng.integers(3, 16)))
        plan = make_plan(program)
        inputs = random_inputs(graph, rng, batch=1)
        bad = corrupt(plan, rng)
        if still_right(bad, graph, inputs, reference(graph, inputs)):
            continue
        harmful += 1
        with pytest.raises(InternalError):
            check_plan(bad)
    assert harmful >= 25
