"""Quant and BipolarQuant of QONNX, and Quant as three nodes of ONNX (QCDQ)."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.errors import McuCompileError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams
from mcucompile.ops.conv import Conv2d
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs

QONNX = "qonnx.custom_op.general"
rng = np.random.default_rng(3)
X = (1, 3, 6, 5)


def quant(x: Array, scale: Any, zero: float, bits: int, signed: bool, narrow: bool) -> Array:
    """Quant, as its definition says."""
    lo = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
    hi = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    return (np.clip(np.rint(x / scale + zero), lo, hi) - zero) * scale


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, Array], shape: tuple[int, ...] = X
) -> onnx.ModelProto:
    """A model from the float input x to the float output y."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(QONNX, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def quant_node(x: str, y: str, tensors: str, op: str = "Quant", **attrs: Any) -> onnx.NodeProto:
    """A node whose parameters are the constants that `tensors` names."""
    return helper.make_node(op, [x, *tensors.split()], [y], f"{y}_node", domain=QONNX, **attrs)


def parameters(scale: Any, zero: float, bits: float) -> dict[str, Array]:
    return {
        "s": np.asarray(scale, np.float32),
        "z": np.float32(zero),
        "b": np.float32(bits),
    }


def integers(model: onnx.ModelProto) -> Graph:
    return legalize(quantize(run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)))


def stored(graph: Graph, x: Array) -> Array:
    """The real result of the quantized `graph` for real x."""
    q = graph.value(graph.inputs[0]).q
    (y,) = run_int(graph, [q.quantize(x)])
    return graph.value(graph.outputs[0]).q.dequantize(y)


@pytest.mark.parametrize(
    ("zero", "bits", "signed", "narrow"),
    [
        (0, 8, 1, 0),
        (0, 8, 1, 1),
        (5, 8, 1, 0),
        (100, 8, 0, 0),
        (0, 8, 0, 1),
        (0, 4, 1, 0),
        (0, 4, 0, 0),
        (3, 4, 0, 1),
        (0, 2, 1, 1),
        (-1, 3, 1, 0),
        (0, 1, 0, 0),
    ],
)
def test_activations(zero: float, bits: int, signed: int, narrow: int) -> None:
    """Every number of bits is exact: a sigmoid's result, or an input, rounded and clamped."""
    node = quant_node("x", "y", "s z b", signed=signed, narrow=narrow)
    graph = integers(model_of([node], parameters(0.125, zero, bits)))
    x = rng.normal(0, 8, X).astype(np.float32)
    want = quant(x, 0.125, zero, bits, bool(signed), bool(narrow))
    np.testing.assert_array_equal(stored(graph, x), want.astype(np.float32))


def conv_model(quantizer: list[onnx.NodeProto], constants: dict[str, Array]) -> onnx.ModelProto:
    """x quantized to 8 bits, a convolution with the weights "wq", a Relu to 4 bits."""
    nodes = [
        quant_node("x", "xq", "xs z0 b8"),
        *quantizer,
        helper.make_node("Conv", ["xq", "wq"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        quant_node("r", "y", "ys z0 b4", signed=0),
    ]
    own = {"xs": np.float32(0.05), "ys": np.float32(0.4), "z0": np.float32(0)}
    bits = {"b8": np.float32(8), "b4": np.float32(4)}
    return model_of(nodes, constants | own | bits)


WEIGHTS = rng.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)
SCALES = np.array([0.1, 0.15, 0.2, 0.25], np.float32).reshape(4, 1, 1, 1)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_weights_of_few_bits(bits: int) -> None:
    """Their integers are those of the definition, and so is the network within a rounding."""
    node = quant_node("w", "wq", "s z b", narrow=1)
    model = conv_model([node], {"w": WEIGHTS} | parameters(SCALES, 0, bits))
    graph = integers(model)
    (conv,) = graph.ops_of(Conv2d)
    assert [op.kind for op in graph.ops()].count("Conv2d") == 1
    w = graph.operands(conv)[1]
    want = quant(WEIGHTS, SCALES, 0, bits, True, True)
    np.testing.assert_allclose(w.real, want.transpose(0, 2, 3, 1), rtol=1e-6)
    assert abs(w.data.astype(int)).max() <= 2 ** (bits - 1) - 1  # type: ignore[union-attr]
    x = (rng.integers(-128, 128, X) * np.float32(0.05)).astype(np.float32)
    (real,) = run_float(import_model(model), [x])
    y = stored(graph, x).reshape(real.shape)
    assert y.max() <= 15 * 0.4 + 1e-6
    assert np.abs(y - quant(real, 0.4, 0, 4, False, False)).max() <= 0.4 + 1e-6
    check_graphs([graph])


def test_a_bias_of_many_bits_is_its_numbers() -> None:
    node = quant_node("w", "c", "s z b")
    nodes = [node, helper.make_node("Add", ["x", "c"], ["y"])]
    w = np.array([[[[0.1]], [[1.3]], [[-7.77]]]], np.float32)
    graph = import_model(model_of(nodes, {"w": w} | parameters(0.001, 0, 16)))
    (y,) = run_float(graph, [np.zeros(X, np.float32)])
    np.testing.assert_allclose(y[0, :, 0, 0], [0.1, 1.3, -7.77], rtol=1e-6)


def test_bipolar_weights_are_two_integers() -> None:
    node = quant_node("w", "wq", "s", "BipolarQuant")
    graph = integers(conv_model([node], {"w": WEIGHTS, "s": SCALES}))
    (conv,) = graph.ops_of(Conv2d)
    w = graph.operands(conv)[1]
    assert set(np.unique(w.data)) == {-1, 1}  # type: ignore[arg-type]
    np.testing.assert_allclose(
        w.real, np.where(WEIGHTS >= 0, SCALES, -SCALES).transpose(0, 2, 3, 1), rtol=1e-6
    )
    check_graphs([graph])


def test_bipolar_activations() -> None:
    """Zero counts as positive; the two numbers are stored as 1 and -1."""
    nodes = [quant_node("x", "q", "xs z b"), quant_node("q", "y", "s", "BipolarQuant")]
    constants = parameters(0.5, 0, 8) | {"xs": np.float32(0.05)}
    graph = integers(model_of(nodes, constants))
    assert [op.kind for op in graph.ops()][-2:] == ["Bipolar", "ScaleShift"]
    assert graph.value(graph.outputs[0]).q == QParams((0.5,), 0)
    x = rng.normal(0, 1, X).astype(np.float32)
    x[0, 0, 0, :3] = [0, 0.02, -0.02]  # all of which are stored as 0
    want = np.where(np.rint(x / 0.05) >= 0, np.float32(0.5), np.float32(-0.5))
    np.testing.assert_array_equal(stored(graph, x).reshape(want.shape), want)
    check_graphs([graph])


def test_clip_between_quantizers() -> None:
    """QCDQ, as Brevitas writes fewer than 8 bits: bounds are integers like those they clamp."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["all"]),
        helper.make_node("Clip", ["all", "lo", "hi"], ["few"]),
        helper.make_node("DequantizeLinear", ["few", "s", "z"], ["y"]),
    ]
    constants = {
        "s": np.float32(0.25),
        "z": np.uint8(10),
        "lo": np.uint8(4),
        "hi": np.uint8(19),
    }
    graph = integers(model_of(nodes, constants))
    x = rng.normal(0, 3, X).astype(np.float32)
    want = (np.clip(np.rint(x / 0.25) + 10, 4, 19) - 10) * 0.25
    np.testing.assert_array_equal(stored(graph, x), want)


@pytest.mark.parametrize(
    ("why", "op", "tensors", "attrs", "change"),
    [
        ("it rounds by FLOOR", "Quant", "s z b", {"rounding_mode": "FLOOR"}, {}),
        (r"its integers lie in \[-32768, 32767\]", "Quant", "s z b", {}, {"b": np.float32(16)}),
        ("an activation has 3 scales", "Quant", "s z b", {}, {"s": np.full((3, 1, 1), 0.5)}),
        ("its zero point is no integer", "Quant", "s z b", {}, {"z": np.float32(0.5)}),
        ("'x' is computed at run time", "Quant", "x z b", {}, {}),
        ("different numbers of bits", "Quant", "s z b", {}, {"b": np.array([4, 8], np.float32)}),
        ("its scale is not one positive", "BipolarQuant", "s", {}, {"s": np.full(3, 0.5)}),
        ("it cuts bits off", "Trunc", "s z b b", {}, {}),
    ],
)
def test_refusals(
    why: str, op: str, tensors: str, attrs: dict[str, Any], change: dict[str, Array]
) -> None:
    node = quant_node("x", "y", tensors, op, **attrs)
    with pytest.raises(McuCompileError, match=why) as caught:
        import_model(model_of([node], parameters(0.5, 0, 8) | change))
    assert caught.value.id == "MC101"
    assert "y_node" in caught.value.where
