"""Identities, duplicates, constants and what nobody reads."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.mul import Mul
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes import run_passes
from mcucompile.passes.fold_constants import fold_constants
from mcucompile.passes.merge_duplicates import merge_duplicates
from mcucompile.passes.remove_dead import remove_dead
from tests.support.models import model_of
from tests.support.passes import conv, conv_weights, kinds, node, normalized, rng


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
