"""Normalizations written operator by operator are recognized, and others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mcucompile.ir import Graph
from mcucompile.ops.normalize import Normalize
from tests.support.models import model_of
from tests.support.passes import conv, conv_weights, kinds, node, normalized

RNG = np.random.default_rng(2)
CONSTANTS = {
    "two": np.array(2.0),
    "eps": np.array(1e-3),
    "minus_half": np.array(-0.5),
    "gamma": RNG.normal(size=6),
    "beta": RNG.normal(size=6),
}


def _model(nodes: list[onnx.NodeProto], shape: tuple[int, ...] = (1, 5, 6)) -> onnx.ModelProto:
    used = {name for n in nodes for name in n.input}
    constants = {name: value for name, value in CONSTANTS.items() if name in used}
    return model_of(nodes, {"x": shape}, {"y": shape}, constants)


def _mean(x: str, y: str, **attrs: Any) -> onnx.NodeProto:
    return node("ReduceMean", [x], [y], y, **{"axes": [-1], **attrs})


DISTANCE = [_mean("x", "m"), node("Sub", ["x", "m"], ["d"], "d")]
BY_POW = [node("Pow", ["d", "two"], ["s"], "s"), _mean("s", "v")]
BY_MUL = [node("Mul", ["d", "d"], ["s"], "s"), _mean("s", "v")]
EPSILON = [node("Add", ["v", "eps"], ["e"], "e")]
AFFINE = [node("Mul", ["n", "gamma"], ["g"], "g"), node("Add", ["g", "beta"], ["y"], "y")]
BY_SQRT = [node("Sqrt", ["e"], ["r"], "r"), node("Div", ["d", "r"], ["n"], "n")]
BY_RECIPROCAL = [
    node("Sqrt", ["e"], ["q"], "q"),
    node("Reciprocal", ["q"], ["r"], "r"),
    node("Mul", ["d", "r"], ["n"], "n"),
]
BY_POWER = [node("Pow", ["e", "minus_half"], ["r"], "r"), node("Mul", ["r", "d"], ["n"], "n")]


def _the_normalize(graph: Graph) -> Normalize:
    assert [kind for kind in kinds(graph) if kind not in ("Reshape", "Transpose")] == ["Normalize"]
    (op,) = graph.ops_of(Normalize)
    assert isinstance(op, Normalize)
    return op


@pytest.mark.parametrize("square", [BY_POW, BY_MUL])
@pytest.mark.parametrize("end", [BY_SQRT, BY_RECIPROCAL, BY_POWER])
def test_layer_normalization(square: list[onnx.NodeProto], end: list[onnx.NodeProto]) -> None:
    op = _the_normalize(normalized(_model([*DISTANCE, *square, *EPSILON, *end, *AFFINE])))
    assert op.centered
    assert op.epsilon == pytest.approx(1e-3)


@pytest.mark.parametrize("gain", [True, False])
def test_layer_normalization_of_keras(gain: bool) -> None:
    scaled = [node("Mul", ["r", "gamma"], ["i"], "i")] if gain else [node("Identity", ["r"], ["i"])]
    nodes = [
        *DISTANCE,
        *BY_MUL,
        *EPSILON,
        *BY_RECIPROCAL[:2],
        *scaled,
        node("Mul", ["x", "i"], ["p"], "p"),
        node("Mul", ["m", "i"], ["t"], "t"),
        node("Sub", ["beta", "t"], ["b"], "b"),
        node("Add", ["p", "b"], ["y"], "y"),
    ]
    graph = normalized(_model(nodes))
    assert _the_normalize(graph).centered
    swapped = [*nodes[:-1], node("Add", ["b", "p"], ["y"], "y")]
    _the_normalize(normalized(_model(swapped)))


def test_what_only_looks_like_keras() -> None:
    """Another factor, or another mean, in the second term."""
    begin = [*DISTANCE, *BY_MUL, *EPSILON, *BY_RECIPROCAL[:2], _mean("x", "o", axes=[1])]
    for factors in (["m", "e"], ["o", "r"]):
        nodes = [
            *begin,
            node("Mul", ["x", "r"], ["p"], "p"),
            node("Mul", factors, ["t"], "t"),
            node("Sub", ["beta", "t"], ["b"], "b"),
            node("Add", ["p", "b"], ["y"], "y"),
        ]
        assert "Normalize" not in kinds(normalized(_model(nodes)))


def test_rms_normalization() -> None:
    square = [node("Mul", ["x", "x"], ["s"], "s"), _mean("s", "v")]
    end = [node("Sqrt", ["e"], ["r"], "r"), node("Div", ["x", "r"], ["n"], "n")]
    assert not _the_normalize(normalized(_model([*square, *EPSILON, *end, *AFFINE]))).centered


def test_normalization_of_a_length() -> None:
    nodes = [
        node("ReduceL2", ["x"], ["l"], "l", axes=[-1]),
        node("Max", ["l", "tiny"], ["c"], "c"),
        node("Div", ["x", "c"], ["y"], "y"),
    ]
    model = model_of(nodes, {"x": (1, 5, 6)}, {"y": (1, 5, 6)}, {"tiny": np.array(1e-12)})
    assert not _the_normalize(normalized(model)).centered


def test_channels_of_an_image() -> None:
    """Between two layers, as ConvNeXt has it; no Transpose is left between them."""
    per_channel = {name: RNG.normal(size=(6, 1, 1)) for name in ("gamma", "beta")}
    nodes = [
        conv("a", "x", "x1"),
        _mean("x1", "m", axes=[1]),
        node("Sub", ["x1", "m"], ["d"], "d"),
        node("Mul", ["d", "d"], ["s"], "s"),
        _mean("s", "v", axes=[1]),
        *EPSILON,
        *BY_SQRT,
        node("Mul", ["n", "gamma"], ["g"], "g"),
        node("Add", ["g", "beta"], ["z"], "z"),
        conv("b", "z", "y"),
    ]
    weights = {**conv_weights("a", 6, 3), **conv_weights("b", 2, 6)}
    constants = {**per_channel, **weights, "eps": CONSTANTS["eps"]}
    graph = normalized(model_of(nodes, {"x": (1, 3, 8, 8)}, {"y": (1, 2, 4, 4)}, constants))
    assert kinds(graph).count("Transpose") == 2
    assert kinds(graph).count("Normalize") == 1
    assert not {"Mul", "Add", "ScaleShift", "ReduceMean"} & set(kinds(graph))
    assert kinds(graph).count("Conv2d") == 2


def test_what_is_none() -> None:
    other_axes = [*DISTANCE, node("Mul", ["d", "d"], ["s"], "s"), _mean("s", "v", axes=[1])]
    no_square = [*DISTANCE, node("Mul", ["d", "x"], ["s"], "s"), _mean("s", "v")]
    ends = [*EPSILON, node("Sqrt", ["e"], ["r"], "r"), node("Div", ["d", "r"], ["y"], "y")]
    graph = normalized(_model([*other_axes, *ends]))
    assert [op.centered for op in graph.ops_of(Normalize)] in ([], [False])  # type: ignore[attr-defined]
    nodes = [
        *no_square,
        *EPSILON,
        node("Exp", ["e"], ["r"], "r"),
        node("Div", ["d", "r"], ["y"], "y"),
    ]
    assert "Normalize" not in kinds(normalized(_model(nodes)))
