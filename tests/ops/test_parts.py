"""Slice, Split, Tile, Expand and the Gathers: the C code moves the bytes that numpy moves."""

from __future__ import annotations

import numpy as np
from onnx import helper, numpy_helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, Op, QParams, Shape, Value
from mcucompile.ops.gather import Gather
from mcucompile.ops.slice import Part, Slice
from mcucompile.ops.tile import Tile
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused, node_model

Q = QParams((0.1,), -7)
X: dict[str, Shape] = {"x": (1, 5, 6, 4)}


def _graph(op: Op, shape: Shape) -> Graph:
    return op_graph(op, [Value("x", shape, "int8", Q)], Q)


def _ints(**values: object) -> dict[str, Array]:
    return {name: np.array(v, dtype=np.int64) for name, v in values.items()}


def slice_cases() -> list[Graph]:
    cases: list[tuple[Shape, tuple[Part, ...]]] = [
        ((1, 8, 6, 4), (None, range(2, 5), None, None)),  # one run of bytes
        ((1, 8, 6, 8), (None, None, None, range(4, 8))),
        ((1, 8, 6, 4), (None, range(1, 8, 3), range(5, -1, -2), range(1, 2))),
        ((1, 8, 6, 3), (None, range(7, -1, -1), range(0, 6, 2), range(2, -1, -1))),
        ((1, 9), (None, range(8, -1, -1))),
        ((1, 3, 2, 3, 4, 5), (None, range(2, -1, -2), None, range(1, 3), None, range(4))),
    ]
    return [_graph(Slice("op", ("n",), parts), shape) for shape, parts in cases]


def tile_cases() -> list[Graph]:
    cases: list[tuple[Shape, tuple[int, ...]]] = [
        ((1, 2, 3, 4), (1, 2, 3, 2)),
        ((1, 2, 3, 8), (1, 1, 2, 1)),
        ((1, 1, 5, 1), (1, 4, 1, 7)),
        ((1, 3), (1, 5)),
    ]
    return [_graph(Tile("op", ("n",), repeats), shape) for shape, repeats in cases]


def gather_cases() -> list[Graph]:
    cases: list[tuple[Shape, int, tuple[int, ...]]] = [
        ((1, 7, 4), 1, (6, 0, 3, 3)),
        ((1, 2, 7, 3), 2, (0, 2, 3)),
        ((1, 3, 5, 6), 3, (5, 0, 1)),
        ((1, 9), 1, (4, 4, 8, 0, 1)),
    ]
    return [_graph(Gather("op", ("n",), axis, indices), shape) for shape, axis, indices in cases]


def test_c_code_of_slice() -> None:
    check_graphs(slice_cases())


def test_c_code_of_tile() -> None:
    check_graphs(tile_cases())


def test_c_code_of_gather() -> None:
    check_graphs(gather_cases())


def test_import_of_slice() -> None:
    big = 2**62
    check_node("Slice", X, _ints(starts=[1, 0], ends=[4, 5], axes=[1, 2]))
    check_node("Slice", X, _ints(starts=[0, 0, -3], ends=[1, big, big]))
    check_node("Slice", X, _ints(starts=[-1, 1], ends=[-big, 5], axes=[1, -1], steps=[-2, 3]))
    check_node("Slice", X, opset=9, starts=[1, 0], ends=[3, 99], axes=[2, 3])
    assert check_node("Slice", X, _ints(starts=[-9], ends=[99], axes=[1])).ops()[0].is_view
    check_refused("no elements", "Slice", X, _ints(starts=[3], ends=[3], axes=[1]))
    check_refused("at run time", "Slice", {**X, "starts": (1,)}, _ints(ends=[3]))


def _check_split(axis: int, count: int, opset: int, sizes: list[int] | None, **attrs: int) -> None:
    """Compare each output of a Split of X with onnxruntime's."""
    names = list("abcd")[:count]
    constants = {} if sizes is None or opset < 13 else _ints(split=sizes)
    if sizes and opset < 13:
        node = helper.make_node("Split", ["x"], names, "node", axis=axis, split=sizes)
    else:
        node = helper.make_node("Split", ["x", *constants], names, "node", axis=axis, **attrs)
    model = model_of([node], X, dict.fromkeys(names), constants, opset)
    x = np.random.default_rng(0).normal(size=X["x"]).astype(np.float32)
    outputs = run_float(import_model(model), [x])
    for have, want in zip(outputs, OnnxSession(model).run([x]), strict=True):
        np.testing.assert_array_equal(have, want)


def test_import_of_split() -> None:
    _check_split(1, 2, 13, [2, 3])
    _check_split(-1, 3, 11, [1, 1, 2])
    _check_split(2, 3, 13, None)
    _check_split(1, 2, 18, None, num_outputs=2)  # 3 and 2
    check_refused("cannot be split", "Split", X, _ints(split=[4]), axis=1)


def test_import_of_tile_and_expand() -> None:
    check_node("Tile", X, _ints(repeats=[1, 1, 2, 3]))
    twice = check_node("Tile", {"x": (1, 2, 3, 2, 2)}, _ints(repeats=[1, 2, 2, 2, 2]))
    assert [op.kind for op in twice.ops()] == ["Tile", "Tile"]
    check_node("Expand", {"x": (1, 5, 1, 4)}, _ints(shape=[1, 1, 6, 4]))
    check_node("Expand", {"x": (1, 4)}, _ints(shape=[1, 5, 3, 4]))
    check_node("Expand", X, _ints(shape=[1]))
    check_refused("does not broadcast", "Expand", X, _ints(shape=[7]))
    check_refused("no elements", "Tile", X, _ints(repeats=[1, 0, 1, 1]))


def test_import_of_gather() -> None:
    check_node("Gather", X, _ints(indices=[3, 0, -1]), axis=1)
    check_node("Gather", X, _ints(indices=[[0, 2], [5, 5]]), axis=2)
    check_node("Gather", X, _ints(indices=2), axis=-1)
    run = check_node("Gather", X, _ints(indices=[4, 2, 0]), axis=1)
    assert [op.kind for op in run.ops()] == ["Slice"]
    check_refused("axis 1 has not", "Gather", X, _ints(indices=[5]), axis=1)
    check_refused("at run time", "Gather", {**X, "i": (1,)}, axis=1)


def test_import_of_other_gathers() -> None:
    rng = np.random.default_rng(0)
    one = {"samples": 1}
    indices = _ints(indices=rng.integers(-6, 6, (1, 5, 3, 4)))
    check_node("GatherElements", X, indices, axis=2, **one)
    check_node("GatherND", X, _ints(indices=[[0, 4, 5], [0, 0, -1]]), **one)
    check_node("GatherND", X, _ints(indices=[[[4, 5], [1, 0]]]), batch_dims=1)
    check_node("ReverseSequence", X, _ints(lengths=[3]), batch_axis=0, time_axis=1)
    model = node_model("Compress", X, _ints(condition=[1, 0, 1]), axis=1)
    condition = numpy_helper.from_array(np.array([True, False, True]), "condition")
    model.graph.initializer[0].CopyFrom(condition)
    (part,) = import_model(model).ops_of(Slice)
    assert part.parts == (None, range(0, 4, 2), None)  # of rows of 24
