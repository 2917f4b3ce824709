"""Layout: Transposes are cancelled, moved, and merged where they meet."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mcucompile.ops.gather import Gather
from mcucompile.ops.tile import Tile
from tests.support.models import model_of
from tests.support.passes import conv, conv_weights, kinds, node, normalized, rng, the


def test_nchw_network_needs_one_transpose() -> None:
    """Between the layers (activation, residual sum, gate, concatenation, padding) none is left."""
    same = {"pads": [1, 1, 1, 1]}
    model = model_of(
        [
            conv("a", "x", "a", **same),
            node("Relu", ["a"], ["ar"]),
            conv("b", "ar", "b", **same),
            node("Sigmoid", ["b"], ["bs"]),
            node("Add", ["bs", "ar"], ["sum"]),
            node("Mul", ["sum", "per_channel"], ["scaled"]),
            node("Concat", ["scaled", "ar"], ["cat"], axis=1),
            node("Pad", ["cat", "pads"], ["padded"]),
            node("MaxPool", ["padded"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            conv("c", "pooled", "y"),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 4, 3, 3)},
        {
            **conv_weights("a", 5, 3),
            **conv_weights("b", 5, 5),
            **conv_weights("c", 4, 10),
            "per_channel": rng.normal(size=(5, 1, 1)),
            "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        },
    )
    graph = normalized(model)
    assert Counter(kinds(graph))["Transpose"] == 2
    assert (graph.input_ports[0].layout, graph.output_ports[0].layout) == ("NCHW", "NCHW")
    assert kinds(graph)[0] == kinds(graph)[-1] == "Transpose"
    assert Counter(kinds(normalized(model, "nhwc")))["Transpose"] == 1


def test_parts_of_images_keep_no_transposes() -> None:
    """Channels are split, shuffled and repeated where they are: on the last axis."""
    model = model_of(
        [
            conv("a", "x", "a"),
            node("Split", ["a", "sizes"], ["left", "right"], axis=1),
            node("Relu", ["left"], ["l"]),
            node("Tile", ["l", "repeats"], ["tiled"]),
            node("Slice", ["tiled", "start", "end", "axis"], ["part"]),
            node("Gather", ["right", "indices"], ["shuffled"], axis=1),
            node("Slice", ["shuffled", "start", "end", "axis"], ["other"]),
            node("Concat", ["other", "part"], ["cat"], axis=1),
            conv("b", "cat", "y"),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 2, 3, 4)},
        {
            **conv_weights("a", 5, 3),
            **conv_weights("b", 2, 7),
            "sizes": np.array([2, 3]),
            "repeats": np.array([1, 2, 1, 1]),
            "start": np.array([1]),
            "end": np.array([6]),
            "axis": np.array([2]),
            "indices": np.array([2, 0, 1]),
        },
    )
    graph = normalized(model, "nhwc")
    assert Counter(kinds(graph))["Transpose"] == 1  # of the result
    assert the(graph, Tile).repeats == (1, 1, 1, 2)
    assert the(graph, Gather).axis == 3


def test_shuffles_are_one_transpose() -> None:
    """Channels of groups, and pixels out of channels, as exporters write them."""
    shapes = {
        "groups": np.array([1, 2, 3, 6, 6]),
        "back": np.array([1, 6, 6, 6]),
        "blocks": np.array([1, 2, 2, 2, 6, 6]),
        "pixels": np.array([1, 2, 12, 12]),
    }
    model = model_of(
        [
            conv("a", "x", "a"),
            node("Reshape", ["a", "groups"], ["a1"]),
            node("Transpose", ["a1"], ["a2"], perm=[0, 2, 1, 3, 4]),
            node("Reshape", ["a2", "back"], ["a3"]),
            conv("b", "a3", "b", pads=[1, 1, 1, 1]),
            node("Reshape", ["b", "blocks"], ["b1"]),
            node("Transpose", ["b1"], ["b2"], perm=[0, 1, 4, 2, 5, 3]),
            node("Reshape", ["b2", "pixels"], ["b3"]),
            conv("c", "b3", "y"),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 4, 10, 10)},
        {
            **conv_weights("a", 6, 3),
            **conv_weights("b", 8, 6),
            **conv_weights("c", 4, 2),
            **shapes,
        },
    )
    graph = normalized(model, "nhwc")
    moves = ["Reshape", "Transpose", "Reshape"]
    want = ["Conv2d", *moves, "Conv2d", *moves, "Conv2d", "Transpose"]
    assert kinds(graph) == want


def test_shuffles_that_cancel_vanish() -> None:
    """Even if each of their Transposes moves bytes."""
    model = model_of(
        [
            node("Reshape", ["x", "four"], ["a"]),
            node("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3]),
            node("Reshape", ["b", "flat"], ["c"]),
            node("Reshape", ["c", "other"], ["d"]),
            node("Transpose", ["d"], ["e"], perm=[0, 2, 1, 3]),
            node("Relu", ["e"], ["y"]),
        ],
        {"x": (1, 24)},
        {"y": (1, 2, 3, 4)},
        {
            "four": np.array([1, 2, 3, 4]),
            "flat": np.array([1, 24]),
            "other": np.array([1, 3, 2, 4]),
        },
    )
    assert kinds(normalized(model)) == ["Relu", "Reshape"]


def test_nhwc_borders_vanish() -> None:
    """What tf2onnx writes: Transposes of its own, which cancel against those of the importers."""
    model = model_of(
        [
            node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
            conv("a", "nchw", "a"),
            node("Relu", ["a"], ["r"]),
            node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]),
        ],
        {"x": (1, 8, 8, 3)},
        {"y": (1, 6, 6, 5)},
        conv_weights("a", 5, 3),
    )
    graph = normalized(model)
    assert kinds(graph) == ["Conv2d"]
    assert graph.output_ports[0].layout == "NHWC"
    assert kinds(normalized(model, "nchw")) == ["Transpose", "Conv2d"]


def test_squeeze_and_excite_gate() -> None:
    """The gate comes out of a dense layer, without the Transpose that the image has."""
    model = model_of(
        [
            conv("a", "x", "a"),
            node("GlobalAveragePool", ["a"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "w"], ["g"]),
            node("Sigmoid", ["g"], ["s"]),
            node("Reshape", ["s", "shape"], ["gate"]),
            node("Mul", ["a", "gate"], ["m"]),
            conv("c", "m", "y"),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 4, 4, 4)},
        {
            **conv_weights("a", 5, 3),
            **conv_weights("c", 4, 5),
            "w": rng.normal(size=(5, 5)),
            "shape": np.array([1, 5, 1, 1]),
        },
    )
    assert Counter(kinds(normalized(model)))["Transpose"] == 2


def test_branches_share_a_transpose() -> None:
    model = model_of(
        [conv("a", "x", "a"), conv("b", "x", "b"), node("Add", ["a", "b"], ["y"])],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 5, 6, 6)},
        {**conv_weights("a", 5, 3), **conv_weights("b", 5, 3)},
    )
    assert Counter(kinds(normalized(model))) == {"Transpose": 2, "Conv2d": 2, "Add": 1}


def test_input_normalization_in_nchw() -> None:
    """(x - mean) * scale goes into the weights, though the channels are not last when it is met."""
    model = model_of(
        [
            node("Sub", ["x", "mean"], ["c"]),
            node("Mul", ["c", "scale"], ["n"]),
            conv("a", "n", "y"),
        ],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 5, 6, 6)},
        {
            **conv_weights("a", 5, 3),
            "mean": rng.normal(size=(1, 3, 1, 1)),
            "scale": rng.uniform(1, 2, size=(3, 1, 1)),
        },
    )
    assert kinds(normalized(model)) == ["Transpose", "Conv2d", "Transpose"]


def test_one_dimensional_convolution() -> None:
    model = model_of(
        [
            node("Conv", ["x", "w"], ["a"], pads=[1, 1]),
            node("Relu", ["a"], ["r"]),
            node("Conv", ["r", "v"], ["y"], strides=[2]),
        ],
        {"x": (1, 3, 16)},
        {"y": (1, 4, 7)},
        {"w": rng.normal(size=(5, 3, 3)), "v": rng.normal(size=(4, 5, 3))},
    )
    graph = normalized(model)
    assert graph.input_ports[0].layout == "NCHW"
    assert Counter(kinds(graph))["Transpose"] == 2


def test_channel_of_length_one_moves_by_reshape() -> None:
    """(N, H, W, 1) to (N, 1, H, W) before a convolution, and squeezing after pooling."""
    model = model_of(
        [
            node("Reshape", ["x", "nchw"], ["r"]),
            conv("a", "r", "a"),
            node("GlobalAveragePool", ["a"], ["p"]),
            node("Squeeze", ["p", "axes"], ["s"]),
            node("Relu", ["s"], ["y"]),
        ],
        {"x": (1, 9, 7, 1)},
        {"y": (1, 5)},
        {
            **conv_weights("a", 5, 1),
            "nchw": np.array([1, 1, 9, 7]),
            "axes": np.array([2, 3]),
        },
    )
    assert kinds(normalized(model)) == ["Conv2d", "GlobalAveragePool", "Reshape"]


def test_flatten_permutes_the_dense_layer() -> None:
    model = model_of(
        [
            conv("a", "x", "a"),
            node("Relu", ["a"], ["r"]),
            node("Flatten", ["r"], ["f"]),
            node("Relu", ["f"], ["g"]),
            node("Gemm", ["g", "w", "b"], ["y"], transB=1),
        ],
        {"x": (1, 1, 5, 6)},
        {"y": (1, 7)},
        {**conv_weights("a", 4, 1), "w": rng.normal(size=(7, 48)), "b": rng.normal(size=7)},
    )
    assert kinds(normalized(model)) == ["Reshape", "Conv2d", "Reshape", "Dense"]
