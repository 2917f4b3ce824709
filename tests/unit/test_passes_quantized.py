"""The passes on pre-quantized models: integers and parameters stay."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams
from mcucompile.ops.dense import Dense
from mcucompile.ops.unary import Unary
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from tests.support.models import model_of
from tests.support.passes import kinds, node, rng, the


def quantize(x: str, y: str, scale: str) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear with the initializers `<scale>` and zero-point zero."""
    return [
        node("QuantizeLinear", [x, scale, "zp"], [f"{y}_q"]),
        node("DequantizeLinear", [f"{y}_q", scale, "zp"], [y]),
    ]


def quantized_model(nodes: list[onnx.NodeProto], outputs: dict[str, tuple[int, ...]]) -> Graph:
    """Normalized graph of a model on x (1, 4), quantized with scale s1, with int8 weights `wq`
    (4, 5) and int32 bias `bq`, dequantized to `w` and `b`."""
    int8, int32 = np.int8, np.int32
    arrays = {
        "s1": np.array(0.05, np.float32),
        "s2": np.array(0.125, np.float32),
        "zp": np.array(-3, int8),
        "zw": np.array(0, int8),
        "zb": np.array(0, int32),
        "sw": np.array(0.5, np.float32),
        "sb": np.array(0.025, np.float32),
        "wq": rng.integers(-127, 128, size=(4, 5)).astype(int8),
        "bq": rng.integers(-900, 900, size=5).astype(int32),
    }
    head = [
        *quantize("x", "xd", "s1"),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["w"]),
        node("DequantizeLinear", ["bq", "sb", "zb"], ["b"]),
    ]
    model = model_of([*head, *nodes], {"x": (1, 4)}, outputs, {})
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    return run_passes(absorb_qdq(import_model(model)))


def test_quantized_layer_keeps_its_integers() -> None:
    """MatMul + Add + Relu of a converter: one layer with the model's own weights, bias and
    parameters."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            node("Add", ["m", "b"], ["a"]),
            node("Relu", ["a"], ["r"]),
            *quantize("r", "y", "s2"),
        ],
        {"y": (1, 5)},
    )
    assert kinds(graph) == ["Dense"]
    op = the(graph, Dense)
    assert isinstance(op, Dense)
    assert op.clamp == (0.0, np.inf)
    x, w, b = graph.operands(op)
    assert (w.dtype, b.dtype) == ("int8", "int32")
    assert w.qparams == QParams((0.5,), 0)
    assert np.isclose(b.q.scale[0], 0.025)
    assert np.isclose(x.q.scale[0], 0.05)
    y = graph.result(op)
    assert (y.q.scale, y.q.zero_point, y.onnx_name) == ((0.125,), -3, "r")


def test_permuted_integers() -> None:
    """Flattening in front of a quantized layer permutes its integers."""
    model = model_of(
        [
            node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
            *quantize("nchw", "xd", "s1"),
            node("DequantizeLinear", ["wq", "sw", "zw"], ["w"], axis=0),
            node("Flatten", ["xd"], ["f"]),
            node("Gemm", ["f", "w"], ["g"], transB=1),
            *quantize("g", "y", "s1"),
        ],
        {"x": (1, 2, 3, 4)},
        {"y": (1, 5)},
        {},
    )
    weights = rng.integers(-127, 128, size=(5, 24)).astype(np.int8)
    for name, array in {
        "s1": np.array(0.05, np.float32),
        "zp": np.array(-3, np.int8),
        "zw": np.zeros(5, np.int8),
        "sw": np.linspace(0.1, 0.2, 5).astype(np.float32),
        "wq": weights,
    }.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    graph = run_passes(absorb_qdq(import_model(model)))
    w = graph.operands(the(graph, Dense))[1]
    nhwc = weights.reshape(5, 4, 2, 3).transpose(0, 2, 3, 1).reshape(5, 24)
    np.testing.assert_array_equal(w.data, nhwc)
    assert w.q.axis == 0
    assert kinds(graph) == ["Reshape", "Dense"]


def test_transposed_integers() -> None:
    """Weights that are transposed after dequantizing are constants when their layer is imported."""
    graph = quantized_model(
        [
            node("Transpose", ["w"], ["wt"], perm=[1, 0]),
            node("Gemm", ["xd", "wt", "b"], ["g"], transB=1),
            *quantize("g", "y", "s2"),
        ],
        {"y": (1, 5)},
    )
    _, w, b = graph.operands(the(graph, Dense))
    assert (w.shape, w.dtype, b.dtype) == ((5, 4), "int8", "int32")


@pytest.mark.parametrize(("scale", "fused"), [("s1", True), ("s2", False)])
def test_clamp_across_quantization(scale: str, fused: bool) -> None:
    """A value stored in 8 bits on its way to the Relu is fused only if the Relu stores alike."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            *quantize("m", "md", scale),
            node("Relu", ["md"], ["r"]),
            *quantize("r", "y", "s1"),
        ],
        {"y": (1, 5)},
    )
    assert ("Relu" not in kinds(graph)) == fused
    assert graph.value(graph.outputs[0]).q.scale[0] == np.float32(0.05)


@pytest.mark.parametrize("scale", ["s1", "s2"])
def test_scaling_across_quantization(scale: str) -> None:
    """What is stored in 8 bits before it is scaled stays so, whatever it is stored in after."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            *quantize("m", "md", "s2"),
            node("Mul", ["md", "b"], ["r"]),
            *quantize("r", "y", scale),
        ],
        {"y": (1, 5)},
    )
    assert Counter(kinds(graph)) == {"Dense": 1, "Reshape": 2, "Conv2d": 1}
    assert graph.result(the(graph, Dense)).q.scale == (0.125,)


def test_requantize_stays() -> None:
    graph = quantized_model([*quantize("xd", "y", "s2")], {"y": (1, 4)})
    assert kinds(graph) == ["Requantize"]
    assert isinstance(graph.ops()[0], Unary)
