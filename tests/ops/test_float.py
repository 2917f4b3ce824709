"""Float32 layers, in C against the reference, which in turn is compared with exact arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import ModelProto, helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, Value
from mcucompile.ops.border import FromFloat, ToFloat
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.float_layers import FloatConv2d
from mcucompile.ops.unary import FUNCTIONS as EXACT
from mcucompile.options import CompileOptions
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.float32 import FUNCTIONS, LARGEST, REAL, bounds, clamped
from mcucompile.quant.post_training import post_training_quantization
from tests.ops.test_wide import network as residual
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

ALL = "first,depthwise,pointwise,add,mul,add2,mean,dense,max"


def quantized(model: ModelProto, layers: str, mixed: str = "") -> Graph:
    graph = run_passes(absorb_qdq(import_model(model)))
    options = CompileOptions("b", float_layers=layers, mixed=mixed)
    return post_training_quantization(model, graph, options).graph


def activations() -> ModelProto:
    """One function after the other, each with weights before it so that none is fused."""
    kinds = {
        "Relu": {},
        "LeakyRelu": {"alpha": 0.2},
        "Elu": {},
        "HardSigmoid": {},
        "HardSwish": {},
        "Sigmoid": {},
        "Tanh": {},
        "Neg": {},
        "Abs": {},
        "Exp": {},
    }
    nodes, before = [], "x"
    weights = {}
    for i, (kind, attributes) in enumerate(kinds.items()):
        weights[f"w{i}"] = np.random.default_rng(i).normal(size=(3, 3, 1, 1)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], f"conv{i}"))
        nodes.append(helper.make_node(kind, [f"c{i}"], [f"a{i}"], kind.lower(), **attributes))
        before = f"a{i}"
    return model_of(nodes, {"x": (1, 3, 4, 5)}, {before: (1, 3, 4, 5)}, weights)


def networks() -> list[Graph]:
    """Each layer alone, all of them, beside int16 ones, and activation functions."""
    graphs = [quantized(residual(), layers) for layers in (*ALL.split(","), ALL)]
    graphs.append(quantized(residual(), "pointwise", mixed="first,depthwise"))
    names = [n.name for n in activations().graph.node]
    return [*graphs, quantized(activations(), ",".join(names))]


def test_networks() -> None:
    """Through the planner: in rows, in rings, one result over the other."""
    check_graphs(networks())


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core) -> None:
    check_graphs(networks()[-4:], machine=core)


def test_layers_in_a_row_share_real_numbers() -> None:
    graph = quantized(residual(), ALL)
    assert len(list(graph.ops_of(ToFloat))) == 2  # the input, and what sigmoid gives
    assert len(list(graph.ops_of(FromFloat))) == 2  # the output, and what sigmoid takes
    assert {v.dtype for op in graph.ops_of(FloatConv2d) for v in graph.operands(op)} == {"float32"}
    (flatten,) = (op for op in graph.ops() if op.is_view)
    assert graph.result(flatten).dtype == "float32"


def test_a_layer_alone_is_stored_as_without_it() -> None:
    plain, graph = quantized(residual(), ""), quantized(residual(), "pointwise")
    (stored,) = graph.ops_of(FromFloat)
    (float_conv,) = graph.ops_of(FloatConv2d)
    before = plain.value(graph.result(float_conv).name)
    assert graph.result(stored).q == before.q
    assert len(list(graph.ops_of(Conv2d))) == len(list(plain.ops_of(Conv2d))) - 1


def test_ranges_of_functions_stay_fixed() -> None:
    graph = quantized(activations(), "sigmoid,tanh")
    results = {graph.operands(op)[0].name: graph.result(op).q for op in graph.ops_of(FromFloat)}
    assert results["a5"].scale == (1 / 256,)
    assert results["a6"].scale == (1 / 128,)


def test_sums_round_at_every_step() -> None:
    """1e8 + 1 + ... + 1 stays 1e8 in float32, term by term; so do products."""
    op = FloatConv2d("c", ("node",))
    x = np.ones((1, 1, 1, 9), np.float32)
    w = np.ones((2, 1, 1, 9), np.float32)
    w[:, :, :, 0] = 1e8
    values = [
        Value("x", x.shape, "float32", REAL),
        Value("w", w.shape, data=w),
        Value("b", (2,), data=np.float32([0, -1e8])),
    ]
    graph = op_graph(op, values, REAL)
    (y,) = op.evaluate_int(graph.operands(op), graph.results(op), [x, w, np.float32([0, -1e8])])
    assert y.reshape(-1).tolist() == [1e8, 8.0]


def test_results_are_always_numbers() -> None:
    y = clamped(np.float32([np.nan, np.inf, -np.inf, 2.0, -0.0]), None)
    assert y.tolist() == [-LARGEST, LARGEST, -LARGEST, 2.0, 0.0]
    assert clamped(np.float32([np.nan, -0.0, 7]), (0.0, 6.0)).tolist() == [0.0, 0.0, 6.0]
    assert bounds((0.0, math.inf)) == (0.0, LARGEST)


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "hardswish", "swish", "elu"])
def test_functions_are_close_to_exact_ones(name: str) -> None:
    x = np.linspace(-87, 88, 100_001).astype(np.float32)
    have = FUNCTIONS[name](x, 1.0, 0.0).astype(np.float64)
    want = EXACT[name](x.astype(np.float64))
    np.testing.assert_allclose(have, want, rtol=2.5e-7, atol=2e-7 if name != "exp" else 0)
