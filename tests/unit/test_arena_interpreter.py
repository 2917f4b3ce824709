"""The arena interpreter: right plans give the reference, and dead bytes really are dead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.ir import Array, Graph
from mcucompile.plan.place import make_plan
from mcucompile.plan.plan import Plan, Region
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import Builder, random_inputs, reference


def chain() -> tuple[Graph, Plan]:
    """Two values that wait for the last step, one of them a view; scratch in the middle."""
    build = Builder(20)
    (a,) = build.mix("a", build.inputs, 24)
    view = build.view("view", a)
    (b,) = build.mix("b", [a], 16, scratch=12)
    (c,) = build.mix("c", [b], 16, in_place=[(0, 0)])
    (d,) = build.mix("d", [view, c], 8)
    return build.graph, make_plan(build.program(d))


def differs(plan: Plan, graph: Graph) -> bool:
    inputs = random_inputs(graph, np.random.default_rng(0), batch=4)
    (have,), (want,) = run_plan(plan, graph, inputs), reference(graph, inputs)
    return not np.array_equal(have, want)


def with_buffer(plan: Plan, name: str, **changes: object) -> Plan:
    buffers = [replace(b, **changes) if b.name == name else b for b in plan.buffers]
    return replace(plan, buffers=tuple(buffers))


@pytest.mark.parametrize("seed", [0, 1])
def test_any_batch_and_any_noise_give_the_reference(seed: int) -> None:
    graph, plan = chain()
    for batch in (1, 7):
        inputs: list[Array] = random_inputs(graph, np.random.default_rng(seed), batch)
        (have,), (want,) = run_plan(plan, graph, inputs, seed), reference(graph, inputs)
        assert have.dtype == np.int8
        assert have.shape == (batch, 8)
        np.testing.assert_array_equal(have, want)


def test_a_value_is_gone_after_its_lifetime() -> None:
    graph, plan = chain()
    life = next(b for b in plan.buffers if b.name == "a")
    assert (life.first, life.last) == (0, 3)
    assert not differs(plan, graph)
    assert differs(with_buffer(plan, "a", last=2), graph)


def test_scratch_destroys_what_it_overlaps() -> None:
    graph, plan = chain()
    for victim in (plan.steps[1].reads[0], plan.steps[1].writes[0]):
        assert victim is not None
        steps = list(plan.steps)
        steps[1] = replace(steps[1], scratch=Region(victim.offset, victim.offset + 1))
        assert differs(replace(plan, steps=tuple(steps)), graph)


def test_a_result_destroys_its_operand_unless_written_in_place() -> None:
    graph, plan = chain()
    step = plan.steps[2]
    assert step.writes[0] == step.reads[0]
    forbidden = replace(step, call=replace(step.call, in_place=()))
    steps = (*plan.steps[:2], forbidden, *plan.steps[3:])
    assert differs(replace(plan, steps=steps), graph)
