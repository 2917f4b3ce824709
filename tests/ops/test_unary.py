"""Functions of one number: tables, import, and the C code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph, QParams, QuantRule, Value
from mcucompile.ops.add import Add
from mcucompile.ops.table import Formula
from mcucompile.ops.unary import FUNCTIONS, BoundedUnary, ScaleShift, Unary
from mcucompile.reference.float_interpreter import run_float
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

X, Y = QParams((0.04,), 11), QParams((0.03,), -5)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_table_holds_the_nearest_integers(function: str) -> None:
    args = {"clip": (-1.0, 2.0), "pow": (3.0,)}.get(function, ())
    op = Unary("op", (), function, args)
    q = np.arange(-128, 128)
    with np.errstate(all="ignore"):
        real = FUNCTIONS[function](X.dequantize(q).astype(np.float64), *args)
    x, y = Value("x", (1, 256), "int8", X), Value("y", (1, 256), "int8", Y)
    (have,) = op.evaluate_int([x], [y], [q.astype(np.int8).reshape(1, -1)])
    known = np.isfinite(real)
    exact = np.clip(real[known] / 0.03 - 5, -128, 127)
    assert known.sum() >= 49
    assert np.abs(have[0][known] - exact).max() <= 0.5 + 1e-6


def test_table_where_a_function_has_no_number() -> None:
    table = np.roll(Unary("op", (), "log").table(X, Y), -128)  # of -128 ... 127
    assert np.all(table[: 128 + 11] == -128)  # numbers below 0 like 0
    assert table[128 + 11] == -128
    assert table[128 + 36] == -5  # log 1
    roots = np.roll(Unary("op", (), "sqrt").table(X, Y), -128)
    assert np.all(roots[: 128 + 12] == -5)
    nothing = Unary("op", (), "log").table(QParams((1.0,), 127), Y)  # only x <= 0
    assert np.all(nothing == -128)


def test_clamp_bounds() -> None:
    assert Unary("op", (), "relu").clamp_bounds() == (0.0, math.inf)
    assert Unary("op", (), "clip", (-1.0, 6.0)).clamp_bounds() == (-1.0, 6.0)
    assert Unary("op", (), "tanh").clamp_bounds() is None


def test_sigmoid_and_tanh_bring_their_own_qparams() -> None:
    sigmoid = BoundedUnary("op", (), "sigmoid")
    assert sigmoid.quant_rule is QuantRule.FIXED
    assert sigmoid.fixed_qparams() == QParams((1 / 256,), -128)
    assert BoundedUnary("op", (), "tanh").fixed_qparams() == QParams((1 / 128,), 0)
    assert Unary("op", (), "relu").quant_rule is QuantRule.CALIBRATED


def test_requantize_is_exact_where_it_can_be() -> None:
    finer = QParams((0.02,), 4)
    table = np.roll(Unary("op", (), "identity").table(X, finer), -128)
    want = np.clip((np.arange(-128, 128) - 11) * 2 + 4, -128, 127)
    assert np.array_equal(table, want)


def table_cases() -> list[Graph]:
    ops = [
        Unary("op", (), "relu"),
        BoundedUnary("op", (), "sigmoid"),
        Unary("op", (), "identity"),
        ScaleShift("op", (), -0.7, 0.3),
        Formula("op", (), ((Unary("", (), "exp"), (0,)), (Add("", ()), (0, 1)))),
    ]
    shapes = [(1, 3, 5, 4), (1, 7), (1, 1), (1, 2, 3), (1, 9)]
    return [
        op_graph(op, [Value("x", shape, "int8", X)], Y)
        for op, shape in zip(ops, shapes, strict=True)
    ]


def test_c_code() -> None:
    check_graphs(table_cases(), samples=20)


@pytest.mark.parametrize(
    ("op_type", "attributes"),
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
        ("HardSwish", {}),
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("Elu", {"alpha": 0.7}),
        ("Selu", {}),
        ("Softplus", {}),
        ("Softsign", {}),
        ("Erf", {}),
        ("Gelu", {"opset": 20}),
        ("Gelu", {"opset": 20, "approximate": "tanh"}),
        ("Neg", {}),
        ("Abs", {}),
        ("Sign", {}),
        ("Floor", {}),
        ("Ceil", {}),
        ("Round", {}),
        ("Exp", {}),
        ("Sin", {}),
        ("Cos", {}),
        ("Celu", {"alpha": 0.7}),
        ("ThresholdedRelu", {"alpha": 0.6}),
        ("Shrink", {"bias": 0.3, "lambd": 1.1}),
        ("Mish", {"opset": 18}),
        ("Tan", {}),
        ("Atan", {}),
        ("Sinh", {}),
        ("Cosh", {}),
        ("Asinh", {}),
        ("Asin", {"scale": 0.2}),
        ("Acos", {"scale": 0.2}),
        ("Atanh", {"scale": 0.2}),
        ("Sqrt", {"positive": True}),
        ("Log", {"positive": True}),
        ("Reciprocal", {"positive": True}),
    ],
)
def test_import(op_type: str, attributes: dict[str, Any]) -> None:
    check_node(op_type, {"x": (1, 4, 5)}, **attributes)


def test_import_of_clip() -> None:
    lo, hi = np.array(-1.0), np.array(1.5)
    check_node("Clip", {"x": (1, 9)}, {"lo": lo, "hi": hi})
    check_node("Clip", {"x": (1, 9)}, {"hi": hi}, order=["x", "", "hi"])
    check_node("Clip", {"x": (1, 9)}, {"lo": lo})
    check_node("Clip", {"x": (1, 9)}, opset=10, min=-1.0, max=1.5)
    check_refused("min is computed at run time", "Clip", {"x": (1, 9), "lo": (1,)})


def test_import_with_a_constant() -> None:
    check_node("Pow", {"x": (1, 4, 5)}, {"exponent": np.array(2.0)})
    check_node("Pow", {"x": (1, 4, 5)}, {"exponent": np.full((1, 1, 1, 1), -1.0)})
    check_node("Pow", {"x": (1, 4, 5)}, {"base": np.array(1.7)}, order=["base", "x"])
    check_node("Pow", {"x": (1, 4, 5)}, {"exponent": np.full((4, 1), 3.0)}, samples=1)
    check_refused("several bases", "Pow", {"x": (1, 2)}, {"e": np.arange(2.0)})


def test_import_of_casts() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Cast", ["whole"], ["bit"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["bit"], ["y"], to=TensorProto.FLOAT),
    ]
    model = model_of(nodes, {"x": (1, 40)}, {"y": (1, 40)}, {})
    x = np.linspace(-3, 3, 40, dtype=np.float32).reshape(1, 40)
    np.testing.assert_array_equal(run_float(import_model(model), [x])[0], np.abs(x) >= 1)
