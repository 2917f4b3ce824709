"""QuantizeLinear and DequantizeLinear: the parameters that arrive in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams
from mcucompile.ops.qdq import Dequantize, Quantize

FLOAT, INT8, UINT8 = TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8


def _node(kind: str, *names: str, **attributes: Any) -> onnx.NodeProto:
    *inputs, output = names
    return helper.make_node(kind + "Linear", inputs, [output], output, **attributes)


def _import(
    nodes: list[onnx.NodeProto], arrays: dict[str, Array], x: int = FLOAT, opset: int = 17
) -> Graph:
    """The graph of `nodes` from input x (1, 2, 3) to output y."""
    tensors = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", x, (1, 2, 3))]
    outputs = [helper.make_tensor_value_info("y", FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return import_model(model)


def _scale(*values: float) -> Array:
    return np.array(values if len(values) > 1 else values[0], dtype=np.float32)


def _qparams(graph: Graph) -> list[QParams]:
    return [op.qparams for op in graph.ops_of(Quantize, Dequantize)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("dtype", "zero"), [(np.int8, -7), (np.uint8, 121)])
def test_activations(dtype: type, zero: int) -> None:
    nodes = [_node("Quantize", "x", "s", "z", "q"), _node("Dequantize", "q", "s", "z", "y")]
    graph = _import(nodes, {"s": _scale(0.5), "z": np.array(zero, dtype)})
    assert [op.kind for op in graph.ops()] == ["Quantize", "Dequantize"]
    assert _qparams(graph) == [QParams((0.5,), -7)] * 2


def test_both_are_identities_on_real_numbers() -> None:
    x = np.array([[0.3, 1e9]], dtype=np.float32)
    q = QParams((0.5,), -7)
    for op in (Quantize("op", (), q), Dequantize("op", (), q)):
        assert np.array_equal(op.evaluate([x])[0], x)


def test_no_zero_point() -> None:
    """Then a QuantizeLinear makes uint8 with 0, and a DequantizeLinear has to look back at it."""
    flat = helper.make_node("Flatten", ["q"], ["f"])
    nodes = [_node("Quantize", "x", "s", "q"), flat, _node("Dequantize", "f", "s", "y")]
    assert _qparams(_import(nodes, {"s": _scale(0.5)})) == [QParams((0.5,), -128)] * 2

    nodes[0] = _node("Quantize", "x", "s", "q", output_dtype=INT8)
    assert _qparams(_import(nodes, {"s": _scale(0.5)}, opset=21)) == [QParams((0.5,), 0)] * 2

    with pytest.raises(UnsupportedModelError, match="no zero point"):
        _import([_node("Dequantize", "x", "s", "y")], {"s": _scale(0.5)}, UINT8)


def _constant(data: Array, scale: Array, zero: Array | None, **attributes: Any) -> Graph:
    """x + dequantized `data`."""
    names = ["w", "s"] + (["z"] if zero is not None else [])
    nodes = [
        _node("Dequantize", *names, "c", **attributes),
        helper.make_node("Add", ["x", "c"], ["y"], "add"),
    ]
    arrays = {"w": data, "s": scale} | ({"z": zero} if zero is not None else {})
    return _import(nodes, arrays)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_constants_keep_their_integers(dtype: type) -> None:
    data = np.array([[0, 5, 127], [1, 100, 90]], dtype)
    zero = np.array(0 if dtype is np.int32 else 90, dtype)
    graph = _constant(data, _scale(0.25), zero)
    (value,) = [v for v in graph.values() if v.is_constant]
    assert value.dtype == ("int32" if dtype is np.int32 else "int8")
    assert np.array_equal(value.real, (data.astype(np.float32) - zero) * 0.25)
    assert value.q.axis is None


def test_constants_per_axis() -> None:
    data = np.array([[10, 20, 30], [-10, -20, -30]], np.int8)
    for axis, scale in [(0, _scale(0.5, 2.0)), (-2, _scale(0.5, 2.0)), (1, _scale(1.0, 2.0, 4.0))]:
        graph = _constant(data, scale, None, axis=axis)
        (value,) = [v for v in graph.values() if v.is_constant]
        assert value.q.axis == axis % 2
        shape = (-1, 1) if axis % 2 == 0 else (1, -1)
        assert np.array_equal(value.real, data * scale.reshape(shape))


def test_constants_quantized_in_the_model() -> None:
    """QuantizeLinear of float weights, as quantization-aware training leaves it."""
    nodes = [
        _node("Quantize", "w", "s", "z", "q"),
        _node("Dequantize", "q", "s", "z", "c"),
        helper.make_node("Add", ["x", "c"], ["y"], "add"),
    ]
    weights = np.array([[0.26, -0.9, 200.0]], np.float32)
    graph = _import(nodes, {"w": weights, "s": _scale(0.5), "z": np.array(3, np.int8)})
    (value,) = [v for v in graph.values() if v.is_constant]
    assert np.array_equal(value.data, [[4, 1, 127]])  # type: ignore[arg-type]
    assert value.q == QParams((0.5,), 3)


def test_refusals() -> None:
    weights = np.zeros((2, 3), np.int8)
    with pytest.raises(UnsupportedModelError, match="differ by channel"):
        _constant(weights, _scale(1.0, 2.0), np.array([0, 1], np.int8), axis=0)
    with pytest.raises(UnsupportedModelError, match="2 scales do not fit"):
        _constant(weights, _scale(1.0, 2.0), None, axis=1)
    with pytest.raises(UnsupportedModelError, match="its constant is int16"):
        _constant(weights.astype(np.int16), _scale(1.0), None)
    nodes = [_node("Quantize", "x", "s", "z", "q"), _node("Dequantize", "q", "s", "z", "y")]
    with pytest.raises(UnsupportedModelError, match="its integers are int16"):
        _import(nodes, {"s": _scale(0.5), "z": np.array(0, np.int16)}, opset=21)
