"""A 1x1 and a depthwise convolution in one: the bits of both, and the C code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.ir import Graph, QParams
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.depthwise import depthwise_call
from mcucompile.ops.expand_depthwise import ExpandDepthwise
from mcucompile.plan.plan import Step
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import Target
from mcucompile.reference.integer_interpreter import run_int
from tests.ops.test_depthwise import same
from tests.support.ckit import check_graphs, random_inputs
from tests.support.graphs import op_graph
from tests.support.layers import kernel_call, layer_graph
from tests.support.qemukit import CORES
from tests.support.tools import needs_qemu


def expand_depthwise(
    image: tuple[int, int, int],
    channels: int,
    kernel: int,
    seed: int = 0,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] | None = None,
    clamp: tuple[float, float] | None = None,
    between: int = 9,
    gain: float = 1.0,
    least: int = -127,
) -> Graph:
    """A graph of one operator with random numbers; image: height, width, channels of the input.

    between: the zero-point of what is between the two. clamp, gain, least weight: of the 1x1.
    """
    rng = np.random.default_rng(seed)
    pads = same(kernel) if pads is None else pads
    expand = Conv2d("expand", ("first",), clamp=clamp)
    then = Conv2d("depthwise", ("then",), strides, pads, groups=channels)
    first = layer_graph(
        expand,
        (1, *image),
        (channels, 1, 1, image[2]),
        rng,
        least=least,
        zero_points=(int(rng.integers(-128, 128)), between),
        gain=gain,
    )
    shape = first.value("y").shape
    second = layer_graph(then, shape, (channels, kernel, kernel, 1), rng, zero_points=(between, 3))
    middle = replace(second.value("x"), name="between", qparams=first.value("y").q)
    _, w, b = second.operands(then)
    ratio = middle.q.scale[0] / second.value("x").q.scale[0]
    b = replace(b, name="b2", qparams=replace(b.q, scale=tuple(ratio * s for s in b.q.scale)))
    result = QParams((ratio * second.value("y").q.scale[0],), 3)
    op = ExpandDepthwise("op", ("first", "then"), expand, then, middle)
    return op_graph(op, [*first.operands(expand), replace(w, name="w2"), b], result)


def apart(graph: Graph) -> Graph:
    """The same as two operators."""
    (op,) = graph.ops()
    assert isinstance(op, ExpandDepthwise)
    x, w, b, w2, b2 = graph.operands(op)
    two = op_graph(op.expand, [x, w, b], op.between.q)
    between = two.value("y")
    for constant in (w2, b2):
        two.add_value(constant)
    (result,) = two.append(op.depthwise, [between, w2, b2], ["z"])
    two.set_value(replace(graph.value("y"), name=result.name))
    two.outputs = (result.name,)
    return two


def cases() -> list[Graph]:
    """All windows and strides; widths of which 0 to 3 pixels are left over, odd and even padding;
    channels that are no multiples of four or two; wide sums, shifts and clamps."""
    graphs = [
        expand_depthwise((5, 9, 8), 8, 3, 1),
        expand_depthwise((6, 7, 16), 12, 3, 2, (2, 2), (0, 0, 1, 1)),
        expand_depthwise((7, 8, 4), 8, 5, 3, clamp=(0.0, 1.0)),
        expand_depthwise((9, 10, 3), 6, 5, 4, (2, 2), (1, 2, 2, 1)),
        expand_depthwise((8, 11, 5), 7, 7, 5, least=-128),
        expand_depthwise((10, 6, 12), 4, 7, 6, (2, 2)),
        expand_depthwise((1, 1, 4), 4, 3, 7, clamp=(-0.1, 0.1)),
        expand_depthwise((9, 3, 2), 3, 3, 8, (3, 1), (2, 0, 0, 3)),
        expand_depthwise((4, 5, 24), 5, 3, 9, between=-128, gain=0.002),
        expand_depthwise((3, 6, 1), 4, 5, 10, between=127, gain=5000.0),
    ]
    kernels = {kernel_call(g).kernel for g in graphs}
    assert len({k for k in kernels if "_any_" in k}) > 2
    assert len({k for k in kernels if "_any_" not in k}) > 3
    return graphs


def test_the_bits_are_those_of_both_one_after_the_other() -> None:
    for graph in cases():
        inputs = random_inputs(graph, 2, np.random.default_rng(3))
        (have,), (want,) = run_int(graph, inputs), run_int(apart(graph), inputs)
        np.testing.assert_array_equal(have, want)


def test_the_code_equals_the_reference() -> None:
    check_graphs(cases()[:3])


@needs_qemu
def test_the_code_on_a_core_equals_the_reference() -> None:
    check_graphs(cases(), machine=CORES[1])


def test_scratch_is_that_of_the_depthwise_kernel_and_a_tile() -> None:
    graph = expand_depthwise((6, 9, 10), 8, 3)
    (op,) = graph.ops()
    assert isinstance(op, ExpandDepthwise)
    then = (op.between, *graph.operands(op)[3:])
    layer = op.depthwise.layer(then, graph.value("y"))
    alone = depthwise_call(layer, op.depthwise.geometry(then, graph.value("y")), rows=1)
    assert kernel_call(graph).scratch == alone.scratch + 4 * 4 * 5


@pytest.mark.parametrize(
    ("rows", "stride", "again"), [(6, 1, 0), (1, 1, 10), (2, 1, 2 * 2), (1, 2, 2)]
)
def test_rows_that_several_calls_read_are_computed_again(
    rows: int, stride: int, again: int
) -> None:
    """Six input rows: with stride 1 six calls for a row each see 2, 3, 3, 3, 3 and 2 of them."""
    graph = expand_depthwise((6, 5, 4), 8, 3, strides=(stride, stride))
    (call,) = lower(graph, Target()).calls
    (step,) = make_plan(lower(graph, Target()), PlanOptions(schedule="whole")).steps
    assert step.repeated_macs == 0
    assert Step(call, step.reads, step.writes, None, rows, 0).repeated_macs == again * 5 * 4 * 8
