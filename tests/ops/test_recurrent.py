"""LSTM, GRU and RNN: import, the integer algorithm against real numbers, and the C code."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.errors import QuantizationError, UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams
from mcucompile.ir.verify import verify
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.recurrent import Activation, Recurrent
from mcucompile.ops.rnn import Rnn
from mcucompile.ops.slice import Slice
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.recurrent import curve, fraction
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.models import model_of
from tests.support.recurrent import (
    GATES,
    TANH,
    H,
    X,
    constants,
    one_layer,
    recurrent_graph,
    recurrent_layer,
    recurrent_model,
)

# -- import ---------------------------------------------------------------------------------

_P = {"P": np.random.default_rng(5).normal(size=(1, 18))}
_H0 = {"initial_h": np.random.default_rng(6).normal(size=(1, 1, 6))}
_C0 = {"initial_c": np.random.default_rng(7).normal(size=(1, 1, 6))}
_BOTH = {"initial_h": np.random.default_rng(8).normal(size=(2, 1, 6))}
_LENGTH = {"sequence_lens": np.array([7])}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *product(
        GATES,
        [
            {},
            {"direction": "reverse"},
            {"direction": "bidirectional"},
            {"clip": 0.5},
            {"more": _H0},
            {"direction": "bidirectional", "more": _BOTH},
            {"results": ("Y",)},
            {"results": ("Y_h",)},
            {"results": ("Y_h",), "direction": "reverse"},
        ],
    ),
    ("LSTM", {"results": ("Y_c",)}),
    ("LSTM", {"more": _P}),
    ("LSTM", {"more": _P, "clip": 0.7}),
    ("LSTM", {"more": _H0 | _C0}),
    ("LSTM", {"more": _C0, "results": ("Y_h",)}),
    ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    ("GRU", {"linear_before_reset": 1}),
    ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "clip": 0.6}),
    ("GRU", {"activations": ["HardSigmoid", "Elu"], "activation_alpha": [0.3, 0.5]}),
    ("RNN", {"activations": ["Relu"]}),
    ("RNN", {"activations": ["LeakyRelu"] * 2, "direction": "bidirectional"}),
    ("RNN", {"activations": ["Softplus"]}),
]


@pytest.mark.parametrize(("kind", "options"), VARIANTS)
def test_import(kind: str, options: dict[str, Any]) -> None:
    model = recurrent_model(kind, **options)
    graph = import_model(model)
    verify(graph, "float")
    normalized = run_passes(absorb_qdq(graph))
    assert "Transpose" not in {op.kind for op in normalized.ops()}
    x = np.random.default_rng(1).normal(size=(3, 7, 5)).astype(np.float32)
    want = OnnxSession(model).run([x])
    for g in (graph, normalized):
        for a, b in zip(run_float(g, [x]), want, strict=True):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=2e-5, atol=2e-5)


def test_batch_first_layout() -> None:
    """onnxruntime refuses layout 1: the same weights with layout 0 say what is right."""
    weights = constants("GRU", 6, 5)
    node = helper.make_node("GRU", ["x", "W", "R", "B"], ["Y", "Y_h"], hidden_size=6, layout=1)
    outputs: dict[str, Any] = {"Y": None, "Y_h": None}
    model = model_of([node], {"x": (1, 7, 5)}, outputs, weights)
    x = np.random.default_rng(1).normal(size=(2, 7, 5)).astype(np.float32)
    have = run_float(run_passes(absorb_qdq(import_model(model))), [x])
    want = OnnxSession(recurrent_model("GRU", weights=weights)).run([x])
    assert have[0].shape == (2, 7, 1, 6)
    for a, b in zip(have, want, strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, atol=2e-5)


def test_states_as_inputs() -> None:
    shape = (1, 1, 6)
    model = recurrent_model("LSTM", inputs={"initial_h": shape, "initial_c": shape})
    rng = np.random.default_rng(2)
    arrays = [rng.normal(size=(3, *s[1:])).astype(np.float32) for s in ((1, 7, 5), shape, shape)]
    have = run_float(run_passes(absorb_qdq(import_model(model))), arrays)
    for a, b in zip(have, OnnxSession(model).run(arrays), strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, atol=2e-5)


def test_full_lengths_and_zero_states_are_no_operands() -> None:
    more = {"initial_h": np.zeros((1, 1, 6))} | _LENGTH
    (op,) = import_model(recurrent_model("GRU", more=more)).ops_of(Gru)
    assert not op.initial


@pytest.mark.parametrize(
    ("why", "kind", "options"),
    [
        (r"\[4\] of 7 steps", "GRU", {"more": {"sequence_lens": np.array([4])}}),
        ("coupled", "LSTM", {"input_forget": 1}),
        ("affine has no integer kernel", "RNN", {"activations": ["Affine"]}),
        ("the tanh of its gates", "GRU", {"activations": ["Tanh", "Tanh"]}),
        ("has 1 activations", "GRU", {"activations": ["Sigmoid"]}),
        ("direction 'backward'", "RNN", {"direction": "backward"}),
        ("weights are computed at run time", "RNN", {"inputs": {"R": (1, 6, 6)}}),
    ],
)
def test_refusals(why: str, kind: str, options: dict[str, Any]) -> None:
    if "inputs" in options:
        options = {
            **options,
            "weights": {k: v for k, v in constants(kind, 6, 5).items() if k != "R"},
        }
    with pytest.raises(UnsupportedModelError, match=why) as caught:
        import_model(recurrent_model(kind, **options))
    assert caught.value.id == "MC101"


def test_integers_of_weights_stay() -> None:
    """A pre-quantized model brings its own, per direction, per gate or per tensor."""
    rng = np.random.default_rng(0)
    integers = {
        n: rng.integers(-127, 128, (2, 18, k)).astype(np.int8) for n, k in (("W", 5), ("R", 6))
    }
    model = recurrent_model("GRU", direction="bidirectional", weights=constants("GRU", 6, 5, 2))
    keep = [t for t in model.graph.initializer if t.name == "B"]
    del model.graph.initializer[:]
    tensors = {"W": (np.array([0.01, 0.02], np.float32), 0), "R": (np.float32(0.01), None)}
    for name, (scale, axis) in tensors.items():
        attributes = {} if axis is None else {"axis": axis}
        model.graph.node.insert(
            0, helper.make_node("DequantizeLinear", [f"{name}q", f"{name}s"], [name], **attributes)
        )
        keep.append(onnx.numpy_helper.from_array(integers[name], f"{name}q"))
        keep.append(onnx.numpy_helper.from_array(np.asarray(scale), f"{name}s"))
    model.graph.initializer.extend(keep)
    ops = list(import_model(model).ops_of(Gru))
    graph = import_model(model)
    for d, op in enumerate(graph.ops_of(Gru)):
        _, w, r, *_ = graph.operands(op)
        np.testing.assert_array_equal(w.data, integers["W"][d])
        np.testing.assert_array_equal(r.data, integers["R"][d])
        assert w.q.scale == (float(np.float32([0.01, 0.02][d])),)
    assert len(ops) == 2


def test_only_what_is_read_is_computed() -> None:
    def op_of(**options: Any) -> Recurrent:
        graph = run_passes(absorb_qdq(import_model(recurrent_model("LSTM", **options))))
        (op,) = (op for op in graph.ops() if isinstance(op, Lstm))
        return op

    both = op_of(results=("Y_h", "Y_c"))
    assert isinstance(both, Lstm)
    assert (both.sequence, both.with_cell) == (False, True)
    assert op_of(results=("Y", "Y_h")).sequence
    assert not op_of(results=("Y_h",), direction="reverse").sequence


def test_the_last_step_as_pytorch_writes_it() -> None:
    """A Gather of the last step, and one of another step."""
    for index, sequence in ((-1, False), (3, True)):
        model = recurrent_model("GRU", results=("Y",))
        model.graph.node.extend(
            [
                helper.make_node("Squeeze", ["Y_first", "two"], ["s"]),
                helper.make_node("Gather", ["s", "index"], ["last"], axis=1),
            ]
        )
        numbers = {"two": np.array([2]), "index": np.array(index)}
        for name, data in numbers.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
        model.graph.output[0].name = "last"
        graph = run_passes(absorb_qdq(import_model(model)))
        (op,) = (op for op in graph.ops() if isinstance(op, Gru))
        assert op.sequence == sequence
        assert any(isinstance(op, Slice) for op in graph.ops()) == sequence


def _two_directions_twice(kind: str) -> onnx.ModelProto:
    """Two bidirectional layers and a classifier of the last step, as PyTorch writes them."""
    sizes = {"a": 5, "b": 12}
    weights = {
        f"{layer}{name}": array
        for i, (layer, width) in enumerate(sizes.items())
        for name, array in constants(kind, 6, width, 2, seed=i).items()
    }
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2])]
    for layer, source in (("a", "t"), ("b", "ar")):
        names = [source, f"{layer}W", f"{layer}R", f"{layer}B"]
        fields = {"direction": "bidirectional", "hidden_size": 6}
        nodes += [
            helper.make_node(kind, names, [f"{layer}y"], layer, **fields),
            helper.make_node("Transpose", [f"{layer}y"], [f"{layer}t"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"{layer}t", "shape"], [f"{layer}r"]),
        ]
    nodes += [
        helper.make_node("Transpose", ["br"], ["first"], perm=[1, 0, 2]),
        helper.make_node("Gather", ["first", "last"], ["h"], axis=1),
        helper.make_node("Gemm", ["h", "w"], ["y"], "dense"),
    ]
    weights |= {"shape": np.array([0, 0, -1]), "last": np.array(-1)}
    weights["w"] = np.random.default_rng(9).normal(size=(12, 3))
    return model_of(nodes, {"x": (1, 7, 5)}, {"y": (1, 3)}, weights)


@pytest.mark.parametrize("kind", GATES)
def test_a_stack_as_pytorch_exports_it(kind: str) -> None:
    model = _two_directions_twice(kind)
    graph = run_passes(absorb_qdq(import_model(model)))
    assert {op.kind for op in graph.ops()} <= {
        kind.capitalize(),
        "Concat",
        "Slice",
        "Dense",
        "Reshape",
    }
    x = np.random.default_rng(1).normal(size=(3, 7, 5)).astype(np.float32)
    (want,) = OnnxSession(model).run([x])
    np.testing.assert_allclose(run_float(graph, [x])[0], want, atol=2e-5)


# -- integers -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "hardsigmoid"])
def test_curves_of_bounded_functions(function: str) -> None:
    half = function == "sigmoid"
    f = curve(TANH.real if half else Activation(function).real, half, 16.0)
    v = np.arange(-40_000, 40_000)
    exact = Activation(function).real(v * 2.0**-f.operand)
    assert f.result == 15
    assert np.abs(f.apply(v) * 2.0**-15 - exact).max() < 2.0**-13


def test_a_curve_has_room_for_what_calibration_has_seen() -> None:
    f = curve(Activation("relu").real, False, 5.0)
    assert f.operand == f.result == fraction(5.0) == 12
    v = np.array([-100, 0, 3, 32767, 99999])
    np.testing.assert_array_equal(f.apply(v), [0, 0, 3, 32766, 32766])


@pytest.mark.parametrize(
    "op",
    [
        recurrent_layer(Lstm, peaks=(4.0, 2.0)),
        replace(recurrent_layer(Lstm, peaks=(4.0, 2.0)), peepholes=True),
        recurrent_layer(Gru, peaks=(4.0, 1.0)),
        replace(recurrent_layer(Gru, peaks=(4.0, 1.0)), reset_sums=True),
        recurrent_layer(Rnn, peaks=(4.0, 1.0)),
    ],
    ids=lambda op: f"{op.kind} {op.added}",
)
def test_close_to_real_numbers(op: Recurrent) -> None:
    """Of the integers' own operands: what is left is the rounding of h, which goes round."""
    rng = np.random.default_rng(3)
    rows = op.gates * op.hidden
    arrays = [rng.normal(0, 0.3, s) for s in ((rows, 9), (rows, op.hidden), (op.added,))]
    graph = recurrent_graph(op, 50, X, [H], arrays)
    x = rng.integers(-128, 128, (20, 50, 9)).astype(np.int8)
    (have,) = run_int(graph, [x])
    operands = [X.dequantize(x), *(v.real for v in graph.operands(op)[1:])]
    (want,) = op.evaluate(operands)
    error = np.abs(H.dequantize(have) - want) / H.scale[0]
    assert error.mean() < 0.6
    assert error.max() < 4


def test_a_slow_gru_does_not_stop_between_two_steps_of_int8() -> None:
    """Its state moves by less than half a step of int8 at a time."""
    op = recurrent_layer(Gru, peaks=(4.0, 1.0))
    rows = 3 * op.hidden
    added = np.zeros(rows)
    added[: op.hidden] = 6.0  # z is 0.9975
    added[2 * op.hidden :] = 4.0  # the candidate is nearly 1
    graph = recurrent_graph(op, 500, X, [H], [np.zeros((rows, 9)), np.zeros((rows, 12)), added])
    (y,) = run_int(graph, [np.zeros((1, 500, 9), np.int8)])
    exact = np.tanh(4.0) * (1 - (1 / (1 + np.exp(-6.0))) ** 500)
    assert abs(H.dequantize(y)[0, -1] - exact).max() < 0.02


def test_gates_beyond_32_bits_are_refused() -> None:
    op = recurrent_layer(Rnn)
    arrays = [np.full(s, 1e6) for s in ((12, 9), (12, 12))]
    graph = recurrent_graph(op, 2, QParams((100.0,)), [H], [*arrays, np.zeros(12)])
    with pytest.raises(QuantizationError, match="32 bits"):
        op.rule(graph.operands(op), graph.results(op))
    with pytest.raises(OverflowError, match="beyond the range of the gates"):
        recurrent_graph(op, 2, X, [H], [*arrays, np.full(12, 1e9)])


# -- C --------------------------------------------------------------------------------------


def recurrent_cases() -> list[Graph]:
    """Every flag, and sizes that are odd, one, and multiples of four."""
    cases, seed = [], 0
    flags = [{}, {"reverse": True}, {"sequence": False}, {"initial": True}, {"clip": 0.7}]
    sizes = [(5, 6, 5), (4, 8, 12), (3, 1, 1), (1, 16, 20), (6, 3, 17)]
    for kind, (more, (time, hidden, width)) in product(
        (Lstm, Gru, Rnn), zip(flags, sizes, strict=True)
    ):
        op = replace(recurrent_layer(kind, **more), hidden=hidden)
        variants: list[Recurrent] = [op]
        if isinstance(op, Lstm):
            variants.append(replace(op, peepholes=True, with_cell=True))
        if isinstance(op, Gru):
            variants.append(replace(op, reset_sums=True))
        for variant in variants:
            seed += 1
            cases.append(one_layer(variant, time, width, seed, scale=0.1 if seed % 3 else 2.0))
    return cases


def test_c_code() -> None:
    check_graphs(recurrent_cases(), samples=3)
