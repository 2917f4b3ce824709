"""Segments cut into patches: the same integers, whatever the operators and the grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import InternalError
from mcucompile.ir import Graph
from mcucompile.ir.verify import verify
from mcucompile.lower import lower
from mcucompile.ops.pool import MaxPool
from mcucompile.passes.split_patches import split_patches
from mcucompile.plan import offsets
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Place, Plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Target
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs, random_inputs
from tests.support.stacks import Stack, random_stack


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offsets, "ROUNDS", 2)


def random_split(rng: np.random.Generator) -> tuple[Graph, Graph]:
    """A random network, and the same in a random grid of patches."""
    graph = random_stack(rng, int(rng.integers(2, 6)))
    _, height, width, _ = graph.value(graph.outputs[0]).shape
    grid = int(rng.integers(1, min(height, 4) + 1)), int(rng.integers(1, min(width, 4) + 1))
    return graph, split_patches(graph, graph.ops(), grid)


def assert_same(graph: Graph, split: Graph, rng: np.random.Generator) -> None:
    """In integers, and as plans of both kinds in a poisoned arena."""
    verify(split, "quantized", "split_patches")
    inputs = random_inputs(graph, 2, rng)
    expected = run_int(graph, inputs)
    np.testing.assert_array_equal(run_int(split, inputs), expected)
    program = lower(split, Target())
    for options in (PlanOptions(schedule="whole"), PlanOptions("ram", schedule="stream")):
        for keep_input in (False, True):
            plan = make_plan(program, replace(options, keep_input=keep_input))
            check_plan(plan)
            np.testing.assert_array_equal(run_plan(plan, split, inputs), expected)


@pytest.mark.parametrize("seed", range(12))
def test_random_networks_keep_every_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_same(*random_split(rng), rng)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_many_random_networks_keep_every_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert_same(*random_split(rng), rng)


def test_the_c_code_of_patches_gives_the_integer_reference() -> None:
    rng = np.random.default_rng(7)
    graphs = [random_stack(rng, 2) for _ in range(2)]
    check_graphs([split_patches(g, g.ops(), (2, 2)) for g in graphs])


def residual_net() -> Graph:
    """Two residual blocks of 24 x 20 pixels between strided layers."""
    stack = Stack((48, 40, 3))
    x = stack.conv(stack.last, 8, (3, 3), (2, 2), (0, 0, 1, 1))
    for _ in range(2):
        y = stack.conv(x, 24, (1, 1), (1, 1), (0, 0, 0, 0))
        y = stack.conv(y, 0)
        x = stack.sum(x, stack.conv(y, 8, (1, 1), (1, 1), (0, 0, 0, 0)))
    stack.pool(x, MaxPool, (2, 2), (2, 2))
    return stack.done()


def test_patches_move_nothing_and_need_less() -> None:
    graph = residual_net()
    split = split_patches(graph, graph.ops(), (4, 3))
    program = lower(split, Target())
    assert {c.kernel for c in program.calls}.isdisjoint({"mcuc_move_s8", "mcuc_concat_s8"})
    options = PlanOptions(schedule="whole")
    whole, patched = (make_plan(p, options) for p in (lower(graph, Target()), program))
    assert patched.arena_size < 0.7 * whole.arena_size


def test_what_patches_compute_again_is_the_halo() -> None:
    stack = Stack((8, 8, 4))
    graph = stack.done(stack.conv(stack.conv(stack.last, 4), 4))
    macs = [sum(c.macs for c in lower(g, Target()).calls) for g in (graph, _halves(graph))]
    row = 8 * 4 * 4 * 9  # of MACs
    assert macs == [16 * row, (16 + 2) * row]


def _halves(graph: Graph) -> Graph:
    return split_patches(graph, graph.ops(), (2, 1))


def test_a_value_read_outside_of_the_segment_stays() -> None:
    stack = Stack((8, 8, 4))
    first = stack.conv(stack.last, 4)
    graph = stack.done(first, stack.conv(first, 4))
    with pytest.raises(ValueError, match="still used"):
        split_patches(graph, graph.ops(), (2, 2))
    with pytest.raises(ValueError, match="fewer than 9x1 patches"):
        split_patches(graph, graph.ops()[1:], (9, 1))
    assert_same(graph, split_patches(graph, graph.ops()[1:], (2, 3)), np.random.default_rng(0))


# -- corruptions ------------------------------------------------------------------------------


def _corrupted(plan: Plan, rng: np.random.Generator) -> Plan:
    """Another place for what a step reads or writes of a larger value: another halo."""
    insets = plan.program.insets
    k = int(rng.choice([k for k, s in enumerate(plan.steps) if s.call.reads[0].value in insets]))
    step = plan.steps[k]
    pixel = plan.program.values[step.call.reads[0].value].shape[3]

    def moved(place: Place | None) -> Place:
        assert place is not None
        by = int(rng.choice([-1, 1]))
        kind = rng.integers(4)
        if kind == 0:
            return replace(place, offset=max(0, place.offset + by * pixel))
        if kind == 1:
            return replace(place, offset=max(0, place.offset + by * place.pitch))
        if kind == 2:
            return replace(place, pitch=place.pitch + by * pixel)
        return replace(place, rows=max(1, place.rows + by))

    steps = list(plan.steps)
    if step.call.writes[0].value in insets and rng.random() < 0.5:
        steps[k] = replace(step, writes=(moved(step.writes[0]),))
    else:
        steps[k] = replace(step, reads=(moved(step.reads[0]), *step.reads[1:]))
    return replace(plan, steps=tuple(steps))


def test_a_corrupted_halo_is_rejected() -> None:
    """Every one that changes what is computed, and most do."""
    rng, harmful = np.random.default_rng(5), 0
    graph = residual_net()
    split = split_patches(graph, graph.ops(), (2, 2))
    plan = make_plan(lower(split, Target()), PlanOptions(schedule="whole"))
    inputs = random_inputs(graph, 1, rng)
    expected = run_int(graph, inputs)
    for _ in range(60):
        corrupt = _corrupted(plan, rng)
        try:
            check_plan(corrupt)
        except InternalError:
            harmful += 1
            continue
        np.testing.assert_array_equal(run_plan(corrupt, split, inputs), expected)
    assert harmful > 40


def test_a_wrong_inset_is_found_in_the_arena() -> None:
    """What the checker has to believe, the interpreter compares with the reference."""
    graph = residual_net()
    split = split_patches(graph, graph.ops(), (2, 2))
    program = lower(split, Target())
    name = next(n for n, i in program.insets.items() if i.offset)
    wrong = replace(program.insets[name], offset=program.insets[name].offset - 4)
    program = replace(program, insets={**program.insets, name: wrong})
    plan = make_plan(program, PlanOptions(schedule="whole"))
    with pytest.raises(InternalError, match="is not there"):
        run_plan(plan, split, random_inputs(graph, 1, np.random.default_rng(0)))
