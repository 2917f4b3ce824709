"""Slices that are read where they are, and joins that are written where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.ir import Graph, Value
from mcucompile.lower import lower
from mcucompile.ops.pool import MaxPool
from mcucompile.ops.slice import Slice
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Inset, Program, Target
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs, random_inputs
from tests.support.stacks import Stack

MOVERS = {"mcuc_move_s8", "mcuc_concat_s8"}
POINT = ((1, 1), (1, 1), (0, 0, 0, 0))


def cut(stack: Stack, x: Value, rows: range | None, columns: range | None) -> Value:
    name = stack.graph.fresh_name("cut")
    return stack.add(Slice(name, (name,), (None, rows, columns, None)), (x,), x.q)


def moved(program: Program) -> int:
    """Calls that only move bytes."""
    return sum(call.kernel in MOVERS for call in program.calls)


def quarters() -> Graph:
    """The four quarters of an image, and overlapping ones of them, each by other operators."""
    stack = Stack((10, 12, 4))
    x, top, left = stack.last, range(5), range(6)
    a = stack.conv(cut(stack, x, top, left), 4)
    b = stack.conv(cut(stack, x, top, range(6, 12)), 4, *POINT)
    c = stack.pool(cut(stack, x, range(5, 10), left), MaxPool, (1, 1), (1, 1))
    middle = cut(stack, cut(stack, x, range(3, 10), range(4, 12)), range(2, 7), range(2, 8))
    d = stack.table(middle)
    stack.join(stack.join(a, b, axis=2), stack.join(c, d, axis=2), axis=1)
    return stack.done()


def rows_of_odd_channels() -> Graph:
    """Rows from a place that is no multiple of four, read by kernels that go by bytes."""
    stack = Stack((9, 7, 3))
    x = stack.last
    low = cut(stack, x, range(1, 6), range(1, 6))
    other = cut(stack, x, range(4, 9), range(5))
    stack.join(stack.conv(low, 3), stack.sum(low, other))
    return stack.done()


def bands() -> Graph:
    """Joined along rows: bytes that follow each other, so that any kernel can write them."""
    stack = Stack((6, 5, 4))
    x = stack.last
    stack.join(stack.conv(x, 4), stack.conv(x, 4, *POINT), stack.conv(x, 0), axis=1)
    return stack.done()


GRAPHS = (quarters, rows_of_odd_channels, bands)


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("schedule", ["whole", "stream"])
def test_the_arena_gives_the_reference(make: object, schedule: str) -> None:
    graph = make()  # type: ignore[operator]
    plan = make_plan(lower(graph, Target()), PlanOptions("ram", schedule=schedule))  # type: ignore[arg-type]
    check_plan(plan)
    inputs = random_inputs(graph, 2, np.random.default_rng(1))
    np.testing.assert_array_equal(run_plan(plan, graph, inputs), run_int(graph, inputs))


def test_the_c_code_gives_the_reference() -> None:
    check_graphs([make() for make in GRAPHS])


def test_nothing_is_moved() -> None:
    assert [moved(lower(make(), Target())) for make in GRAPHS] == [0, 1, 0]  # one along channels


def test_a_slice_of_a_slice_is_an_inset_of_the_first() -> None:
    program = lower(quarters(), Target())
    found = [i for i in program.insets.values() if i.root == "x"]
    assert Inset("x", (5 * 12 + 6) * 4, 5, 6 * 4, 12 * 4) in found


def test_what_cannot_be_an_inset_is_copied() -> None:
    stack = Stack((6, 6, 4))
    x = stack.last
    column = cut(stack, x, None, range(1, 2))
    backwards = cut(stack, x, range(5, -1, -1), None)
    program = lower(stack.done(column, backwards), Target())  # outputs stand for themselves
    assert not program.insets
    assert moved(program) == 2


def test_an_operand_that_is_joined_twice_is_copied() -> None:
    stack = Stack((4, 4, 4))
    y = stack.conv(stack.last, 4)
    graph = stack.done(stack.join(y, y, axis=1))
    assert moved(lower(graph, Target())) == 1
    check_graphs([graph])


def test_a_part_of_an_operand_is_not_overwritten_while_it_is_needed() -> None:
    """A table works in place, but a slice of its operand is read later."""
    stack = Stack((6, 6, 4))
    y = stack.conv(stack.last, 4)
    part = cut(stack, y, range(3), range(3))
    table = stack.table(y)
    graph = stack.done(table, stack.conv(part, 4))
    plan = make_plan(lower(graph, Target()), PlanOptions(schedule="whole"))
    check_plan(plan)
    inputs = random_inputs(graph, 2, np.random.default_rng(1))
    for have, want in zip(run_plan(plan, graph, inputs), run_int(graph, inputs), strict=True):
        np.testing.assert_array_equal(have, want)
