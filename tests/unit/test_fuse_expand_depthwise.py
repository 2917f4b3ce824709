"""Which 1x1 convolutions may be fused with the depthwise ones that read them, and which are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mcucompile import planning
from mcucompile.ir import Graph, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.expand_depthwise import ExpandDepthwise
from mcucompile.passes.fuse_expand_depthwise import fusable_depthwise, fuse_expand_depthwise
from mcucompile.plan.check import check_plan
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import PlanOptions, Scheduling
from mcucompile.plan.program import Optimize, Target
from mcucompile.planning import plan_graph
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import random_inputs
from tests.support.mobile import MobileBuilder


def network() -> Graph:
    """Blocks, of which the first needs the most memory, and a layer with many products."""
    build = MobileBuilder((32, 32, 3))
    x = build.conv("first", build.x, 8, 3, 2)
    x = build.block("a", x, 64, 12, stride=2)
    x = build.block("b", x, 16, 12)
    x = build.block("c", x, 24, 12, 5)
    return build.done(build.conv("last", x, 24, 3))


def fused(graph: Graph) -> list[str]:
    return [op.depthwise.name for op in graph.ops_of(ExpandDepthwise)]


def planned(
    graph: Graph, optimize: Optimize = "ram", schedule: Scheduling = "auto"
) -> tuple[Graph, Plan]:
    return plan_graph(graph, Target(optimize=optimize), PlanOptions(optimize, schedule=schedule))


def test_fusing_keeps_the_bits_and_the_origin() -> None:
    graph = network()
    inputs = random_inputs(graph, 2, np.random.default_rng(0))
    (want,) = run_int(graph, inputs)
    found = list(fusable_depthwise(graph))
    assert [op.name for op in found] == ["a_dw", "b_dw", "c_dw"]
    for depthwise in found:
        graph = fuse_expand_depthwise(graph, depthwise)
        verify(graph, "quantized")
    assert fused(graph) == ["a_dw", "b_dw", "c_dw"]
    assert next(graph.ops_of(ExpandDepthwise)).origin == ("a_expand", "a_dw")
    (have,) = run_int(graph, inputs)
    np.testing.assert_array_equal(have, want)


def _plain(build: MobileBuilder, x: Value) -> list[Value]:
    return [build.conv("dw", x, x.shape[3], 3, depthwise=True)]


def _read_twice(build: MobileBuilder, x: Value) -> list[Value]:
    return [*_plain(build, x), build.conv("other", x, 4)]


def _output(build: MobileBuilder, x: Value) -> list[Value]:
    return [x, *_plain(build, x)]


def _even_window(build: MobileBuilder, x: Value) -> list[Value]:
    return [build.conv("dw", x, x.shape[3], 2, depthwise=True)]


def _dilated(build: MobileBuilder, x: Value) -> list[Value]:
    (y,) = _plain(build, x)
    (*_, op) = build.graph.ops_of(Conv2d)
    build.graph.set_op(replace(op, dilations=(2, 2), pads=(2, 2, 2, 2)))
    return [y]


def _rounded_twice(build: MobileBuilder, x: Value) -> list[Value]:
    (y,) = _plain(build, x)
    for op in build.graph.ops_of(Conv2d):
        build.graph.set_op(replace(op, rounding="tflite"))
    return [y]


def _all_channels(build: MobileBuilder, x: Value) -> list[Value]:
    return [build.conv("conv", x, 8, 3)]


@pytest.mark.parametrize(
    ("rest", "stride", "expected"),
    [
        (_plain, 1, True),
        (_plain, 2, False),
        (_read_twice, 1, False),
        (_output, 1, False),
        (_even_window, 1, False),
        (_dilated, 1, False),
        (_rounded_twice, 1, False),
        (_all_channels, 1, False),
    ],
)
def test_what_can_be_fused(
    rest: Callable[[MobileBuilder, Value], list[Value]], stride: int, expected: bool
) -> None:
    build = MobileBuilder((8, 8, 4))
    outputs = rest(build, build.conv("expand", build.x, 16, stride=stride))
    assert bool(list(fusable_depthwise(build.done(*outputs)))) == expected


def test_what_makes_the_peak_is_fused_with_ram_alone() -> None:
    graph = network()
    smaller, plan = planned(graph)
    assert fused(smaller) == ["a_dw"]
    apart, usual = planned(graph, "balanced")
    assert apart is graph
    assert plan.arena_size < 0.9 * usual.arena_size
    assert fused(planned(graph, schedule="whole")[0]) == []
    check_plan(plan)
    inputs = random_inputs(graph, 2, np.random.default_rng(1))
    np.testing.assert_array_equal(run_plan(plan, smaller, inputs)[0], run_int(graph, inputs)[0])


def test_no_more_products_than_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = network()
    _, plan = planned(graph)
    macs, again = (
        sum(step.call.macs for step in plan.steps),
        sum(step.repeated_macs for step in plan.steps),
    )
    assert 0 < again <= planning.MORE_MACS * macs
    monkeypatch.setattr(planning, "MORE_MACS", again / macs - 0.001)
    assert fused(planned(graph)[0]) == []
