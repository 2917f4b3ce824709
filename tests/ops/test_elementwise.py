"""Add, Sub and Mul of two tensors: real and integer meaning, and the C code."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.broadcast import walk
from mcucompile.ops.mul import Mul
from mcucompile.plan.program import Target
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.nodes import check_node, check_refused

A, B = QParams((0.05,), 3), QParams((0.03,), -20)

SHAPES: list[tuple[Shape, Shape]] = [
    ((1, 5, 6, 8), (1, 5, 6, 8)),
    ((1, 3, 3, 7), (1, 3, 3, 7)),  # words, then bytes
    ((1, 3, 4, 8), (1, 1, 1, 8)),  # a gate per channel
    ((1, 1, 1, 5), (1, 3, 4, 5)),
    ((1, 3, 4, 8), (1, 3, 4, 1)),  # a gate per pixel
    ((1, 3, 4, 8), (1, 3, 1, 8)),
    ((1, 3, 1, 6), (1, 1, 5, 6)),  # both are broadcast
    ((1, 11), (1, 11)),
]


def _value(name: str, shape: Shape, q: QParams, constant: bool = False) -> Value:
    rng = np.random.default_rng(7)
    data = rng.integers(-128, 128, shape).astype(np.int8) if constant else None
    return Value(name, shape, "int8", q, data)


def _operands() -> Iterator[tuple[Value, Value]]:
    for i, (a, b) in enumerate(SHAPES):
        yield _value("a", a, A), _value("b", b, B, constant=i % 3 == 1)
    yield _value("a", (1, 3, 5, 4), A), _value("b", (), B, constant=True)
    x = _value("a", (1, 3, 5, 4), A)
    yield x, x


def add_cases() -> list[Graph]:
    clamps = [None, (0.0, 6.0), (-1.0, 1.5)]
    return [
        op_graph(Add("op", ("n",), (1, -1)[i % 2], clamps[i % 3]), list(pair), B)
        for i, pair in enumerate(_operands())
    ]


def mul_cases() -> list[Graph]:
    results = [QParams((0.06,), 7), QParams((0.001,), -128), QParams((0.0001,), 0)]
    clamps = [None, (0.0, 6.0)]
    return [
        op_graph(Mul("op", ("n",), clamps[i % 2]), list(pair), results[i % 3])
        for i, pair in enumerate(_operands())
    ]


@pytest.mark.parametrize("cases", [add_cases, mul_cases])
def test_c_code(cases: Callable[[], list[Graph]]) -> None:
    check_graphs(cases())


@pytest.mark.parametrize("op", [Add("op", ()), Add("op", (), -1), Mul("op", ())])
@pytest.mark.parametrize("step", [0.01, 0.06, 0.3])
def test_integers_are_within_half_a_step_of_real_numbers(op: Add | Mul, step: float) -> None:
    q = np.arange(-128, 128, dtype=np.int8)
    a, b = np.meshgrid(q, q)
    operands = [_value("a", a.shape, A), _value("b", b.shape, B)]
    result = QParams((step,), -9)
    (have,) = op.evaluate_int(operands, [_value("y", a.shape, result)], [a, b])
    (real,) = op.evaluate([A.dequantize(a).astype(np.float64), B.dequantize(b)])
    exact = np.clip(real / step - 9, -128, 127)
    assert np.abs(have - exact).max() <= 0.52


def test_neighbouring_axes_are_walked_together() -> None:
    assert walk([(1, 4, 5, 8), (1, 4, 5, 8)]).dims == (1, 1, 160)
    assert walk([(1, 4, 5, 8), (1, 1, 1, 8)]).dims == (1, 20, 8)
    assert walk([(1, 4, 5, 8), (1, 4, 1, 1)]).dims == (1, 4, 40)
    assert walk([(1, 4, 1, 8), (1, 1, 5, 8)]).dims == (4, 5, 8)


def test_the_result_takes_the_place_of_operands_of_its_size_only() -> None:
    a, b = _value("a", (1, 3, 4, 8), A), _value("b", (1, 1, 1, 8), B)
    y = _value("y", (1, 3, 4, 8), A)
    assert Mul("op", ()).lower([a, b], [y], Target()).in_place == ((0, 0),)
    assert Mul("op", ()).lower([b, a], [y], Target()).in_place == ((1, 0),)
    assert Add("op", ()).lower([a, a], [y], Target()).in_place == ((0, 0), (1, 0))


def test_constants_become_int8_with_one_scale() -> None:
    x = _value("a", (1, 4), A)
    numbers = np.array([[10, -20, 30, 127]])
    own = Value("c", (1, 4), "int8", B, numbers.astype(np.int8))
    by_channel = QParams((0.1, 0.2, 0.3, 0.4), 0, 1)
    for c in (
        Value("c", (1, 4), data=numbers.astype(np.float32)),
        Value("c", (1, 4), "int32", B, numbers.astype(np.int32)),
        Value("c", (1, 4), "int8", by_channel, numbers.astype(np.int8)),
    ):
        for op in (Add("op", ()), Mul("op", ())):
            same, new = op.quantize_constants([x, c])
            assert same is x
            assert (new.dtype, new.q.axis, len(new.q.scale)) == ("int8", None, 1)
            assert np.abs(new.real - c.real).max() <= new.q.scale[0] / 2 * 1.001
    assert Add("op", ()).quantize_constants([x, own])[1] is own


def test_scales_that_do_not_go_together_are_refused() -> None:
    a, b = _value("a", (1, 4), QParams((1e9,), 0)), _value("b", (1, 4), B)
    y = _value("y", (1, 4), QParams((1e-3,), 0))
    for op in (Add("op", ("node",)), Mul("op", ("node",))):
        with pytest.raises(QuantizationError, match="node 'node'") as caught:
            op.lower([a, b], [y], Target())
        assert caught.value.id == "MC201"


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
def test_import(op_type: str) -> None:
    check_node(op_type, {"a": (1, 3, 4, 5), "b": (1, 3, 4, 5)})
    check_node(op_type, {"a": (1, 3, 4, 5), "b": (1, 3, 1, 1)})
    check_node(op_type, {"a": (1, 3, 4, 5)}, {"c": np.arange(15.0).reshape(3, 1, 5)})
    check_node(op_type, {"a": (1, 7)}, {"c": np.array(2.5)}, order=["c", "a"])
    six = {"a": (1, 2, 1, 2, 1, 2), "b": (1, 1, 2, 1, 2, 1)}
    check_refused("broadcast on too many axes", op_type, six)
