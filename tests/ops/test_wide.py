"""Operators with int16 activations, in C against the integer reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.wide import Wide
from mcucompile.ops.wide_layers import WideConv2d
from mcucompile.ops.widened import widened
from mcucompile.options import CompileOptions
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.post_training import post_training_quantization
from tests.support.ckit import check_graphs
from tests.support.graphs import as_int16, op_graph
from tests.support.layers import layer_graph
from tests.support.models import model_of
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

ORIGIN = ("node",)
# operator, shape of its input, shape of its weights
LAYERS = [
    (Conv2d("c", ORIGIN, pads=(1, 1, 1, 1)), (1, 5, 7, 3), (5, 3, 3, 3)),
    (Conv2d("c", ORIGIN, (2, 3), (0, 4, 1, 5), (1, 2)), (1, 6, 5, 4), (3, 2, 3, 4)),
    (Conv2d("c", ORIGIN, (1, 1), (3, 3, 3, 3)), (1, 2, 2, 1), (1, 2, 2, 1)),  # windows of padding
    (Conv2d("c", ORIGIN, groups=7), (1, 4, 4, 7), (7, 3, 2, 1)),
    (Conv2d("c", ORIGIN, groups=2, dilations=(2, 2)), (1, 5, 6, 6), (8, 2, 2, 3)),
    (Conv2d("c", ORIGIN), (1, 1, 1, 1), (1, 1, 1, 1)),
    (Conv2d("c", ORIGIN), (1, 3, 3, 300), (2, 1, 1, 300)),
    (Dense("d", ORIGIN), (1, 515), (3, 515)),
    (Dense("d", ORIGIN), (1, 3, 5, 9), (1, 9)),
]


def _graphs(clamp: tuple[float, float] | None = None) -> list[Graph]:
    """Each of LAYERS with int16 in, out, and both."""
    rng = np.random.default_rng(2)
    graphs = []
    for op, shape, weights in LAYERS:
        narrow = layer_graph(replace(op, clamp=clamp), shape, weights, rng)
        x, *constants = narrow.operands(narrow.ops()[0])
        y = narrow.value("y")
        for given, result in ((as_int16(x), y), (x, as_int16(y)), (as_int16(x), as_int16(y))):
            wide = widened(narrow.ops()[0], result.q.bits)
            graphs.append(op_graph(wide, [given, *constants], result.q))
    return graphs


def test_layers() -> None:
    check_graphs(_graphs())


def test_clamped_layers() -> None:
    check_graphs(_graphs(clamp=(-0.3, 1.7)))


def test_sums_beyond_32_bits() -> None:
    """2,000 products of the largest numbers: no sum of 32 bits would hold them."""
    w = np.full((2, 2000), 127, np.int8)
    operands = [
        Value("x", (1, 2000), "int16", QParams((1e-4,), bits=16)),
        Value("w", w.shape, "int8", QParams((0.01, 0.01), 0, 0), w),
        Value("b", (2,), "int32", QParams((1e-6, 1e-6), 0, 0), np.array([2**31 - 1, 0], np.int32)),
    ]
    op = widened(Dense("d", ORIGIN), 16)
    graph = op_graph(op, operands, QParams((0.5,), bits=16))
    (y,) = op.evaluate_int(
        operands, graph.results(op), [np.full((1, 2000), 32767, np.int16), w, operands[2].data]
    )
    assert 32767 * 127 * 2000 > 2**32
    want = (np.array([2**31 - 1, 0]) + 32767 * 127 * 2000) * 1e-6 / 0.5
    np.testing.assert_allclose(y[0], want, atol=0.51)
    check_graphs([graph])


def network() -> ModelProto:
    """A residual network of all operators that may be wide, and of some that may not."""
    rng = np.random.default_rng(5)
    shapes = {"w1": (6, 3, 3, 3), "w2": (6, 1, 3, 3), "w3": (6, 6, 1, 1), "w4": (4, 24)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    weights |= {f"b{i}": rng.normal(size=n) for i, n in enumerate((6, 6, 6, 4), 1)}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["d"], "depthwise", group=6, pads=[1] * 4),
        helper.make_node("MaxPool", ["d"], ["m"], "max", kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Conv", ["m", "w3", "b3"], ["p"], "pointwise"),
        helper.make_node("Add", ["p", "r"], ["s"], "add"),
        helper.make_node("Sigmoid", ["d"], ["g"], "sigmoid"),
        helper.make_node("Mul", ["s", "g"], ["t"], "mul"),
        helper.make_node("Add", ["t", "s"], ["u"], "add2"),
        helper.make_node("AveragePool", ["u"], ["v"], "mean", kernel_shape=[4, 4], strides=[4, 5]),
        helper.make_node("Flatten", ["v"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w4", "b4"], ["y"], "dense", transB=1),
    ]
    return model_of(nodes, {"x": (1, 3, 9, 9)}, {"y": (1, 4)}, weights)


def _network(mixed: str) -> Graph:
    model = network()
    graph = run_passes(absorb_qdq(import_model(model)))
    return post_training_quantization(model, graph, CompileOptions("b", mixed=mixed)).graph


ALL = "first,depthwise,pointwise,add,add2,mean"


def test_network() -> None:
    """Through the planner: in rows, in rings, one result over the other."""
    graphs = [_network(mixed) for mixed in (*ALL.split(","), ALL)]
    assert len(list(graphs[-1].ops_of(Wide))) == 10  # two of them Narrow
    assert [op.bits for op in graphs[0].ops_of(WideConv2d)] == [16, 8]
    check_graphs(graphs)


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core) -> None:
    check_graphs([*_graphs(), _network(ALL)], machine=core)
