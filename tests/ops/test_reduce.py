"""Reductions of any axes, and where extremes are: real and integer meaning, and the C code."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto, helper

from mcucompile.errors import QuantizationError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.arg_extremum import ArgExtremum
from mcucompile.ops.reduce import (
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    ReduceSumSquare,
)
from mcucompile.ops.reduction import Reduction, loops_of
from mcucompile.plan.program import Target
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

X = QParams((0.05,), 3)
NAME = ("op", ("node",))
SHAPES: list[tuple[Shape, tuple[int, ...]]] = [
    ((1, 5, 12), (2,)),
    ((1, 3, 7), (2,)),
    ((1, 3, 4, 6), (1, 2)),
    ((1, 3, 4, 6), (2,)),
    ((1, 2, 3, 4), (1, 2, 3)),
    ((1, 9), (1,)),
    ((1, 1, 5, 1), (1, 3)),
]
LINEAR: list[type[Reduction]] = [ReduceSum, ReduceMean]
SELECTING: list[type[Reduction]] = [ReduceMax, ReduceMin]
STEPPED: list[type[Reduction]] = [
    ReduceL1,
    ReduceL2,
    ReduceSumSquare,
    ReduceLogSum,
    ReduceLogSumExp,
]


def _case(op: Reduction, shape: Shape, result: QParams) -> Graph:
    return op_graph(op, [Value("x", shape, "int8", X)], result)


def reduce_cases() -> list[Graph]:
    clamps = [None, None, (0.0, 6.0)]
    results = [X, QParams((0.3,), -20), QParams((0.0007,), -128), QParams((2.0,), 5)]
    graphs = []
    for i, (shape, axes) in enumerate(SHAPES):
        for j, kind in enumerate([*LINEAR, *STEPPED, *SELECTING]):
            y = X if kind in SELECTING else results[(i + j) % 4]
            graphs.append(_case(kind(*NAME, axes, clamps[(i + j) % 3]), shape, y))
    for i, (shape, axes) in enumerate(SHAPES[3:6]):
        op = ArgExtremum(*NAME, axes[-1:], None, largest=i != 1, last=i == 2)
        graphs.append(_case(op, shape, op.fixed_qparams()))
    return graphs


def test_c_code() -> None:
    check_graphs(reduce_cases(), samples=3)


@pytest.mark.parametrize("kind", [*LINEAR, *STEPPED])
@pytest.mark.parametrize("step", [0.02, 0.5, 3.0])
def test_integers_are_within_half_a_step_of_real_numbers(
    kind: type[Reduction], step: float
) -> None:
    rng = np.random.default_rng(1)
    q = (rng.integers(-128, 128, (300, 1, 20)) // rng.integers(1, 9, (300, 1, 1))).astype(np.int8)
    operand, result = Value("x", (1, 1, 20), "int8", X), QParams((step,), -9)
    op = kind(*NAME, (2,))
    (have,) = op.evaluate_int([operand], [Value("y", (1, 1, 1), "int8", result)], [q])
    (real,) = op.evaluate([X.dequantize(q)])
    known = np.isfinite(real)
    assert known.sum() > 50
    exact = np.clip(real / step - 9, -128, 127)
    assert np.abs(have - exact)[known].max() <= 0.501


def test_the_logarithm_of_nothing_is_the_least_number() -> None:
    op = ReduceLogSum(*NAME, (1,))
    y = Value("y", (1, 1), "int8", QParams((0.1,), 0))
    (have,) = op.evaluate_int([Value("x", (1, 2), "int8", X)], [y], [np.array([[3, -9]], np.int8)])
    assert have.tolist() == [[-128]]


def test_loops() -> None:
    assert loops_of((1, 3, 4, 5), (2,)) == (3, 4, 5)
    assert loops_of((1, 3, 4, 5), (1, 2)) == (1, 12, 5)
    assert loops_of((1, 3, 1, 5), (1, 3)) == (1, 15, 1)
    assert loops_of((1, 3, 4), (0,)) == (12, 1, 1)
    with pytest.raises(ValueError, match="side by side"):
        loops_of((1, 3, 4, 5), (1, 3))


def test_sums_that_leave_32_bits_are_refused() -> None:
    x, y = Value("x", (1, 200000), "int8", X), Value("y", (1, 1), "int8", X)
    with pytest.raises(QuantizationError, match="may leave 32 bits"):
        ReduceSumSquare(*NAME, (1,)).lower([x], [y], Target())


@pytest.mark.parametrize(
    "op_type", ["Mean", "Max", "Min", "Sum", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]
)
def test_import(op_type: str) -> None:
    shape = {"x": (1, 3, 4, 6)}
    for axes in ([2, 3], [1, 2], [1], [3], [-1, 1], [1, 2, 3], [0, 2]):
        for keepdims in (0, 1) if axes[0] else (1,):
            options = {"keepdims": keepdims, "positive": op_type == "LogSum"}
            if op_type == "Sum":
                check_node("ReduceSum", shape, {"axes": np.array(axes)}, **options)
            else:
                check_node(f"Reduce{op_type}", shape, axes=axes, **options)


def test_import_with_axes_as_input() -> None:
    check_node("ReduceMean", {"x": (1, 5, 6)}, {"axes": np.array([2])}, opset=18)
    check_node("ReduceMean", {"x": (1, 5, 6)}, opset=18)
    check_node("ReduceMean", {"x": (1, 5, 6)}, opset=18, noop_with_empty_axes=1)
    check_refused("computed at run time", "ReduceSum", {"x": (1, 5, 6), "axes": (1,)})


def test_axes_that_lie_apart_are_brought_together() -> None:
    graph = check_node("ReduceMin", {"x": (1, 3, 4, 6)}, axes=[1, 3])
    assert Counter(op.kind for op in graph.ops())["Transpose"] == 1


def test_import_of_log_softmax() -> None:
    check_node("LogSoftmax", {"x": (1, 5, 6)}, axis=1)
    check_node("LogSoftmax", {"x": (1, 5, 6)}, scale=50.0)
    check_node("LogSoftmax", {"x": (1, 5, 6)}, opset=11)


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_import_of_arg(op_type: str, keepdims: int, axis: int) -> None:
    nodes = [
        helper.make_node(op_type, ["x"], ["i"], "arg", axis=axis, keepdims=keepdims),
        helper.make_node("Cast", ["i"], ["y"], "cast", to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": (1, 4, 5)}, {"y": None}, {})
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    (have,) = run_float(import_model(model), [x])
    np.testing.assert_array_equal(have, OnnxSession(model).run([x])[0])


def test_indices_of_more_than_8_bits_are_refused() -> None:
    check_refused("among 300 numbers", "ArgMax", {"x": (1, 300)}, axis=1)


def test_the_first_or_the_last_of_equals() -> None:
    x = np.array([[2.0, 7.0, 7.0, 1.0, 1.0]])
    for largest, last, want in [
        (True, False, 1),
        (True, True, 2),
        (False, False, 3),
        (False, True, 4),
    ]:
        (y,) = ArgExtremum(*NAME, (1,), None, largest, last).evaluate([x])
        assert y.tolist() == [[want]]
