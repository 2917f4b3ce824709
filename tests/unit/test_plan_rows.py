"""Plans that run row by row: right for graphs of all sorts, under all options."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.plan import offsets
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Optimize, RowWindow
from mcucompile.plan.segments import Segmenter
from mcucompile.plan.stores import build_network
from mcucompile.reference.arena_interpreter import run_plan
from tests.support.mixing import random_inputs, reference
from tests.support.row_mixing import Kernel, RowBuilder, random_row_graph

OPTIONS = [
    PlanOptions(optimize, keep_input=keep, schedule=schedule)
    for optimize, schedule, keep in product(
        ("time", "balanced", "ram"), ("auto", "whole", "stream"), (False, True)
    )
    if schedule == "auto" or optimize == "ram"  # otherwise it does not matter
]


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a plan is right does not depend on how good its placement is."""
    monkeypatch.setattr(offsets, "ROUNDS", 2)


def check(plan: Plan, graph: Graph, seed: int = 0) -> None:
    check_plan(plan)
    inputs = random_inputs(graph, np.random.default_rng(seed), batch=1)
    for have, want in zip(run_plan(plan, graph, inputs), reference(graph, inputs), strict=True):
        np.testing.assert_array_equal(have, want)


def streamed(build: RowBuilder, *outputs: object, stream_input: bool = False) -> Plan:
    program = build.program(*outputs)  # type: ignore[arg-type]
    plan = make_plan(program, PlanOptions("ram", schedule="stream", stream_input=stream_input))
    check(plan, build.graph)
    return plan


def check_seed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, program = random_row_graph(rng, int(rng.integers(1, 9)))
    for options in OPTIONS:
        check(make_plan(program, options), graph, seed)


@pytest.mark.parametrize("seed", range(20))
def test_random_plans_are_right(seed: int) -> None:
    """The checker accepts them, and they find every row where and when they need it."""
    check_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 400))
def test_more_random_plans_are_right(seed: int) -> None:
    check_seed(seed)


@pytest.mark.parametrize("optimize", ["time", "balanced"])
def test_what_does_not_fit_is_as_small_as_it_can_be(optimize: Optimize) -> None:
    build = RowBuilder((24, 3, 4))
    y = build.block("b", build.block("a", build.inputs[0], 3, 1), 3)
    program = build.program(y)
    (free, small, smallest) = (
        make_plan(program, options).arena_size
        for options in (PlanOptions(optimize), PlanOptions(optimize, ram=1), PlanOptions("ram"))
    )
    assert small == smallest < free


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rows", [1, 2, 7, 8])
@pytest.mark.parametrize("size", [3, 5])
def test_a_depthwise_result_takes_the_top_row_of_its_ring(
    rows: int, size: int, stride: int
) -> None:
    build = RowBuilder((rows, 3, 4))
    y = build.block("b", build.block("a", build.inputs[0], size, stride), size)
    plan = streamed(build, y)
    lodged = [s for s in plan.steps for w in s.writes if (w.stride, w.lead) != (1, 0)]
    assert lodged or rows < 7


def test_a_ring_holds_the_rows_of_its_window_alone() -> None:
    build = RowBuilder((20, 2, 4))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 16)
    b = build.conv("b", a, RowWindow(3, 1, 0), 16)
    plan = streamed(build, build.conv("c", b, RowWindow(3, 2, 1), 2))
    heights = {b.name: b.region.size // 32 for b in plan.buffers if b.kind == "ring"}
    assert heights == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    "window",
    [RowWindow(9, 1, 4), RowWindow(2, 2, 3), RowWindow(1, 3, 0), RowWindow(2, 1, -2)],
    ids=["larger than the operand", "padding alone", "rows unread", "first rows unread"],
)
def test_windows_at_the_borders(window: RowWindow) -> None:
    build = RowBuilder((5, 2, 3))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 9)
    streamed(build, build.rows("b", [a], [window], (3, 1, 2), Kernel(band=1)))


def test_an_operand_of_which_nobody_reads_a_row() -> None:
    build = RowBuilder((5, 2, 3))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 9)
    b = build.rows("b", [a], [RowWindow(1, 1, 3)], (2, 1, 2), Kernel(band=1))
    streamed(build, b)


def test_sums_that_are_folded_last_from_the_first_row_to_the_last() -> None:
    build = RowBuilder((12, 2, 3))
    a = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 24)
    b = build.conv("b", a, RowWindow(3, 1, 1), 24)
    plan = streamed(build, build.pointwise("e", build.pool("p", b), 4))
    assert any(s.call.folds for s in plan.steps)


def test_a_gate_that_needs_all_rows() -> None:
    build = RowBuilder((9, 2, 3))
    a = build.conv("a", build.inputs[0], RowWindow(3, 2, 1), 8)
    gate = build.pointwise("e", build.pool("p", a), 8)
    streamed(build, build.conv("b", build.gate("g", a, gate), RowWindow(3, 1, 1), 2), gate)


@pytest.mark.parametrize("stride", [1, 2])
def test_rows_of_the_input_arrive_when_they_are_needed(stride: int) -> None:
    build = RowBuilder((12, 3, 4))
    y = build.block("b", build.conv("a", build.inputs[0], RowWindow(3, stride, 1), 4))
    plan = streamed(build, y, stream_input=True)
    assert plan.pushed is not None
    assert plan.pushed.rows < 12


def test_a_schedule_leaves_room_where_it_is_asked_to() -> None:
    """All segments but those that cannot do otherwise stay below the share of the peak."""
    build = RowBuilder((24, 4, 8))
    x = build.conv("a", build.inputs[0], RowWindow(3, 1, 1), 64)
    x = build.conv("b", x, RowWindow(3, 2, 1), 8)
    x = build.conv("c", x, RowWindow(3, 1, 1), 24)
    x = build.conv("d", x, RowWindow(3, 2, 1), 8)
    segmenter = Segmenter(build_network(build.program(x)))
    schedule = segmenter.least_memory()
    assert schedule is not None
    least = schedule.peak
    assert segmenter.least_memory(least) is None
    usual, eased = segmenter.cheapest(least), segmenter.cheapest(least, ease=0.7)
    assert usual is not None
    assert eased is not None
    assert usual.peak == eased.peak == least
    assert usual.cost <= eased.cost
    above = [[t for t in s.traces if t.peak > 0.7 * least] for s in (usual, eased)]
    assert 0 < len(above[1]) < len(above[0])
