"""Lifetimes, sharing in place, and the plans made of them."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.errors import InternalError, UnsupportedModelError, UsageError
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Plan, Region
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Program
from mcucompile.plan.stores import INPUT, build_network
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import Builder, random_graph, random_inputs, reference


def plan_of(program: Program, keep_input: bool = False) -> Plan:
    plan = make_plan(program, PlanOptions(keep_input=keep_input))
    check_plan(plan)
    return plan


def place_of(plan: Plan, name: str) -> Region:
    (buffer,) = (b for b in plan.buffers if name in b.values)
    return buffer.region


def spans(program: Program, keep_input: bool = False) -> dict[str, tuple[int, int]]:
    stores = build_network(program, keep_input).stores
    return {s.values[0]: (s.first, s.last) for s in stores}


def test_lifetimes_of_a_chain_with_a_view_and_a_constant() -> None:
    build = Builder(8)
    (a,) = build.mix("a", build.inputs, 12)
    view = build.view("view", a)
    (b,) = build.mix("b", [build.constant("table", 5), *build.inputs], 4)
    (c,) = build.mix("c", [view, b], 4)
    (d,) = build.mix("d", [c], 6)
    program = build.program(d)
    assert spans(program) == {"in0": (INPUT, 1), "a": (0, 2), "b": (1, 2), "c": (2, 3), "d": (3, 3)}
    assert spans(program, keep_input=True)["in0"] == (INPUT, 3)


def test_an_output_lives_to_the_end_and_an_unread_result_for_one_step() -> None:
    build = Builder(8)
    a, b = build.mix("a", build.inputs, 12, 4)
    (c,) = build.mix("c", [a], 4)
    (d,) = build.mix("d", [c], 4)
    assert spans(build.program(a, d)) == {
        "in0": (INPUT, 0), "aa": (0, 2), "ab": (0, 0), "c": (1, 2), "d": (2, 2)
    }  # fmt: skip
    assert b.name == "ab"


def test_elementwise_chain_needs_one_buffer() -> None:
    build = Builder(40)
    x = build.inputs[0]
    for i in range(4):
        (x,) = build.mix(f"r{i}", [x], 40, in_place=[(0, 0)])
    plan = plan_of(build.program(x))
    assert plan.arena_size == plan.lower_bound == 40
    assert {b.region for b in plan.buffers} == {Region(0, 40)}


def test_keep_input_costs_the_input_and_keeps_it() -> None:
    build = Builder(40)
    (x,) = build.mix("r", build.inputs, 40, in_place=[(0, 0)])
    (y,) = build.mix("s", [x], 40, in_place=[(0, 0)])
    program = build.program(y)
    plan = plan_of(program, keep_input=True)
    assert plan.keeps_inputs
    assert plan.arena_size == 80
    assert not plan.inputs["in0"].overlaps(plan.outputs["s"])


def test_residual_sum_takes_the_operand_produced_last() -> None:
    build = Builder(8)
    (skip,) = build.mix("skip", build.inputs, 32)
    (main,) = build.mix("main", [skip], 32)
    (total,) = build.mix("total", [skip, main], 32, in_place=[(0, 0), (1, 0)])
    program = build.program(total)
    plan = plan_of(program)
    assert place_of(plan, "total") == place_of(plan, "main")
    assert plan.arena_size == 64


def test_no_sharing_with_an_operand_that_is_read_later_or_is_an_output() -> None:
    build = Builder(8)
    (a,) = build.mix("a", build.inputs, 16)
    (b,) = build.mix("b", [a], 16, in_place=[(0, 0)])
    (c,) = build.mix("c", [a, b], 16, in_place=[(1, 0)])
    program = build.program(b, c)
    assert [t.heir for t in build_network(program).tasks] == [None] * 3
    plan_of(program)


def test_no_sharing_with_a_value_that_another_slot_reads_without_permission() -> None:
    build = Builder(8)
    (a,) = build.mix("a", build.inputs, 16)
    view = build.view("view", a)
    (b,) = build.mix("b", [a, view], 16, in_place=[(0, 0)])
    (c,) = build.mix("c", [b, b], 16, in_place=[(0, 0), (1, 0)])
    program = build.program(c)
    assert [t.heir for t in build_network(program).tasks] == [None, None, 0]
    plan_of(program)


def test_two_results_do_not_take_the_same_operand() -> None:
    build = Builder(8)
    (x,) = build.mix("x", build.inputs, 20)
    a, b = build.mix("y", [x], 20, 20, in_place=[(0, 0), (0, 1)])
    plan = plan_of(build.program(a, b))
    assert plan.arena_size == 60  # a call with two results takes nothing over
    assert not plan.outputs["ya"].overlaps(plan.outputs["yb"])


def test_a_shared_buffer_that_grows_and_shrinks_frees_what_it_does_not_need() -> None:
    build = Builder(4)
    (x,) = build.mix("x", build.inputs, 100)
    (y,) = build.mix("y", [x], 8, in_place=[(0, 0)])
    (z,) = build.mix("z", [y], 80)
    (w,) = build.mix("w", [z, y], 8)
    plan = plan_of(build.program(w))
    assert place_of(plan, "y").offset == place_of(plan, "x").offset
    assert plan.arena_size == plan.lower_bound == 104


def test_scratch_is_placed_and_counted() -> None:
    build = Builder(10)
    (x,) = build.mix("x", build.inputs, 6, scratch=21)
    (y,) = build.mix("y", [x], 6)
    plan = plan_of(build.program(y))
    scratch = plan.steps[0].scratch
    assert scratch is not None
    assert scratch.size == 21
    assert plan.steps[1].scratch is None
    assert plan.arena_size == 12 + 8 + 24
    assert [b.kind for b in plan.buffers].count("scratch") == 1


def test_output_that_is_the_input_and_output_that_is_a_view() -> None:
    build = Builder(8)
    (y,) = build.mix("y", build.inputs, 8, in_place=[(0, 0)])
    view = build.view("view", y)
    program = build.program(build.inputs[0], view)
    plan = plan_of(program)
    assert plan.outputs["in0"] == plan.inputs["in0"]
    assert plan.outputs["view"] == place_of(plan, "y")
    assert not plan.outputs["view"].overlaps(plan.outputs["in0"])
    empty = Builder(8)
    identity = plan_of(empty.program(empty.inputs[0]))
    assert identity.arena_size == 8


def test_inputs_are_all_there_before_the_first_step() -> None:
    build = Builder(8, 8, 8)
    (x,) = build.mix("x", build.inputs[:1], 8)
    (y,) = build.mix("y", [x, build.inputs[1]], 8)
    plan = plan_of(build.program(y))  # in2 is never read
    assert plan.lower_bound == 32


def test_constant_output_is_refused() -> None:
    build = Builder(8)
    (x,) = build.mix("x", build.inputs, 8)
    program = build.program(x, build.constant("table", 5))
    with pytest.raises(UnsupportedModelError, match="MC105: output 'table'"):
        make_plan(program)


def test_an_input_without_rows_cannot_be_streamed() -> None:
    build = Builder(8)
    (x,) = build.mix("x", build.inputs, 8)
    with pytest.raises(UsageError, match="MC033: input 'in0' cannot be taken row by row"):
        make_plan(build.program(x), PlanOptions(stream_input=True))


def test_a_read_before_the_write_is_our_bug() -> None:
    build = Builder(8)
    (x,) = build.mix("x", build.inputs, 8)
    (y,) = build.mix("y", [x], 8)
    program = build.program(y)
    swapped = Program(
        program.calls[::-1], program.values, program.aliases, program.inputs, program.outputs
    )
    with pytest.raises(InternalError, match="y reads x before it is written"):
        make_plan(swapped)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("keep_input", [False, True])
def test_random_plans_are_right(seed: int, keep_input: bool) -> None:
    """The checker accepts them and the arena gives the outputs of ordinary execution."""
    rng = np.random.default_rng(seed)
    graph, program = random_graph(rng, int(rng.integers(1, 25)))
    plan = plan_of(program, keep_input)
    assert make_plan(program, PlanOptions(keep_input=keep_input)) == plan
    assert plan.arena_size % 4 == 0
    assert plan.lower_bound <= plan.proved_bound <= plan.arena_size
    inputs = random_inputs(graph, rng)
    for have, want in zip(run_plan(plan, graph, inputs), reference(graph, inputs), strict=True):
        np.testing.assert_array_equal(have, want)


def test_placements_of_random_graphs_are_the_smallest() -> None:
    for seed in range(40):
        _, program = random_graph(np.random.default_rng(seed), 20)
        plan = make_plan(program)
        assert plan.arena_size == plan.proved_bound <= 1.08 * plan.lower_bound
