"""Concat and Pad: the C code moves the bytes that numpy moves."""

from __future__ import annotations

import numpy as np
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.pad import Pad
from mcucompile.ops.slice import Slice
from mcucompile.passes import FLOAT_PASSES, run_passes
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

Q = QParams((0.1,), -7)


def _input(name: str, shape: Shape) -> Value:
    return Value(name, shape, "int8", Q)


def concat_cases() -> list[Graph]:
    cases: list[tuple[int, list[Shape]]] = [
        (3, [(1, 3, 5, 4), (1, 3, 5, 1), (1, 3, 5, 7)]),
        (2, [(1, 3, 1, 4), (1, 3, 2, 4)]),
        (1, [(1, 3, 5, 4), (1, 1, 5, 4)]),
        (1, [(1, 9), (1, 1)]),
    ]
    graphs = []
    for axis, shapes in cases:
        values = [_input(f"x{i}", s) for i, s in enumerate(shapes)]
        graphs.append(op_graph(Concat("concat", (), axis), values, Q))
    x = _input("x", (1, 2, 3))
    constant = Value("c", (1, 2, 2), "int8", Q, np.arange(4, dtype=np.int8).reshape(1, 2, 2))
    return [*graphs, op_graph(Concat("concat", (), 2), [x, constant, x], Q)]


def test_c_code_of_concat() -> None:
    check_graphs(concat_cases())


def pad_cases() -> list[Graph]:
    cases: list[tuple[Shape, tuple[tuple[int, int], ...]]] = [
        ((1, 3, 4, 2), ((0, 0), (1, 2), (3, 0), (0, 0))),
        ((1, 3, 4, 8), ((0, 0), (1, 2), (1, 2), (2, 1))),
        ((1, 3, 4, 2), ((0, 0), (0, 0), (0, 1), (1, 0))),
        ((1, 6, 3), ((0, 0), (1, 2), (0, 0))),
        ((1, 6), ((0, 0), (4, 1))),
        ((1, 2, 3, 4, 2), ((0, 0), (0, 0), (2, 1), (0, 0), (0, 0))),
        ((1, 2, 3, 4, 2), ((0, 0), (0, 0), (0, 0), (0, 0), (1, 1))),
    ]
    kinds = [(0.0, "constant"), (1e9, "constant"), (-3.0, "edge"), (0.0, "reflect"), (0.0, "wrap")]
    return [
        op_graph(Pad("pad", (), pads, value, mode), [_input("x", shape)], Q)
        for shape, pads in cases
        for value, mode in kinds
    ]


def test_c_code_of_pad() -> None:
    check_graphs(pad_cases())


def test_import_of_concat() -> None:
    for axis in (1, 2, -1):
        check_node("Concat", {"a": (1, 3, 4), "b": (1, 3, 4)}, axis=axis)
    check_node("Concat", {"a": (1, 3, 4)}, {"c": np.ones((1, 3, 2))}, axis=2)
    check_refused("differ beside axis", "Concat", {"a": (1, 3, 2), "b": (1, 3, 3)}, axis=1)


def test_import_of_pad() -> None:
    pads = {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    check_node("Pad", {"x": (1, 2, 5, 5)}, pads)
    check_node("Pad", {"x": (1, 2, 5, 5)}, pads | {"value": np.array(1.5)})
    check_node("Pad", {"x": (1, 2, 5, 5)}, pads, mode="edge")
    check_node("Pad", {"x": (1, 2, 5, 5)}, pads, mode="reflect")
    axes = {"pads": np.array([1, 2, 3, 4]), "axes": np.array([1, -1])}
    check_node("Pad", {"x": (1, 2, 5)}, axes, opset=18, order=["x", "pads", "", "axes"])
    check_node("Pad", {"x": (1, 3)}, opset=10, pads=[0, 1, 0, 2], value=-2.0)


def test_pads_that_wrap_crop_or_are_many() -> None:
    wrap = {"pads": np.array([0, 1, 7, 0, 0, 2])}
    check_node("Pad", {"x": (1, 4, 3)}, wrap, opset=19, mode="wrap")
    for mode in ("constant", "edge", "reflect"):
        crop = {"pads": np.array([0, -1, 2, 0, 1, -2])}
        check_node("Pad", {"x": (1, 4, 6)}, crop, mode=mode)
        cube = {"pads": np.array([0, 0, 1, 2, 0, 0, 0, 1, 0, 1])}
        check_node("Pad", {"x": (1, 2, 3, 4, 5)}, cube, mode=mode)
    (part,) = check_node("Pad", {"x": (1, 4)}, {"pads": np.array([0, -1, 0, 0])}).ops_of(Slice)
    assert part.parts == (None, range(1, 4))


def test_pads_that_are_refused() -> None:
    x: dict[str, Shape] = {"x": (1, 2, 3)}
    check_refused("mode 'other'", "Pad", x, {"pads": np.array([0] * 6)}, opset=19, mode="other")
    check_refused("batch axis", "Pad", x, {"pads": np.array([1, 0, 0, 0, 0, 0])})
    check_refused("no elements", "Pad", x, {"pads": np.array([0, 0, -1, 0, 0, -2])})
    reflect = {"pads": np.array([0, 0, 3, 0, 0, 0])}
    check_refused("more than there is", "Pad", x, reflect, mode="reflect")


def test_only_constant_padding_is_fused() -> None:
    pads = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": np.ones((3, 2, 3, 3))}
    for mode, fused in [("constant", True), ("edge", False), ("reflect", False)]:
        nodes = [
            helper.make_node("Pad", ["x", "pads"], ["p"], "pad", mode=mode),
            helper.make_node("Conv", ["p", "w"], ["y"], "conv"),
        ]
        graph = import_model(model_of(nodes, {"x": (1, 2, 5, 5)}, {"y": (1, 3, 5, 5)}, pads))
        assert any(run_passes(graph, FLOAT_PASSES).ops_of(Pad)) != fused
