"""Scaling and shifting of channels goes into weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from mcucompile.ops.conv import Conv2d
from mcucompile.ops.unary import ScaleShift
from tests.support.models import model_of
from tests.support.passes import conv, conv_weights, kinds, node, normalized, rng, the


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
