"""Pads and clamps become a part of what is beside them."""

from __future__ import annotations

import numpy as np
import onnx

from mcucompile.ir import Graph
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.pool import AveragePool, MaxPool
from tests.support.models import model_of
from tests.support.passes import conv, conv_weights, kinds, node, normalized, the


def padded(op: onnx.NodeProto, value: float, first: str = "Identity") -> Graph:
    """x -> `first` -> Pad(value) by 1 -> `op` -> y on a 3x8x8 image, normalized."""
    model = model_of(
        [
            node(first, ["x"], ["f"]),
            conv("a", "f", "a"),
            node(first, ["a"], ["r"]),
            node("Pad", ["r", "pads", "value"], ["p"]),
            op,
        ],
        {"x": (1, 3, 8, 8)},
        {"y": ()},
        {
            **conv_weights("a", 3, 3),
            **conv_weights("b", 4, 3),
            "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
            "value": np.array(value),
        },
    )
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return normalized(model)


def test_pad_into_convolution() -> None:
    graph = padded(conv("b", "p", "y", pads=[0, 1, 0, 0]), 0.0)
    assert [op.pads for op in graph.ops_of(Conv2d)][1] == (1, 1, 0, 1)
    assert "Pad" not in kinds(graph)
    assert "Pad" in kinds(padded(conv("b", "p", "y"), 0.5))


def test_pad_into_average() -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    graph = padded(node("AveragePool", ["p"], ["y"], **window), 0.0)
    op = the(graph, AveragePool)
    assert isinstance(op, AveragePool)
    assert op.pads == (1, 0, 0, 1)
    assert op.count_include_pad
    own = padded(node("AveragePool", ["p"], ["y"], pads=[0, 0, 1, 1], **window), 0.0)
    assert "Pad" in kinds(own)  # its own padding does not count, that of the Pad does


def test_pad_into_maximum() -> None:
    pool = node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3], strides=[2, 2])
    assert "Pad" in kinds(padded(pool, 0.0))
    graph = padded(pool, 0.0, first="Relu")  # zeros never win against what a Relu lets through
    op = the(graph, MaxPool)
    assert isinstance(op, MaxPool)
    assert op.pads == (1, 0, 0, 1)
    assert "Pad" not in kinds(graph)


def test_clamps_are_fused() -> None:
    model = model_of(
        [
            conv("a", "x", "a"),
            node("Relu", ["a"], ["r"]),
            node("Clip", ["r", "lo", "hi"], ["y"]),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 5, 6, 6)},
        {**conv_weights("a", 5, 3), "lo": np.array(-1.0), "hi": np.array(2.0)},
    )
    op = the(normalized(model), Conv2d)
    assert isinstance(op, Conv2d)
    assert op.clamp == (0.0, 2.0)


def test_clamp_before_a_maximum() -> None:
    """conv -> max -> Relu: the convolution clamps, and no value is called like the ONNX tensor
    that would have been before the Relu."""
    model = model_of(
        [
            conv("a", "x", "a"),
            node("MaxPool", ["a"], ["m"], kernel_shape=[2, 2]),
            node("Relu", ["m"], ["y"]),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 5, 5, 5)},
        conv_weights("a", 5, 3),
    )
    graph = normalized(model)
    op = the(graph, Conv2d)
    assert isinstance(op, Conv2d)
    assert op.clamp == (0.0, np.inf)
    assert graph.result(op).onnx_name == ""
    assert graph.result(the(graph, MaxPool)).onnx_name == "y"


def test_clamp_of_one_of_two_readers_stays() -> None:
    model = model_of(
        [
            conv("a", "x", "a"),
            node("Relu", ["a"], ["r"]),
            node("Concat", ["a", "r"], ["y"], axis=1),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 10, 6, 6)},
        conv_weights("a", 5, 3),
    )
    assert "Relu" in kinds(normalized(model))
