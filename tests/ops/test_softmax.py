"""Softmax: the integer algorithm against real numbers, and the C code against it."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.softmax import Softmax
from mcucompile.plan.program import Target
from mcucompile.quant.softmax import softmax_rule
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.nodes import check_node

RESULT = QParams((1 / 256,), -128)


@pytest.mark.parametrize("width", [1, 2, 3, 10, 100, 1000])
@pytest.mark.parametrize("scale", [0.001, 0.02, 0.1, 0.5, 3.0])
def test_within_one_step_of_real_softmax(width: int, scale: float) -> None:
    rng = np.random.default_rng(width)
    q = rng.integers(-128, 128, (200, width)).astype(np.int8)
    q[0], q[1] = 127, -128  # all equal, at both ends
    operand = QParams((scale,), 5)
    have = softmax_rule(operand, RESULT, width).apply(q)
    (real,) = Softmax("s", ()).evaluate([operand.dequantize(q).astype(np.float64)])
    exact = np.clip(real * 256 - 128, -128, 127)
    assert np.abs(have - exact).max() <= 0.53  # half a step of rounding, and 0.02


def test_result_may_have_any_scale() -> None:
    q = np.arange(-128, 128, dtype=np.int8).reshape(1, -1)
    operand, result = QParams((0.05,), 0), QParams((1 / 128,), 0)
    have = softmax_rule(operand, result, 256).apply(q)
    (real,) = Softmax("s", ()).evaluate([operand.dequantize(q)])
    assert np.abs(have - real * 128).max() <= 0.53


def softmax_cases() -> list[Graph]:
    graphs = []
    for width, rows, scale in [
        (1, 1, 0.1),
        (2, 1, 4.0),
        (12, 1, 0.07),
        (3, 5, 0.3),
        (1000, 1, 1e-3),
    ]:
        x = Value("x", (1, rows, width), "int8", QParams((scale,), -4))
        graphs.append(op_graph(Softmax("softmax", ()), [x], RESULT))
    return graphs


def test_c_code_equals_the_rule() -> None:
    check_graphs(softmax_cases(), samples=20)


def test_import() -> None:
    for axis in (1, 2, -1):
        check_node("Softmax", {"x": (1, 3, 4)}, axis=axis)
    check_node("Softmax", {"x": (1, 5)}, opset=11)
    check_node("Softmax", {"x": (1, 5, 1)}, opset=11)
    check_node("Softmax", {"x": (1, 3, 4)}, opset=11)
    check_node("Softmax", {"x": (1, 3, 4, 2)}, opset=11, axis=2)


def test_a_result_scale_beyond_32_bits_is_refused() -> None:
    x = Value("x", (1, 4), "int8", QParams((0.1,), 0))
    y = Value("y", (1, 4), "int8", QParams((1e-9,), 0))
    with pytest.raises(QuantizationError, match="node 'node'"):
        Softmax("s", ("node",)).lower([x], [y], Target())
