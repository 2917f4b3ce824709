"""Div, PRelu, Min, Max, Where and comparisons: real and integer meaning, and the C code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams, Shape, Value
from mcucompile.ops.compare import EQUAL, GREATER, LESS, Compare
from mcucompile.ops.div import Div, PRelu
from mcucompile.ops.extremum import Max, Min
from mcucompile.ops.unary import Unary
from mcucompile.ops.where import Where
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

A, B, C = QParams((0.05,), 3), QParams((0.03,), -20), QParams((0.02,), 100)
NAME = ("op", ("node",))
SHAPES: list[tuple[Shape, Shape, Shape]] = [
    ((1, 3, 4, 8), (1, 3, 4, 8), (1, 3, 4, 8)),
    ((1, 3, 4, 5), (1, 1, 1, 5), (1, 3, 1, 5)),
    ((1, 3, 1, 6), (1, 1, 5, 6), (1, 3, 5, 6)),
    ((1, 7), (1, 7), (1, 1)),
    ((1, 3, 4, 1), (1, 3, 4, 5), (1, 1, 1, 1)),
]


def _value(name: str, shape: Shape, q: QParams, constant: bool = False) -> Value:
    rng = np.random.default_rng(7)
    data = rng.integers(-128, 128, shape).astype(np.int8) if constant else None
    return Value(name, shape, "int8", q, data)


def factor_cases() -> list[Graph]:
    results = [QParams((0.06,), 7), QParams((1e-5,), -128), QParams((40.0,), 0), C]
    clamps = [None, (0.0, 6.0)]
    return [
        op_graph(
            kind(*NAME, clamps[i % 2]),
            [_value("a", a, A), _value("b", b, B, constant=i % 3 == 1)],
            results[(i + j) % 4],
        )
        for i, (a, b, _) in enumerate(SHAPES)
        for j, kind in enumerate((Div, PRelu))
    ]


def select_cases() -> list[Graph]:
    graphs = []
    for i, (a, b, c) in enumerate(SHAPES):
        pair = [_value("a", a, A), _value("b", b, A, constant=i % 3 == 1)]
        graphs.append(op_graph((Max, Min)[i % 2](*NAME, (None, (-1.0, 2.5))[i % 2]), pair, A))
        three = [_value("c", c, C, constant=i % 2 == 0), _value("a", a, A), _value("b", b, B)]
        graphs.append(op_graph(Where(*NAME), three, (A, C)[i % 2]))
    return graphs


def compare_cases() -> list[Graph]:
    op = Compare(*NAME, answers=0)
    yes_or_no = op.fixed_qparams()
    return [
        op_graph(
            Compare(*NAME, answers=answers),
            [_value("a", a, A), _value("b", b, (A, B)[i % 2], constant=i % 3 == 1)],
            yes_or_no,
        )
        for i, ((a, b, _), answers) in enumerate(zip(SHAPES, (1, 2, 4, 5, 6), strict=True))
    ]


@pytest.mark.parametrize("cases", [factor_cases, select_cases, compare_cases])
def test_c_code(cases: Callable[[], list[Graph]]) -> None:
    check_graphs(cases())


def _every_pair() -> tuple[Array, Array, list[Value]]:
    q = np.arange(-128, 128, dtype=np.int8)
    a, b = np.meshgrid(q, q)
    return a, b, [_value("a", a.shape, A), _value("b", b.shape, B)]


@pytest.mark.parametrize("op", [Div(*NAME), PRelu(*NAME)])
@pytest.mark.parametrize("step", [1e-4, 0.01, 0.06, 0.3, 100.0])
def test_integers_are_within_half_a_step_of_real_numbers(op: Div | PRelu, step: float) -> None:
    a, b, operands = _every_pair()
    (have,) = op.evaluate_int(operands, [_value("y", a.shape, QParams((step,), -9))], [a, b])
    divisible = (b != B.zero_point) | isinstance(op, PRelu)
    (real,) = op.evaluate([A.dequantize(a).astype(np.float64), B.dequantize(b)])
    exact = np.clip(real / step - 9, -128, 127)
    assert np.abs(have - exact)[divisible].max() <= 0.501


def test_division_by_zero_is_by_the_least_step() -> None:
    a = np.arange(-128, 128, dtype=np.int8)
    operands = [_value("a", a.shape, A), _value("b", a.shape, B)]
    result = [_value("y", a.shape, QParams((0.5,), 0))]
    by = [np.full_like(a, B.zero_point + i) for i in (0, 1)]
    zero, one = (Div(*NAME).evaluate_int(operands, result, [a, b])[0] for b in by)
    assert np.array_equal(zero, one)


def test_stored_numbers_are_compared_as_what_they_stand_for() -> None:
    a, b, operands = _every_pair()
    real = A.dequantize(a).astype(np.float64) - B.dequantize(b)
    sure = np.abs(real) > 1e-4
    for answers, want in [(LESS, real < 0), (GREATER, real > 0), (EQUAL | GREATER, real >= 0)]:
        op = Compare(*NAME, answers=answers)
        (have,) = op.evaluate_int(operands, [_value("y", a.shape, op.fixed_qparams())], [a, b])
        assert np.array_equal(have[sure], want[sure])
    same = [operands[0], _value("b", a.shape, A)]
    (have,) = Compare(*NAME, answers=EQUAL).evaluate_int(
        same, [_value("y", a.shape, QParams((1.0,), 0))], [a, b]
    )
    assert np.array_equal(have, a == b)


def test_import_of_div() -> None:
    graph = check_node("Div", {"a": (1, 3, 4)}, {"c": np.array([0.5, -2.0, 4.0, 7.0])})
    assert [op.kind for op in graph.ops()] == ["Mul"]
    check_node("Div", {"a": (1, 3, 4), "b": (1, 3, 1)}, positive=True)
    check_node("Div", {"b": (1, 3, 4)}, {"c": np.ones((3, 4))}, order=["c", "b"], positive=True)
    check_refused("holds zeros", "Div", {"a": (1, 2)}, {"c": np.array([1.0, 0.0])})


def test_import_of_prelu() -> None:
    graph = check_node("PRelu", {"x": (1, 4, 5)}, {"slope": np.array([0.25])})
    assert [op.kind for op in graph.ops()] == ["Leakyrelu"]
    graph = check_node("PRelu", {"x": (1, 3, 4, 5)}, {"slope": np.full((3, 1, 1), 0.25)})
    assert [op.kind for op in graph.ops()] == ["Leakyrelu"]
    slopes = np.array([0.25, -0.5, 2.0]).reshape(3, 1, 1)
    graph = check_node("PRelu", {"x": (1, 3, 4, 5)}, {"slope": slopes})
    assert [op.kind for op in graph.ops()] == ["PRelu"]


@pytest.mark.parametrize("op_type", ["Max", "Min"])
def test_import_of_extremes(op_type: str) -> None:
    check_node(op_type, {"a": (1, 3, 4), "b": (1, 3, 1)})
    check_node(op_type, {"a": (1, 3, 4), "b": (1, 3, 1), "c": (1, 1, 4)})
    check_node(op_type, {"a": (1, 3, 4)})
    check_node(op_type, {"a": (1, 3, 4)}, {"c": np.array([0.5, -2.0, 4.0, 7.0])})
    graph = check_node(op_type, {"a": (1, 3, 4)}, {"c": np.array(0.5)})
    (op,) = graph.ops()
    assert isinstance(op, Unary)
    assert op.clamp_bounds() in ((0.5, np.inf), (-np.inf, 0.5))


@pytest.mark.parametrize("op_type", ["Sum", "Mean"])
def test_import_of_many_operands(op_type: str) -> None:
    check_node(op_type, {"a": (1, 3, 4), "b": (1, 3, 1)})
    check_node(op_type, {"a": (1, 3, 4), "b": (1, 3, 1), "c": (1, 3, 4)})
    check_node(op_type, {"a": (1, 3, 4)})


def _check_model(nodes: list[tuple[str, list[str], str]], constants: dict[str, Array]) -> Graph:
    """Compare a model of `nodes` on inputs a, b, whose answers c are cast to y, to onnxruntime."""
    protos = [helper.make_node(kind, inputs, [result]) for kind, inputs, result in nodes]
    protos.append(helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT))
    model = model_of(protos, {"a": (1, 4, 5), "b": (1, 4, 5)}, {"y": (1, 4, 5)}, constants)
    rng = np.random.default_rng(0)
    given = [rng.integers(-3, 4, (3, 4, 5)).astype(np.float32) for _ in range(2)]
    graph = import_model(model)
    np.testing.assert_array_equal(run_float(graph, given)[0], OnnxSession(model).run(given)[0])
    return graph


@pytest.mark.parametrize("kind", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal"])
def test_import_of_comparisons(kind: str) -> None:
    _check_model([(kind, ["a", "b"], "c")], {})
    _check_model([(kind, ["a", "k"], "c")], {"k": np.array(1.0)})


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_import_of_logic(kind: str) -> None:
    nodes = [("Less", ["a", "k"], "p"), ("Less", ["b", "k"], "q"), (kind, ["p", "q"], "r")]
    _check_model([*nodes, ("Not", ["r"], "c")], {"k": np.array(0.0)})


def test_import_of_where() -> None:
    nodes = [("Less", ["a", "b"], "p"), ("Where", ["p", "a", "k"], "c")]
    graph = _check_model(nodes, {"k": np.array(1.5)})
    assert [op.kind for op in graph.ops()] == ["Compare", "Where"]
    mask = np.random.default_rng(1).integers(0, 2, (4, 5))
    nodes = [("Cast", ["m"], "p"), ("Where", ["p", "a", "b"], "c")]
    protos = [
        helper.make_node("Cast", ["m"], ["p"], to=TensorProto.BOOL),
        helper.make_node("Where", ["p", "a", "b"], ["y"]),
    ]
    model = model_of(protos, {"a": (1, 4, 5), "b": (1, 4, 5)}, {"y": (1, 4, 5)}, {"m": mask})
    given = [np.random.default_rng(i).normal(size=(2, 4, 5)).astype(np.float32) for i in (2, 3)]
    graph = import_model(model)
    np.testing.assert_array_equal(run_float(graph, given)[0], OnnxSession(model).run(given)[0])
