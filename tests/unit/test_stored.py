"""Stored integers and plain ones: what an integer tensor of a model means."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mcucompile.errors import McuCompileError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize
from mcucompile.quant.samples import from_model_int8, to_model_int8
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession

FLOAT, INT8, UINT8, INT32 = (getattr(TensorProto, n) for n in ("FLOAT", "INT8", "UINT8", "INT32"))
rng = np.random.default_rng(5)


def model_of(
    nodes: list[onnx.NodeProto],
    x: tuple[int, tuple[int, ...]],
    y: int,
    constants: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """A model from the input x of that type and shape to the output y of the type `y`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", *x)],
        [helper.make_tensor_value_info("y", y, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def quantized(model: onnx.ModelProto, ranges: dict[str, tuple[float, float]]) -> Graph:
    graph = run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)
    known = {v.name: r for v in graph.values() for n, r in ranges.items() if v.onnx_name == n}
    return legalize(quantize(graph, known))


def answers(graph: Graph, x: Array) -> Array:
    """The model's output, in its own type, for samples of its input."""
    q = graph.value(graph.inputs[0]).q
    (y,) = run_int(graph, [to_model_int8(x, graph.input_ports[0], q)])
    return from_model_int8(y, graph.output_ports[0], graph.value(graph.outputs[0]).q)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_integers_without_parameters_are_numbers(kind: type) -> None:
    """An int8 model input that is cast, an int8 output that is cast to."""
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
        helper.make_node("Div", ["f", "two"], ["h"]),
        helper.make_node("Cast", ["h"], ["y"], to=number),
    ]
    model = model_of(nodes, (number, (1, 6)), number, {"two": np.float32(2)})
    graph = quantized(model, {"h": (-64.0, 127.5)})
    zero = -128 if kind is np.uint8 else 0
    assert graph.value(graph.inputs[0]).q == QParams((1.0,), zero)
    assert graph.value(graph.outputs[0]).q == QParams((1.0,), zero)
    x = np.array([[0, 2, 8, 40, 100, 126]], kind)
    assert np.abs(answers(graph, x).astype(int) - x // 2).max() <= 1


@pytest.mark.parametrize("second", [np.array(3, np.int64), np.array([True, False, True, True])])
def test_constants_of_any_type_are_numbers(second: Array) -> None:
    """`Equal` with integers, `Where` with truth values: not only float32 constants."""
    x = np.array([[1, 0, 3, 1]], np.float32)
    if second.dtype == bool:
        nodes = [
            helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BOOL),
            helper.make_node("Equal", ["b", "c"], ["y"]),
        ]
        want = (x != 0) == second
    else:
        nodes = [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Equal", ["i", "c"], ["y"]),
        ]
        want = x == second
    model = model_of(nodes, (FLOAT, (1, 4)), TensorProto.BOOL, {"c": second})
    (y,) = run_float(import_model(model), [x])
    np.testing.assert_array_equal(y, want)


def test_integers_of_a_quantizer_are_no_numbers() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Cast", ["q"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"], "product"),
    ]
    model = model_of(nodes, (FLOAT, (1, 4)), FLOAT, {"s": np.float32(0.5), "z": np.int8(3)})
    with pytest.raises(McuCompileError, match="computes with the integers") as caught:
        import_model(model)
    assert caught.value.id == "MC101"
    assert "product" in caught.value.where


def test_numbers_are_no_integers_of_a_quantizer() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["q"], to=INT8),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "back"),
    ]
    model = model_of(nodes, (FLOAT, (1, 4)), FLOAT, {"s": np.float32(0.5), "z": np.int8(3)})
    with pytest.raises(McuCompileError, match="no QuantizeLinear has stored"):
        import_model(model)


def test_an_input_is_stored_or_a_number() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Cast", ["x"], ["b"], to=FLOAT),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    model = model_of(nodes, (INT8, (1, 4)), FLOAT, {"s": np.float32(0.5), "z": np.int8(3)})
    with pytest.raises(McuCompileError, match="computes with the integers"):
        import_model(model)


@pytest.mark.parametrize(
    ("move", "words"),
    [
        (helper.make_node("Pad", ["x", "pads", "c"], ["q"]), "the integers that it adds mean"),
        (helper.make_node("Concat", ["x", "row"], ["q"], axis=1), "no QuantizeLinear has stored"),
    ],
)
def test_integers_beside_a_stored_input_are_no_numbers(move: onnx.NodeProto, words: str) -> None:
    """What they mean stands in the DequantizeLinear after them."""
    nodes = [move, helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])]
    constants = {"s": np.float32(0.5), "z": np.int8(3), "c": np.int8(7)}
    constants |= {"pads": np.array([0, 1, 0, 1]), "row": np.full((1, 2), 7, np.int8)}
    model = model_of(nodes, (INT8, (1, 4)), FLOAT, constants)
    with pytest.raises(McuCompileError, match=words):
        import_model(model)


def test_quotients_of_integers_are_refused() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=INT32),
        helper.make_node("Div", ["i", "c"], ["y"], "quotient"),
    ]
    model = model_of(nodes, (FLOAT, (1, 4)), INT32, {"c": np.int32(2)})
    with pytest.raises(McuCompileError, match="it divides integers"):
        import_model(model)


X_SHAPE = (1, 2, 5, 4)


@pytest.mark.parametrize("given", ["input", "stored"])
@pytest.mark.parametrize("op", ["ConvInteger", "MatMulInteger"])
def test_products_of_integers(op: str, given: str) -> None:
    """Exactly onnxruntime's sums, for integers that are given, and for those of a quantizer."""
    shape = (3, 2, 3, 3) if op == "ConvInteger" else (4, 3)
    w = rng.integers(-20, 20, shape).astype(np.int8)
    s, z = np.float32(0.25), np.uint8(7)
    nodes = [
        helper.make_node(op, ["q", "w", "z"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["f"], to=FLOAT),
        helper.make_node("Mul", ["f", "s"], ["y"]),
    ]
    if given == "stored":
        nodes.insert(0, helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]))
        x = ((rng.integers(0, 256, X_SHAPE) - 7) * s).astype(np.float32)
    else:
        nodes[0].input[0] = "x"
        x = rng.integers(0, 256, X_SHAPE).astype(np.uint8)
    kind = FLOAT if given == "stored" else UINT8
    model = model_of(nodes, (kind, X_SHAPE), FLOAT, {"w": w, "s": s, "z": z})
    (want,) = OnnxSession(model).run([x])
    graph = absorb_qdq(import_model(model))
    reals = (
        x
        if given == "stored"
        else graph.value(graph.inputs[0]).q.dequantize((x.astype(np.int16) - 128).astype(np.int8))
    )
    (y,) = run_float(graph, [reals])
    np.testing.assert_allclose(y.reshape(want.shape), want, rtol=1e-5, atol=1e-4)
    peak = float(np.abs(want).max())
    integer = quantized(model, {"y": (-peak, peak)})
    have = answers(integer, x).reshape(want.shape)
    step = integer.value(integer.outputs[0]).q.scale[0]
    assert np.abs(have - want).max() <= 0.51 * step
