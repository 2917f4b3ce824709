"""Where quantization parameters come from, and where they go."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, Op, Port, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.concat import Concat
from mcucompile.ops.dense import Dense
from mcucompile.ops.qdq import Dequantize, Quantize
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import BoundedUnary, Unary
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize, uncalibrated
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int

P, Q = QParams((0.5,), 3), QParams((0.25,), -7)


class Net:
    """Builds a graph of values named like the operators that define them."""

    def __init__(self, *inputs: str) -> None:
        self.graph = Graph("net")
        for name in inputs:
            self.graph.add_value(Value(name, (1, 6), onnx_name=name))
        self.graph.inputs = inputs

    def __call__(self, kind: type[Op], name: str, *operands: str, **fields: object) -> None:
        op = kind(f"op_{name}", (name,), **fields)
        self.graph.append(op, [self.graph.value(o) for o in operands], [name], onnx=True)

    def quantize(self, name: str, operand: str, qparams: QParams) -> None:
        self(Quantize, name, operand, qparams=qparams)

    def dequantize(self, name: str, operand: str, qparams: QParams) -> None:
        self(Dequantize, name, operand, qparams=qparams)

    def outputs(self, *names: str) -> Graph:
        graph = self.graph
        graph.outputs = names
        graph.input_ports = tuple(Port(n, graph.value(n).shape, "float32") for n in graph.inputs)
        graph.output_ports = tuple(Port(n, graph.value(n).shape, "float32") for n in names)
        return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops()]


def qparams(graph: Graph) -> dict[str, QParams | None]:
    return {v.name: v.qparams for v in graph.values()}


# -- absorb_qdq -------------------------------------------------------------------------------


def test_markers_become_qparams_and_the_output_is_the_stored_value() -> None:
    net = Net("x")
    net.dequantize("d", "x", P)
    net(Unary, "r", "d", function="relu")
    net.quantize("y", "r", Q)
    before = net.outputs("y")
    graph = absorb_qdq(before)
    assert kinds(graph) == ["Relu"]
    assert qparams(graph) == {"x": P, "r": Q}
    assert graph.outputs == ("r",)
    assert kinds(before) == ["Dequantize", "Relu", "Quantize"]


def test_float_input_and_output_get_the_parameters_beside_them() -> None:
    net = Net("x")
    net.quantize("q", "x", P)
    net.dequantize("d", "q", P)
    net(Unary, "r", "d", function="relu")
    net.quantize("s", "r", Q)
    net.dequantize("y", "s", Q)
    graph = absorb_qdq(net.outputs("y"))
    assert qparams(graph) == {"x": P, "r": Q}
    assert graph.inputs == ("x",)
    assert graph.outputs == ("r",)


def test_only_the_value_before_quantize_gets_the_parameters() -> None:
    net = Net("x")
    net.quantize("q", "x", P)
    net.dequantize("d", "q", P)
    net(Add, "sum", "d", "d")
    net(Unary, "r", "sum", function="relu")
    net.quantize("y", "r", Q)
    assert qparams(absorb_qdq(net.outputs("y"))) == {"x": P, "sum": None, "r": Q}


def test_other_parameters_for_a_stored_value_are_a_requantize() -> None:
    net = Net("x")
    net.dequantize("d", "x", P)
    net.quantize("y", "d", Q)
    graph = absorb_qdq(net.outputs("y"))
    assert kinds(graph) == ["Requantize"]
    assert qparams(graph) == {"x": P, "y": Q}


def test_integers_keep_their_meaning_through_moves() -> None:
    net = Net("x")
    net(Reshape, "a", "x", shape=(1, 2, 3))
    net(Transpose, "b", "a", perm=(0, 2, 1))
    net.dequantize("d", "b", P)
    net(Unary, "r", "d", function="relu")
    net.quantize("q", "r", Q)
    net(Reshape, "y", "q", shape=(1, 6))
    graph = absorb_qdq(net.outputs("y"))
    assert qparams(graph) == {"x": P, "a": P, "b": P, "r": Q, "y": Q}


def test_float_moves_before_quantize_carry_the_parameters_back() -> None:
    net = Net("x")
    net.quantize("q", "x", P)
    net.dequantize("d", "q", P)
    net(Unary, "r", "d", function="relu")
    net(Reshape, "a", "r", shape=(1, 2, 3))
    net.quantize("y", "a", Q)
    assert qparams(absorb_qdq(net.outputs("y"))) == {"x": P, "r": Q, "a": Q}


def test_value_that_is_a_float_and_an_integer_output_is_copied() -> None:
    net = Net("x")
    net(Unary, "r", "x", function="relu")
    net.quantize("y", "r", Q)
    graph = absorb_qdq(net.outputs("r", "y"))
    assert kinds(graph) == ["Relu", "Reshape"]
    assert graph.outputs == ("r", "y")
    assert qparams(graph) == {"x": None, "r": Q, "y": Q}


@pytest.mark.parametrize("moved", [False, True])
def test_reinterpreted_integers_are_refused(moved: bool) -> None:
    net = Net("x")
    net.quantize("q", "x", P)
    if moved:
        net(Reshape, "m", "q", shape=(1, 2, 3))
    net.dequantize("y", "m" if moved else "q", Q)
    with pytest.raises(QuantizationError, match="MC205"):
        absorb_qdq(net.outputs("y"))


# -- quantize ---------------------------------------------------------------------------------


def test_every_activation_becomes_int8_with_its_range() -> None:
    net = Net("x")
    net(Unary, "r", "x", function="relu")
    graph = quantize(net.outputs("r"), {"x": (-1.0, 1.55), "r": (0.0, 2.55)})
    assert [v.dtype for v in graph.values()] == ["int8", "int8"]
    assert np.allclose(graph.value("x").q.scale[0], 0.01)
    assert graph.value("x").q.zero_point == -28
    assert graph.value("r").q.zero_point == -128


def test_views_share_one_range_the_widest() -> None:
    net = Net("x")
    net(Reshape, "a", "x", shape=(1, 2, 3))
    net(Transpose, "b", "a", perm=(0, 2, 1))
    graph = quantize(net.outputs("b"), {"x": (-1.0, 0.5), "b": (-0.5, 1.55)})
    assert len(set(qparams(graph).values())) == 1
    assert np.allclose(graph.value("x").q.scale[0], 0.01)


def test_clamp_bounds_the_range() -> None:
    net = Net("x", "z")
    net(Add, "y", "x", "z", clamp=(0.0, 6.0))
    wide = {"x": (-9.0, 9.0), "z": (-9.0, 9.0), "y": (-3.0, 18.0)}
    q = quantize(net.outputs("y"), wide).value("y").q
    assert q.zero_point == -128
    assert np.isclose(q.scale[0], 6 / 255)


def test_clamp_beyond_the_range_leaves_it_alone() -> None:
    net = Net("x", "z")
    net(Add, "y", "x", "z", clamp=(0.0, 6.0))
    ranges = {"x": (-9.0, 9.0), "z": (-9.0, 9.0), "y": (0.0, 2.0)}
    assert np.isclose(quantize(net.outputs("y"), ranges).value("y").q.scale[0], 2 / 255)


def test_fixed_parameters_need_no_range() -> None:
    net = Net("x")
    net(BoundedUnary, "y", "x", function="sigmoid")
    graph = net.outputs("y")
    assert [v.name for v in uncalibrated(graph)] == ["x"]
    assert quantize(graph, {"x": (-4.0, 4.0)}).value("y").q == QParams((1 / 256,), -128)


def test_parameters_of_the_model_win() -> None:
    net = Net("x")
    net.quantize("q", "x", P)
    net.dequantize("d", "q", P)
    net(BoundedUnary, "s", "d", function="tanh")
    net.quantize("y", "s", Q)
    graph = quantize(absorb_qdq(net.outputs("y")), {"x": (-99.0, 99.0), "s": (-99.0, 99.0)})
    assert qparams(graph) == {"x": P, "s": Q}


def test_operands_that_only_a_concat_reads_share_its_range() -> None:
    net = Net("x")
    for name in ("a", "b", "c"):
        net(Unary, name, "x", function="relu")
    net(Concat, "y", "a", "b", "c", axis=1)
    net(Add, "z", "c", "c")
    ranges = {"x": (-1.0, 1.0), "a": (0.0, 1.0), "b": (0.0, 4.0), "c": (0.0, 2.0), "z": (0.0, 4.0)}
    graph = quantize(net.outputs("y", "z"), ranges | {"y": (0.0, 4.0)})
    q = qparams(graph)
    assert q["a"] == q["b"] == q["y"]
    assert q["c"] != q["y"]


def test_function_of_a_quantized_value_needs_no_range() -> None:
    net = Net("x")
    net.dequantize("d", "x", QParams((0.5,), 0))
    net(Unary, "r", "d", function="relu")
    net(Unary, "y", "r", function="neg")
    graph = quantize(absorb_qdq(net.outputs("y")))
    assert np.isclose(graph.value("r").q.scale[0], 63.5 / 255)
    assert graph.value("y").q.zero_point == 127


def test_missing_ranges_are_all_listed() -> None:
    net = Net("x", "other")
    net.dequantize("d", "x", P)
    net(Add, "sum", "d", "d")
    net(Unary, "r", "sum", function="relu")
    net(Add, "y", "r", "other")
    with pytest.raises(QuantizationError) as caught:
        quantize(absorb_qdq(net.outputs("y")))
    error = caught.value
    assert error.id == "MC202"
    assert error.where == "4 tensors"
    assert error.why.endswith("'other', 'sum', 'r', 'y'")
    assert error.code == 3


def test_constants_become_integers_and_stay_shared() -> None:
    net = Net("x")
    net.graph.constant("c", np.array([[0.0, 1.0, 2.0, 0.5, 2.55, 1.5]]))
    net(Add, "a", "x", "c")
    net(Add, "y", "a", "c")
    graph = quantize(net.outputs("y"), {"x": (-1.0, 1.0), "a": (-1.0, 3.55), "y": (-1.0, 6.1)})
    (stored,) = (v for v in graph.values() if v.is_constant)
    assert stored.dtype == "int8"
    assert stored.data is not None
    assert stored.data.reshape(-1).tolist() == [-128, -28, 72, -78, 127, 22]
    assert len(graph.users(stored)) == 2


def test_constant_among_moved_operands_is_stored_like_the_result() -> None:
    net = Net("x")
    net.graph.constant("c", np.array([[0.0, 1.0]]))
    net(Concat, "y", "x", "c", axis=1)
    graph = quantize(net.outputs("y"), {"x": (-1.0, 1.55), "y": (-1.0, 1.55)})
    assert graph.value("c").q == graph.value("y").q == graph.value("x").q
    assert np.allclose(graph.value("c").real, [[0.0, 1.0]], atol=1e-6)


def dense(weights: np.ndarray, bias: np.ndarray, stored: QParams | None = None) -> Graph:
    """y = x @ weights.T + bias; stored: parameters of int8 weights."""
    net = Net("x")
    if stored is None:
        net.graph.constant("w", weights)
    else:
        net.graph.add_value(Value("w", weights.shape, "int8", stored, weights.astype(np.int8)))
    net.graph.constant("b", bias)
    net(Dense, "y", "x", "w", "b")
    return net.outputs("y")


def test_layer_with_a_channel_that_training_switched_off() -> None:
    rng = np.random.default_rng(5)
    weights, bias = rng.normal(size=(3, 6)), np.array([0.5, -0.75, 0.9])
    weights[1] *= 1e-13
    weights[2] = 0
    graph = dense(weights, bias)
    x = rng.uniform(-1, 1, (500, 6)).astype(np.float32)
    (real,) = run_float(graph, [x])
    integer = quantize(graph, {"x": (-1.0, 1.0), "y": (real.min(), real.max())})
    (y,) = run_int(integer, [integer.value("x").q.quantize(x)])
    error = np.abs(integer.value("y").q.dequantize(y) - real).max(axis=0)
    assert (error[1:] <= 0.51 * integer.value("y").q.scale[0]).all()
    assert error[0] < 3 * integer.value("y").q.scale[0]


def test_asymmetric_weights_of_the_model_become_symmetric() -> None:
    data = np.arange(-60, 66, 7).reshape(3, 6)
    graph = dense(data, np.zeros(3), QParams((0.01,), 20))
    integer = quantize(graph, {"x": (-1.0, 1.0), "y": (-4.0, 4.0)})
    assert integer.value("w").q.zero_point == 0
    assert np.allclose(integer.value("w").real, (data - 20) * 0.01, atol=0.004)


def test_sums_that_may_leave_32_bits_are_refused() -> None:
    graph = dense(np.ones((1, 6)), np.zeros(1))
    with pytest.raises(QuantizationError, match="MC201"):
        quantize(graph, {"x": (-1.0, 1.0), "y": (-1e-12, 1e-12)})


def test_bias_beside_which_the_weights_of_the_model_vanish_is_refused() -> None:
    graph = dense(np.ones((1, 6)), np.ones(1), QParams((1e-12,), 0))
    with pytest.raises(QuantizationError, match="MC203"):
        quantize(graph, {"x": (-1.0, 1.0), "y": (0.0, 1.0)})


# -- legalize ---------------------------------------------------------------------------------


def test_moves_between_other_parameters_get_one_shared_requantize() -> None:
    net = Net("x")
    net(Reshape, "a", "x", shape=(1, 2, 3))
    net(Reshape, "b", "x", shape=(1, 3, 2))
    net(Reshape, "c", "x", shape=(1, 6, 1))
    graph = net.outputs("a", "b", "c")
    for name, q in (("x", P), ("a", Q), ("b", Q), ("c", P)):
        graph.set_value(replace(graph.value(name), dtype="int8", qparams=q))
    new = legalize(graph)
    assert sorted(kinds(new)) == ["Requantize", "Reshape", "Reshape", "Reshape"]
    for op in new.ops():
        if isinstance(op, Reshape):
            assert new.operands(op)[0].q == new.result(op).q
    assert kinds(graph) == ["Reshape"] * 3


def test_operators_that_compute_rescale_on_their_own() -> None:
    net = Net("x", "z")
    net(Add, "y", "x", "z")
    graph = net.outputs("y")
    for name, q in (("x", P), ("z", Q), ("y", P)):
        graph.set_value(replace(graph.value(name), dtype="int8", qparams=q))
    assert kinds(legalize(graph)) == ["Add"]
