"""Pools, in windows and of whole images: real and integer meaning, and the C code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.plan.program import Target
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.nodes import check_node, check_refused

X, Y = QParams((0.05,), 9), QParams((0.04,), 5)
NAME: tuple[str, tuple[str, ...]] = ("op", ("node",))


def _value(name: str, shape: Shape, q: QParams = X) -> Value:
    return Value(name, shape, "int8", q)


# Operand, kernel, strides, pads, dilations.
WINDOWS: list[tuple[Shape, Any, Any, Any, Any]] = [
    ((1, 8, 8, 8), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
    ((1, 7, 9, 3), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((1, 7, 9, 4), (3, 3), (1, 1), (0, 1, 1, 0), (1, 1)),
    ((1, 9, 9, 4), (2, 3), (1, 2), (1, 1, 2, 1), (3, 2)),
    ((1, 1, 20, 4), (1, 5), (1, 3), (0, 2, 0, 2), (1, 1)),
    ((1, 16, 16, 4), (16, 16), (1, 1), (8, 3, 8, 3), (1, 1)),  # too large for 16-bit lanes
]


def max_cases() -> list[Graph]:
    return [
        op_graph(MaxPool(*NAME, *window, clamp), [_value("x", shape)], X)
        for shape, *window in WINDOWS
        for clamp in ([None, (0.0, 1.0)] if shape[3] == 3 else [None])
    ]


def average_cases() -> list[Graph]:
    graphs = []
    for i, (shape, kernel, strides, pads, dilations) in enumerate(WINDOWS):
        bottom = min(1, pads[2])
        for include, beyond in [(False, (0, 0)), (True, (bottom, 0))][: 1 + any(pads)]:
            clamp = (0.0, 1.0) if i == 1 else None
            op = AveragePool(*NAME, kernel, strides, pads, dilations, clamp, include, beyond)
            graphs.append(op_graph(op, [_value("x", shape)], [X, Y][i % 2]))
    return graphs


def mean_cases() -> list[Graph]:
    """Windows of 2^k and of other sizes, by words, at the scale of the input and at others."""
    graphs = []
    for zero, other in [(9, 9), (-4, -4), (-4, 9)]:
        for kernel in [(2, 2), (1, 2), (4, 2), (3, 2), (8, 16)]:
            for channels in (4, 28):
                x = _value("x", (1, 9, 17, channels), QParams((0.05,), zero))
                for step in (0.05, 0.1, 0.037):
                    op = AveragePool(*NAME, kernel, kernel)
                    graphs.append(op_graph(op, [x], QParams((step,), other)))
    return graphs


def global_cases() -> list[Graph]:
    graphs = []
    for shape in [(1, 3, 3, 8), (1, 20, 20, 4), (1, 5, 3, 3), (1, 1, 1, 5)]:
        clamp = (0.0, 1.0) if shape[3] == 3 else None
        x = _value("x", shape)
        graphs.append(op_graph(GlobalMaxPool(*NAME, clamp), [x], X))
        graphs.append(op_graph(GlobalAveragePool(*NAME, clamp), [x], QParams((0.011,), 5)))
    return graphs


@pytest.mark.parametrize("cases", [max_cases, average_cases, mean_cases, global_cases])
def test_c_code(cases: Callable[[], list[Graph]]) -> None:
    check_graphs(cases())


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("step", [0.003, 0.04, 0.05, 0.2])
def test_integer_average_is_within_half_a_step(include: bool, step: float) -> None:
    rng = np.random.default_rng(3)
    result = QParams((step,), -30)
    for shape, *window in WINDOWS:
        op = AveragePool(*NAME, *window, None, include)
        q = rng.integers(-128, 128, (5, *shape[1:])).astype(np.int8)
        q[0], q[1] = 127, -128
        y = _value("y", op.result_shapes([_value("x", shape)])[0], result)
        (have,) = op.evaluate_int([_value("x", shape)], [y], [q])
        (real,) = op.evaluate([X.dequantize(q)])
        exact = np.clip(real / step - 30, -128, 127)
        assert np.abs(have - exact).max() <= 0.501


def test_average_over_a_large_image_is_within_half_a_step() -> None:
    rng = np.random.default_rng(3)
    op, x = GlobalAveragePool(*NAME), _value("x", (1, 112, 112, 4))
    q = rng.integers(-20, 30, (3, *x.shape[1:])).astype(np.int8)
    q[0] = 127
    result = QParams((0.0101,), -30)
    (have,) = op.evaluate_int([x], [_value("y", (1, 1, 1, 4), result)], [q])
    exact = np.clip(op.evaluate([X.dequantize(q)])[0] / 0.0101 - 30, -128, 127)
    assert np.abs(have - exact).max() <= 0.51


def test_sums_that_leave_32_bits_are_refused() -> None:
    x, y = _value("x", (1, 4, 4, 1), QParams((1e9,), 0)), _value("y", (1, 1, 1, 1))
    with pytest.raises(QuantizationError, match="node 'node'"):
        GlobalAveragePool(*NAME).lower([x], [y], Target())


def test_padding_at_the_beginning_forbids_writing_in_place() -> None:
    def in_place(pads: tuple[int, int, int, int]) -> object:
        op = MaxPool(*NAME, (3, 3), (2, 2), pads)
        x = _value("x", (1, 8, 8, 4))
        return op.lower([x], [_value("y", op.result_shapes([x])[0])], Target()).in_place

    assert in_place((0, 0, 1, 1)) == ((0, 0),)
    assert in_place((1, 0, 1, 0)) == ()


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    ("size", "attributes"),
    [
        ((8, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ((7, 9), {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}),
        ((7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((7, 8), {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((7, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID"}),
        ((8, 8), {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
        ((7, 6), {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1] * 4, "ceil_mode": 1}),
        ((4, 6), {"kernel_shape": [4, 6]}),
        ((11,), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
        ((11,), {"kernel_shape": [11]}),
    ],
)
def test_import(op_type: str, size: tuple[int, ...], attributes: dict[str, Any]) -> None:
    check_node(op_type, {"x": (1, 3, *size)}, **attributes)
    if op_type == "AveragePool":
        check_node(op_type, {"x": (1, 3, *size)}, count_include_pad=1, **attributes)


def test_import_of_dilated_windows() -> None:
    dilated = {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 1, 2, 0]}
    check_node("MaxPool", {"x": (1, 2, 9, 9)}, **dilated)
    check_node("AveragePool", {"x": (1, 2, 9, 9)}, opset=19, **dilated)


def test_a_window_of_the_whole_image_is_a_global_pool() -> None:
    graph = check_node("AveragePool", {"x": (1, 3, 4, 6)}, kernel_shape=[4, 6])
    assert any(graph.ops_of(GlobalAveragePool))
    graph = check_node("MaxPool", {"x": (1, 3, 4, 6)}, kernel_shape=[4, 6], pads=[0, 0, 1, 0])
    assert not any(graph.ops_of(GlobalMaxPool))


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_import_of_global_pools(op_type: str) -> None:
    check_node(op_type, {"x": (1, 3, 4, 6)})
    check_node(op_type, {"x": (1, 3, 7)})


def test_windows_that_cannot_be() -> None:
    check_refused("does not fit into", "MaxPool", {"x": (1, 2, 3, 3)}, kernel_shape=[4, 4])
    pads = {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}
    check_refused("nothing but padding", "MaxPool", {"x": (1, 2, 3, 3)}, **pads)
    pads = {"kernel_shape": [2, 2], "pads": [0, 0, -1, 0]}
    check_refused("do not fit 2 image axes", "MaxPool", {"x": (1, 2, 3, 3)}, **pads)
    cube = {"kernel_shape": [2, 2, 2]}
    check_refused("has the shape", "MaxPool", {"x": (1, 1, 3, 3, 3)}, **cube)
