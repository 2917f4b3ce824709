"""The float passes: each rule does what it says, and the numbers stay.

`normalized` runs all passes on a small model, verifies after each, and compares the outputs after
each with onnxruntime's, so every test here is one of meaning too.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Graph, Op, QParams, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.add import Add
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.gather import Gather
from mcucompile.ops.mul import Mul
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.tile import Tile
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import ScaleShift, Unary
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.passes.fold_constants import fold_constants
from mcucompile.passes.merge_duplicates import merge_duplicates
from mcucompile.passes.remove_dead import remove_dead
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support import zoo
from tests.support.models import model_of
from tests.support.random_models import random_model

node = helper.make_node
rng = np.random.default_rng(5)


def normalized(model: onnx.ModelProto, layout: str = "") -> Graph:
    """The graph of `model` after all passes, of which each has kept its numbers."""
    graph = set_input_layout(absorb_qdq(import_model(model)), layout)  # type: ignore[arg-type]
    given = [rng.normal(size=(2, *p.model_shape[1:])).astype(np.float32) for p in graph.input_ports]
    wanted = OnnxSession(model).run(given)
    inputs = [x.transpose(p.from_model) for x, p in zip(given, graph.input_ports, strict=True)]
    for run in (lambda g: g, *FLOAT_PASSES):
        before = graph.copy()
        graph = run(graph)
        verify(graph, "float", run.__name__)
        for got, want in zip(run_float(graph, inputs), wanted, strict=True):
            tolerance = 2e-3 * max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=tolerance, err_msg=run.__name__)
        assert before.input_ports == graph.input_ports
        assert before.output_ports == graph.output_ports
    verify(graph, "normalized")
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops()]


def the(graph: Graph, kind: type[Op]) -> Op:
    """The only operator of its kind."""
    (op,) = graph.ops_of(kind)
    return op


def conv(name: str, x: str, y: str, **attrs: object) -> onnx.NodeProto:
    return node("Conv", [x, f"{name}_w", f"{name}_b"], [y], name, **attrs)


def conv_weights(name: str, cout: int, cin: int, kernel: int = 3) -> dict[str, np.ndarray]:
    w = rng.normal(size=(cout, cin, kernel, kernel))
    return {f"{name}_w": w, f"{name}_b": rng.normal(size=cout)}


# -- layout -----------------------------------------------------------------------------------


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


# -- scaling and shifting ---------------------------------------------------------------------


def batchnorm(x: str, y: str) -> onnx.NodeProto:
    return node("BatchNormalization", [x, "s", "t", "mean", "var"], [y], "bn")


def batchnorm_weights(channels: int) -> dict[str, np.ndarray]:
    numbers = {name: rng.normal(size=channels) for name in ("s", "t", "mean")}
    return {**numbers, "var": rng.uniform(0.5, 2, size=channels)}


def test_batchnorm_after_convolution() -> None:
    model = model_of(
        [conv("a", "x", "a", group=3), batchnorm("a", "n"), node("Relu", ["n"], ["y"])],
        {"x": (1, 3, 8, 8)},
        {"y": (1, 6, 6, 6)},
        {**conv_weights("a", 6, 1), **batchnorm_weights(6)},
    )
    graph = normalized(model)
    assert kinds(graph) == ["Transpose", "Conv2d", "Transpose"]
    assert the(graph, Conv2d).origin == ("a", "bn", "y")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_batchnorm_before_convolution(groups: int) -> None:
    """Folds into the weights where no padding zeros come between them, else it stays."""
    weights = {**conv_weights("a", 4, 4 // groups), **batchnorm_weights(4)}
    shapes = {"x": (1, 4, 8, 8)}
    inner = [batchnorm("x", "n"), conv("a", "n", "y", group=groups)]
    graph = normalized(model_of(inner, shapes, {"y": (1, 4, 6, 6)}, weights))
    assert Counter(kinds(graph))["Conv2d"] == 1
    inner[1] = conv("a", "n", "y", group=groups, pads=[1, 1, 1, 1])
    graph = normalized(model_of(inner, shapes, {"y": (1, 4, 8, 8)}, weights))
    assert Counter(kinds(graph))["Conv2d"] == 2


def test_scale_before_padded_convolution() -> None:
    """x / 255 has no offset, so that the padding zeros do not matter."""
    model = model_of(
        [node("Div", ["x", "c"], ["n"]), conv("a", "n", "y", pads=[1, 1, 1, 1])],
        {"x": (1, 4, 8, 8)},
        {"y": (1, 5, 8, 8)},
        {**conv_weights("a", 5, 4), "c": np.array(255.0)},
    )
    assert kinds(normalized(model)) == ["Transpose", "Conv2d", "Transpose"]


def test_affine_chain_after_dense() -> None:
    """Gemm -> Mul -> Add -> Relu, as Keras exports batch normalization of dense layers."""
    model = model_of(
        [
            node("Gemm", ["x", "w", "b"], ["g"]),
            node("Mul", ["g", "m"], ["gm"]),
            node("Add", ["gm", "a"], ["ga"]),
            node("Relu", ["ga"], ["y"]),
        ],
        {"x": (1, 6)},
        {"y": (1, 5)},
        {"w": rng.normal(size=(6, 5)), **{k: rng.normal(size=5) for k in ("b", "m", "a")}},
    )
    assert kinds(normalized(model)) == ["Dense"]


def test_bias_after_reshape() -> None:
    model = model_of(
        [
            node("MatMul", ["x", "w"], ["m"]),
            node("Reshape", ["m", "shape"], ["r"]),
            node("Add", ["b", "r"], ["y"]),
        ],
        {"x": (1, 1, 1, 6)},
        {"y": (1, 5)},
        {"w": rng.normal(size=(6, 5)), "b": rng.normal(size=(1, 5)), "shape": np.array([1, 5])},
    )
    assert kinds(normalized(model)) == ["Dense", "Reshape"]


def test_affine_with_nothing_to_fold_into() -> None:
    """Two in a row become one: a depthwise convolution, or a table if all channels are alike."""
    weights = {
        "per_channel": rng.normal(size=5),
        "same": np.full((5,), 3.0),
        "scalar": np.array(2.0),
    }
    shapes = {"x": (1, 4, 5)}, {"y": (1, 4, 5)}
    chain = [node("Mul", ["x", "per_channel"], ["a"]), node("Add", ["a", "scalar"], ["y"])]
    assert kinds(normalized(model_of(chain, *shapes, weights))) == ["Reshape", "Conv2d", "Reshape"]
    chain = [node("Mul", ["x", "same"], ["a"]), node("Sub", ["scalar", "a"], ["y"])]
    graph = normalized(model_of(chain, *shapes, weights))
    op = the(graph, ScaleShift)
    assert isinstance(op, ScaleShift)
    assert (op.scale, op.offset) == (-3.0, 2.0)
    assert len(kinds(graph)) == 1


def test_constant_tensor_stays() -> None:
    """A constant for each pixel is no scaling of channels."""
    model = model_of(
        [node("Add", ["x", "c"], ["y"])],
        {"x": (1, 4, 5)},
        {"y": (1, 4, 5)},
        {"c": rng.normal(size=(4, 5))},
    )
    assert kinds(normalized(model)) == ["Add"]


# -- padding and clamps -----------------------------------------------------------------------


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


# -- tidying ----------------------------------------------------------------------------------


def test_identities_and_dead_branches() -> None:
    model = model_of(
        [
            node("Relu", ["x"], ["a"]),
            node("Dropout", ["a"], ["b"]),
            node("Pad", ["b", "none"], ["c"]),
            node("Clip", ["c"], ["d"]),
            node("Reshape", ["d", "shape"], ["e"]),
            node("Sigmoid", ["e"], ["dead"]),
            node("Sigmoid", ["dead"], ["deader"]),
            node("Tanh", ["e"], ["y"]),
        ],
        {"x": (1, 4)},
        {"y": (1, 4)},
        {"none": np.zeros(4, dtype=np.int64), "shape": np.array([1, 4])},
    )
    assert kinds(normalized(model)) == ["Formula"]


def test_identity_between_input_and_output_stays() -> None:
    model = model_of(
        [node("Identity", ["x"], ["y"]), node("Identity", ["x"], ["z"])],
        {"x": (1, 4)},
        {"y": (1, 4), "z": (1, 4)},
        {},
    )
    graph = normalized(model)
    assert kinds(graph) == ["Reshape", "Reshape"]
    assert len({*graph.outputs, *graph.inputs}) == 3


def test_duplicates() -> None:
    """Equal operators on equal operands, not those with other attributes or operand order."""
    graph = Graph()
    x = graph.add_value(Value("x", (1, 4)))
    z = graph.add_value(Value("z", (1, 4)))
    graph.inputs = ("x", "z")
    results = [
        graph.append(Add(name, (name,), sign=sign), operands, [name])[0]
        for name, sign, operands in (
            ("a", 1, [x, z]),
            ("b", 1, [x, z]),
            ("c", -1, [x, z]),
            ("d", 1, [z, x]),
        )
    ]
    (y,) = graph.append(Mul("m", ()), results[:2], ["m"])
    graph.outputs = (y.name, results[2].name, results[3].name)
    merged = merge_duplicates(graph)
    assert [op.name for op in merged.ops()] == ["a", "c", "d", "m"]
    assert next(merged.ops_of(Add)).origin == ("a", "b")
    assert len(graph.ops()) == 5


def test_folded_integers_stay_integers() -> None:
    """A Transpose and a Reshape of integer weights move them, and the axis of their scales."""
    data = rng.integers(-128, 128, size=(4, 3, 2)).astype(np.int8)
    q = QParams((0.5, 0.25, 2.0), 0, 1)
    graph = Graph()
    w = graph.add_value(Value("w", data.shape, "int8", q, data))
    x = graph.add_value(Value("x", (1, 3, 8)))
    (t,) = graph.append(Transpose("t", (), perm=(1, 2, 0)), [w])
    (r,) = graph.append(Reshape("r", (), shape=(1, 3, 8)), [t])
    (y,) = graph.append(Add("y", ()), [x, r])
    graph.inputs, graph.outputs = ("x",), (y.name,)
    folded = fold_constants(graph)
    (op,) = folded.ops()
    constant = folded.operands(op)[1]
    assert constant.dtype == "int8"
    assert constant.qparams == QParams(q.scale, 0, 1)
    moved = data.transpose(1, 2, 0).reshape(1, 3, 8)
    np.testing.assert_array_equal(constant.data, moved)
    np.testing.assert_allclose(constant.real[0, 1], 0.25 * moved[0, 1])


def test_scales_of_a_torn_axis_become_reals() -> None:
    data = rng.integers(-128, 128, size=(2, 6)).astype(np.int8)
    graph = Graph()
    w = graph.add_value(Value("w", (2, 6), "int8", QParams((1.0, 2.0), 0, 0), data))
    x = graph.add_value(Value("x", (1, 12)))
    (r,) = graph.append(Reshape("r", (), shape=(1, 12)), [w])
    (y,) = graph.append(Add("y", ()), [x, r])
    graph.inputs, graph.outputs = ("x",), (y.name,)
    folded = fold_constants(graph)
    constant = folded.operands(folded.ops()[0])[1]
    assert constant.qparams is None
    np.testing.assert_array_equal(constant.data, w.real.reshape(1, 12))


def test_dead_constants_go() -> None:
    graph = import_model(model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {}))
    graph.constant("unused", np.ones(3))
    assert [v.name for v in remove_dead(graph).values()] == ["x", "y"]


def test_mixed_batch_is_refused() -> None:
    """A convolution means a batch by its first axis, and nothing else."""
    model = model_of(
        [node("Reshape", ["x", "shape"], ["r"], "r"), conv("c", "r", "y")],
        {"x": (1, 4, 6, 6)},
        {"y": (2, 3, 4, 4)},
        {"shape": np.array([2, 2, 6, 6]), **conv_weights("c", 3, 2)},
    )
    with pytest.raises(UnsupportedModelError, match=r"MC107: node 'c' \("):
        run_passes(import_model(model))


# -- pre-quantized models ---------------------------------------------------------------------


def quantize(x: str, y: str, scale: str) -> list[onnx.NodeProto]:
    """QuantizeLinear and DequantizeLinear with the initializers `<scale>` and zero-point zero."""
    return [
        node("QuantizeLinear", [x, scale, "zp"], [f"{y}_q"]),
        node("DequantizeLinear", [f"{y}_q", scale, "zp"], [y]),
    ]


def quantized_model(nodes: list[onnx.NodeProto], outputs: dict[str, tuple[int, ...]]) -> Graph:
    """Normalized graph of a model on x (1, 4), quantized with scale s1, with int8 weights `wq`
    (4, 5) and int32 bias `bq`, dequantized to `w` and `b`."""
    int8, int32 = np.int8, np.int32
    arrays = {
        "s1": np.array(0.05, np.float32),
        "s2": np.array(0.125, np.float32),
        "zp": np.array(-3, int8),
        "zw": np.array(0, int8),
        "zb": np.array(0, int32),
        "sw": np.array(0.5, np.float32),
        "sb": np.array(0.025, np.float32),
        "wq": rng.integers(-127, 128, size=(4, 5)).astype(int8),
        "bq": rng.integers(-900, 900, size=5).astype(int32),
    }
    head = [
        *quantize("x", "xd", "s1"),
        node("DequantizeLinear", ["wq", "sw", "zw"], ["w"]),
        node("DequantizeLinear", ["bq", "sb", "zb"], ["b"]),
    ]
    model = model_of([*head, *nodes], {"x": (1, 4)}, outputs, {})
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    return run_passes(absorb_qdq(import_model(model)))


def test_quantized_layer_keeps_its_integers() -> None:
    """MatMul + Add + Relu of a converter: one layer with the model's own weights, bias and
    parameters."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            node("Add", ["m", "b"], ["a"]),
            node("Relu", ["a"], ["r"]),
            *quantize("r", "y", "s2"),
        ],
        {"y": (1, 5)},
    )
    assert kinds(graph) == ["Dense"]
    op = the(graph, Dense)
    assert isinstance(op, Dense)
    assert op.clamp == (0.0, np.inf)
    x, w, b = graph.operands(op)
    assert (w.dtype, b.dtype) == ("int8", "int32")
    assert w.qparams == QParams((0.5,), 0)
    assert np.isclose(b.q.scale[0], 0.025)
    assert np.isclose(x.q.scale[0], 0.05)
    y = graph.result(op)
    assert (y.q.scale, y.q.zero_point, y.onnx_name) == ((0.125,), -3, "r")


def test_permuted_integers() -> None:
    """Flattening in front of a quantized layer permutes its integers."""
    model = model_of(
        [
            node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
            *quantize("nchw", "xd", "s1"),
            node("DequantizeLinear", ["wq", "sw", "zw"], ["w"], axis=0),
            node("Flatten", ["xd"], ["f"]),
            node("Gemm", ["f", "w"], ["g"], transB=1),
            *quantize("g", "y", "s1"),
        ],
        {"x": (1, 2, 3, 4)},
        {"y": (1, 5)},
        {},
    )
    weights = rng.integers(-127, 128, size=(5, 24)).astype(np.int8)
    for name, array in {
        "s1": np.array(0.05, np.float32),
        "zp": np.array(-3, np.int8),
        "zw": np.zeros(5, np.int8),
        "sw": np.linspace(0.1, 0.2, 5).astype(np.float32),
        "wq": weights,
    }.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    graph = run_passes(absorb_qdq(import_model(model)))
    w = graph.operands(the(graph, Dense))[1]
    nhwc = weights.reshape(5, 4, 2, 3).transpose(0, 2, 3, 1).reshape(5, 24)
    np.testing.assert_array_equal(w.data, nhwc)
    assert w.q.axis == 0
    assert kinds(graph) == ["Reshape", "Dense"]


def test_transposed_integers() -> None:
    """Weights that are transposed after dequantizing are constants when their layer is imported."""
    graph = quantized_model(
        [
            node("Transpose", ["w"], ["wt"], perm=[1, 0]),
            node("Gemm", ["xd", "wt", "b"], ["g"], transB=1),
            *quantize("g", "y", "s2"),
        ],
        {"y": (1, 5)},
    )
    _, w, b = graph.operands(the(graph, Dense))
    assert (w.shape, w.dtype, b.dtype) == ((5, 4), "int8", "int32")


@pytest.mark.parametrize(("scale", "fused"), [("s1", True), ("s2", False)])
def test_clamp_across_quantization(scale: str, fused: bool) -> None:
    """A value stored in 8 bits on its way to the Relu is fused only if the Relu stores alike."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            *quantize("m", "md", scale),
            node("Relu", ["md"], ["r"]),
            *quantize("r", "y", "s1"),
        ],
        {"y": (1, 5)},
    )
    assert ("Relu" not in kinds(graph)) == fused
    assert graph.value(graph.outputs[0]).q.scale[0] == np.float32(0.05)


@pytest.mark.parametrize("scale", ["s1", "s2"])
def test_scaling_across_quantization(scale: str) -> None:
    """What is stored in 8 bits before it is scaled stays so, whatever it is stored in after."""
    graph = quantized_model(
        [
            node("MatMul", ["xd", "w"], ["m"]),
            *quantize("m", "md", "s2"),
            node("Mul", ["md", "b"], ["r"]),
            *quantize("r", "y", scale),
        ],
        {"y": (1, 5)},
    )
    assert Counter(kinds(graph)) == {"Dense": 1, "Reshape": 2, "Conv2d": 1}
    assert graph.result(the(graph, Dense)).q.scale == (0.125,)


def test_requantize_stays() -> None:
    graph = quantized_model([*quantize("xd", "y", "s2")], {"y": (1, 4)})
    assert kinds(graph) == ["Requantize"]
    assert isinstance(graph.ops()[0], Unary)


# -- whole models -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100))
def test_random_models(seed: int) -> None:
    with np.errstate(all="ignore"):
        normalized(random_model(seed))


@zoo.needs_zoo
@pytest.mark.parametrize("name", zoo.MLPERF)
def test_mlperf(name: str) -> None:
    """No Transpose is left, batch normalizations and activations are fused, numbers stay."""
    graph = absorb_qdq(import_model(load_model(zoo.model(name))))
    result = run_passes(graph)
    layers = {"Conv2d", "Dense", "Add", "GlobalAveragePool", "Softmax", "Reshape"}
    assert set(kinds(result)) <= layers
    assert Counter(kinds(result))["Reshape"] <= 1
    if "int8" in name:
        assert all(v.qparams is not None for v in result.values() if not v.is_constant)
    x = rng.normal(size=(1, *graph.input_ports[0].shape[1:]))
    want, got = run_float(graph, [x])[0], run_float(result, [x])[0]
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


OTHERS = {
    "onnx2c_mnist_cntk": 0,  # transposes that are left
    "own_bnn_mnist_padone_pm1_float": 0,
    "rand_mcunet_in3_176": 1,
    "raw_kws_float_dynbatch": 0,
    "st_har_ign_wisdm24_int8qdq": 0,
    "st_squeezenet11_128_int8qdq": 0,
    "tflm_micro_speech_int8qdq": 0,
    "tflm_mobilenetv2_224_int8qdq": 1,
    "tinymaix_mnist_arduino_float": 0,
    "tt_mcunet_5fps_128_int8qdq": 1,
}


@zoo.needs_zoo
@pytest.mark.parametrize(("name", "transposes"), OTHERS.items())
def test_other_models(name: str, transposes: int) -> None:
    """NCHW models keep the Transpose of their input, which the C API takes as it is."""
    path = zoo.model(name)
    if not path.exists():
        pytest.skip(f"{path} is not there")
    graph = run_passes(absorb_qdq(import_model(load_model(path))))
    count = Counter(kinds(graph))
    assert (count["Transpose"], count["Pad"]) == (transposes, 0)
