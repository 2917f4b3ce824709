"""The arena interpreter: right plans give the reference, and dead bytes really are dead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.plan.plan import Plan, Region
from mcucompile.plan.planner import make_plan
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


def is_caught(plan: Plan, graph: Graph) -> bool:
    inputs = random_inputs(graph, np.random.default_rng(0), batch=4)
    try:
        run_plan(plan, graph, inputs)
    except InternalError:
        return True
    return False


@pytest.mark.parametrize("seed", [0, 1])
def test_any_batch_and_any_noise_give_the_reference(seed: int) -> None:
    graph, plan = chain()
    for batch in (1, 7):
        inputs: list[Array] = random_inputs(graph, np.random.default_rng(seed), batch)
        (have,), (want,) = run_plan(plan, graph, inputs, seed), reference(graph, inputs)
        assert have.dtype == np.int8
        assert have.shape == (batch, 8)
        np.testing.assert_array_equal(have, want)


def test_scratch_destroys_what_it_overlaps() -> None:
    graph, plan = chain()
    assert not is_caught(plan, graph)
    steps = list(plan.steps)
    for k, victim in ((1, plan.steps[1].reads[0]), (2, plan.steps[3].reads[0])):
        assert victim is not None
        scratch = Region(victim.offset, victim.offset + 1)
        changed = [*steps[:k], replace(steps[k], scratch=scratch), *steps[k + 1 :]]
        assert is_caught(replace(plan, steps=tuple(changed)), graph)


def test_a_result_destroys_what_waits_where_it_is_put() -> None:
    graph, plan = chain()
    waiting = plan.steps[3].reads[0]  # the view of a, which is read at the end
    assert waiting is not None
    steps = list(plan.steps)
    moved = replace(steps[1].writes[0], offset=waiting.offset)
    steps[1] = replace(steps[1], writes=(moved,))
    steps[2] = replace(steps[2], reads=(moved,))
    assert is_caught(replace(plan, steps=tuple(steps)), graph)
