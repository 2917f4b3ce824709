"""Operators that change shapes or nothing at all, and batch normalization."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams, Shape, Value
from mcucompile.ops.reshape import Reshape, resolve_shape
from mcucompile.ops.transpose import Transpose, move
from mcucompile.reference.float_interpreter import run_float
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

Q = QParams((0.1,), 3)


def _ints(*values: int) -> dict[str, Array]:
    return {"constant": np.array(values, dtype=np.int64)}


def test_shapes_with_holes() -> None:
    assert resolve_shape((1, 3, 4), (0, -1), False) == (1, 12)
    assert resolve_shape((1, 3, 4), (0, 0, 2, -1), False) == (1, 3, 2, 2)
    assert resolve_shape((1, 12), (-1, 3, 4), False) == (1, 3, 4)
    assert resolve_shape((2, 0), (0, 5), True) == (0, 5)
    for wish in [(5, -1), (1, 2, 3, 0), (-1, -1), (2, 6, 2)]:
        with pytest.raises(ValueError, match=r"shape|copies"):
            resolve_shape((1, 3, 4), wish, False)


def test_reshape_keeps_the_batch() -> None:
    x = np.arange(24).reshape(2, 3, 4)
    (y,) = Reshape("r", (), (1, 12)).evaluate([x])
    assert y.shape == (2, 12)
    assert np.array_equal(y, x.reshape(2, 12))


def test_import_of_reshapes() -> None:
    check_node("Reshape", {"x": (1, 3, 4)}, _ints(1, 12))
    check_node("Reshape", {"x": (1, 3, 4)}, _ints(0, -1))
    check_node("Reshape", {"x": (1, 3, 4)}, _ints(-1, 2, 6))
    check_node("Flatten", {"x": (1, 3, 4)})
    check_node("Flatten", {"x": (1, 3, 4)}, axis=2)
    check_node("Flatten", {"x": (1, 3, 4)}, axis=-1)
    check_node("Squeeze", {"x": (1, 1, 4, 1)}, _ints(1, -1))
    check_node("Squeeze", {"x": (1, 1, 4, 1)}, opset=12, axes=[3])
    check_node("Unsqueeze", {"x": (1, 4)}, _ints(1, -1))
    check_node("Unsqueeze", {"x": (1, 4)}, opset=12, axes=[2])
    check_refused("cannot take the shape", "Reshape", {"x": (1, 3, 4)}, _ints(1, 13))
    check_refused("computed at run time", "Reshape", {"x": (1, 3), "s": (1, 2)})
    check_refused("is not 1 on axes", "Squeeze", {"x": (1, 3, 4)}, _ints(1))


def test_import_of_transpose() -> None:
    check_node("Transpose", {"x": (1, 3, 4, 5)}, perm=[0, 2, 3, 1])
    check_node("Transpose", {"x": (1, 4)}, samples=1)
    check_node("Transpose", {"x": (1, 2, 3, 2, 2, 2)}, perm=[0, 5, 4, 3, 2, 1])


def test_loops_are_as_few_as_possible() -> None:
    assert [x.size for x in move((1, 3, 8, 9), (0, 2, 3, 1)).loops()] == [72, 3]
    assert [x.size for x in move((1, 2, 3, 4, 5), (0, 2, 1, 3, 4)).loops()] == [3, 2, 20]
    assert [x.size for x in move((1, 8, 1, 9), (0, 2, 1, 3)).loops()] == [72]


def transpose_cases() -> list[Graph]:
    cases: list[tuple[Shape, tuple[int, ...]]] = [
        ((1, 3, 8, 8), (0, 2, 3, 1)),
        ((1, 8, 7, 3), (0, 3, 1, 2)),
        ((1, 4, 5, 6), (0, 1, 3, 2)),
        ((1, 3, 4, 5), (0, 3, 2, 1)),
        ((1, 2, 3, 4, 5), (0, 2, 1, 3, 4)),
        ((1, 2, 3, 4, 5), (0, 4, 3, 2, 1)),
        ((1, 2, 3, 2, 4, 2), (0, 5, 4, 3, 2, 1)),
    ]
    return [
        op_graph(Transpose("op", ("n",), perm), [Value("x", shape, "int8", Q)], Q)
        for shape, perm in cases
    ]


def test_c_code_of_transpose() -> None:
    check_graphs(transpose_cases())


def test_import_of_nodes_that_do_nothing() -> None:
    for op_type in ("Identity", "Dropout"):
        graph = check_node(op_type, {"x": (1, 5)})
        assert [op.kind for op in graph.ops()] == ["Reshape"]  # an output has bytes of its own
    both = helper.make_node("Dropout", ["x"], ["a", "mask"], "drop")
    used = helper.make_node("Where", ["mask", "a", "k"], ["y"], "where")
    model = model_of([both, used], {"x": (1, 5)}, {"y": (1, 5)}, {"k": np.zeros(5)})
    x = np.arange(5.0, dtype=np.float32).reshape(1, 5)
    np.testing.assert_array_equal(run_float(import_model(model), [x])[0], x)
    training = {"ratio": np.array(0.5), "training": np.array(1.0)}
    check_refused("in training mode", "Dropout", {"x": (1, 5)}, training)
    check_node("Cast", {"x": (1, 5)}, to=TensorProto.FLOAT)
    check_refused("turns numbers into", "Cast", {"x": (1, 5)}, to=TensorProto.STRING)


def test_import_of_batch_normalization() -> None:
    rng = np.random.default_rng(0)
    parameters = {name: rng.normal(size=3) for name in ("scale", "bias", "mean")}
    parameters["variance"] = rng.random(3) + 0.1
    for shape in [(1, 3), (1, 3, 5), (1, 3, 4, 5)]:
        check_node("BatchNormalization", {"x": shape}, parameters, epsilon=1e-3)
    check_refused("do not match", "BatchNormalization", {"x": (1, 4)}, parameters)
