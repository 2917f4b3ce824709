"""Layers in a row become one where that is less work, and only there."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from onnx import NodeProto

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.passes.merge_linear import merge_linear
from tests.support import zoo
from tests.support.models import model_of
from tests.support.passes import kinds, node, normalized, rng
from tests.support.stages import float_graph


def dense_chain(*sizes: int, between: list[NodeProto] | None = None) -> Graph:
    """Gemms from sizes[0] to the last of `sizes` features, normalized."""
    nodes, weights = [], {}
    for i, (a, b) in enumerate(pairwise(sizes)):
        source = f"t{i}"
        if i == 1 and between:
            nodes += between
            source = between[-1].output[0]
        nodes.append(node("Gemm", [source, f"w{i}", f"b{i}"], [f"t{i + 1}"], f"gemm{i}"))
        weights |= {f"w{i}": rng.normal(size=(a, b)), f"b{i}": rng.normal(size=b)}
    result = f"t{len(sizes) - 1}"
    return normalized(model_of(nodes, {"t0": (1, sizes[0])}, {result: (1, sizes[-1])}, weights))


@pytest.mark.parametrize(
    ("sizes", "weights"),
    [
        ((9, 6, 4), [(4, 9)]),
        ((9, 7, 6, 4), [(4, 9)]),
        ((9, 2, 8), [(2, 9), (8, 2)]),  # a bottleneck is less work
        ((4, 2, 4), [(2, 4), (4, 2)]),  # as much work
    ],
)
def test_dense_layers(sizes: tuple[int, ...], weights: list[tuple[int, int]]) -> None:
    graph = dense_chain(*sizes)
    assert [graph.operands(op)[1].shape for op in graph.ops_of(Dense)] == weights


def test_what_is_between_keeps_them_apart() -> None:
    relu = [node("Relu", ["t1"], ["r"])]
    assert kinds(dense_chain(9, 6, 4, between=relu)) == ["Dense", "Dense"]


def test_other_readers_keep_them_apart() -> None:
    weights = {"w": rng.normal(size=(9, 6)), "v": rng.normal(size=(6, 4))}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "v"], ["y"])]
    graph = normalized(model_of(nodes, {"x": (1, 9)}, {"y": (1, 4), "a": (1, 6)}, weights))
    assert kinds(graph) == ["Dense", "Dense"]


def test_convolutions_and_the_clamp_behind_them() -> None:
    def net(kernel: int, groups: int = 1, stride: int = 1) -> Graph:
        weights = {
            "w": rng.normal(size=(6, 6 // groups, 3, 3)),
            "v": rng.normal(size=(4, 6, kernel, kernel)),
            "b": rng.normal(size=6),
            "c": rng.normal(size=4),
        }
        nodes = [
            node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1], group=groups, strides=[2, 2]),
            node("Conv", ["a", "v", "c"], ["d"], strides=[stride, stride]),
            node("Relu", ["d"], ["y"]),
        ]
        size = (4 - kernel) // stride + 1
        return normalized(model_of(nodes, {"x": (1, 6, 8, 8)}, {"y": (1, 4, size, size)}, weights))

    graph = net(kernel=1)
    (conv,) = graph.ops_of(Conv2d)
    assert graph.operands(conv)[1].shape == (4, 3, 3, 6)
    assert (conv.clamp, conv.strides, conv.pads) == ((0.0, np.inf), (2, 2), (1, 1, 1, 1))
    for other in (net(kernel=2), net(kernel=1, groups=6), net(kernel=1, stride=2)):
        assert len(list(other.ops_of(Conv2d))) == 2


def test_stored_numbers_between_keep_them_apart() -> None:
    """What a pre-quantized model stores is part of what it means."""
    weights = {"w": rng.normal(size=(9, 6)), "v": rng.normal(size=(6, 4))}
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("MatMul", ["a", "v"], ["y"])]
    model = model_of(nodes, {"x": (1, 9)}, {"y": (1, 4)}, weights)
    graph = run_passes(import_model(model), [p for p in FLOAT_PASSES if p is not merge_linear])
    assert kinds(merge_linear(graph)) == ["Dense"]
    first = next(graph.ops_of(Dense))
    graph.set_value(replace(graph.result(first), qparams=QParams((0.1,), 3)))
    assert kinds(merge_linear(graph)) == ["Dense", "Dense"]


@zoo.needs_zoo
def test_real_model() -> None:
    _, graph = float_graph(zoo.model("st_har_ign_wisdm24_float"))
    assert [graph.operands(op)[1].shape for op in graph.ops_of(Dense)] == [(4, 216)]
