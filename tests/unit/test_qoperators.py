"""Operators on quantized tensors, as onnxruntime's quantizer writes them ("QOperator format")."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.qoperators import OPERATORS
from mcucompile.ir import Array, Graph, Shape
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession

rng = np.random.default_rng(0)
X: Shape = (1, 4, 6, 5)
MICROSOFT = "com.microsoft"


class Inputs:
    """The inputs of an operator; parameters and weights become constants."""

    def __init__(self, dtype: type = np.uint8) -> None:
        self.dtype = dtype
        self.names: list[str] = []
        self.constants: dict[str, Array] = {}

    def constant(self, data: Any) -> Inputs:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(data)
        self.names.append(name)
        return self

    def parameters(self, scale: float, zero: int) -> Inputs:
        return self.constant(np.float32(scale)).constant(self.dtype(zero))

    def x(self, scale: float = 0.02) -> Inputs:
        self.names.append("x")
        return self.parameters(scale, 100)

    def weights(self, shape: Shape, scales: Any) -> Inputs:
        self.constant(rng.integers(-127, 128, shape).astype(np.int8))
        scale = np.asarray(scales, np.float32)
        return self.constant(scale).constant(np.zeros(scale.shape, np.int8))

    def bias(self, channels: int) -> Inputs:
        return self.constant(rng.integers(-3000, 3000, channels).astype(np.int32))


def q_model(
    op: str, inputs: Inputs, shape: Shape = X, domain: str = "", **attrs: Any
) -> onnx.ModelProto:
    """A model of the one node `op`; x and y are uint8."""
    node = helper.make_node(op, inputs.names, ["y"], "node", domain=domain, **attrs)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(inputs.dtype))
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(a, name) for name, a in inputs.constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def integers(model: onnx.ModelProto) -> Graph:
    graph = run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)
    return legalize(quantize(graph))


CONV = Inputs().x().weights((3, 4, 3, 3), [0.01, 0.02, 0.015]).parameters(0.05, 120).bias(3)
CASES: dict[str, tuple[Inputs, Shape, dict[str, Any]]] = {
    "QLinearConv": (CONV, X, {"pads": [1, 1, 1, 1]}),
    "QLinearMatMul": (Inputs().x().weights((5, 3), 0.01).parameters(0.05, 120), (1, 5), {}),
    "QGemm": (
        Inputs().x().weights((3, 5), [0.01, 0.02, 0.03]).bias(3).parameters(0.05, 120),
        (1, 5),
        {"transB": 1},
    ),
    "QLinearAdd": (Inputs().x().x(0.02).parameters(0.05, 120), X, {}),
    "QLinearMul": (Inputs().x().x(0.02).parameters(0.05, 120), X, {}),
    "QLinearSigmoid": (Inputs().x().parameters(0.004, 0), X, {}),
    "QLinearSoftmax": (Inputs().x().parameters(1 / 256, 0), (1, 9), {"axis": -1, "opset": 17}),
    "QLinearLeakyRelu": (Inputs().x().parameters(0.02, 30), X, {"alpha": 0.1}),
    "QLinearGlobalAveragePool": (Inputs().x().parameters(0.02, 100), X, {}),
    "QLinearAveragePool": (
        Inputs().x().parameters(0.02, 100),
        X,
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
    "QLinearConcat": (Inputs().parameters(0.02, 100).x().x(), X, {"axis": 1}),
}


@pytest.mark.parametrize("op", sorted(OPERATORS))
def test_same_as_onnxruntime(op: str) -> None:
    """Every operator: integers that differ from onnxruntime's by one at most."""
    inputs, shape, attrs = CASES[op]
    domain = "" if op in ("QLinearConv", "QLinearMatMul") else MICROSOFT
    model = q_model(op, inputs, shape, domain, **attrs)
    x = rng.integers(0, 256, (4, *shape[1:])).astype(np.uint8)
    (want,) = OnnxSession(model).run([x])
    graph = integers(model)
    (have,) = run_int(graph, [(x.astype(np.int16) - 128).astype(np.int8)])
    port = graph.output_ports[0]
    assert (port.dtype, port.layout) == (
        "uint8",
        "NCHW" if "Pool" in op or "Conv" in op else port.layout,
    )
    difference = have.reshape(want.shape).astype(int) + 128 - want.astype(int)
    assert np.abs(difference).max() <= 1
    assert np.abs(difference).mean() < 0.05


def test_padding_of_integers() -> None:
    """The number around an integer tensor is an integer."""
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("Pad", ["q", "pads", "value"], ["p"]),
        helper.make_node("DequantizeLinear", ["p", "scale", "zero"], ["y"]),
    ]
    constants = {"scale": np.float32(0.02), "zero": np.uint8(100), "value": np.uint8(103)}
    tensors = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [*tensors, numpy_helper.from_array(pads, "pads")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (y,) = run_float(import_model(model), [np.zeros(X, np.float32)])
    np.testing.assert_allclose(y[0, 0, 0], 0.06, rtol=1e-6)


def test_channels_last_is_refused() -> None:
    inputs = Inputs().x().parameters(0.02, 100)
    model = q_model("QLinearGlobalAveragePool", inputs, X, MICROSOFT, channels_last=1)
    with pytest.raises(Exception, match=r"MC101: node 'node' \(com.microsoft QLinearGlobal"):
        import_model(model)


def test_dynamic_quantization_is_refused() -> None:
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"], "node")
    graph = helper.make_graph(
        [node],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, 4))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(Exception, match=r"MC101.*\n  why: it quantizes by the data of each run"):
        import_model(model)
