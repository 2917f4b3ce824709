"""Operators on one number become one table, however an exporter wrote them."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array
from mcucompile.ops.table import Formula
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.passes.fuse_tables import fuse_tables
from mcucompile.quant.absorb_qdq import absorb_qdq
from tests.support.models import model_of
from tests.support.passes import kinds, node, normalized

Nodes = list[tuple[str, list[str], str]]

SWISH: Nodes = [("Sigmoid", ["x"], "s"), ("Mul", ["x", "s"], "y")]
EXP_SWISH: Nodes = [
    ("Neg", ["x"], "n"),
    ("Exp", ["n"], "e"),
    ("Add", ["one", "e"], "d"),
    ("Div", ["x", "d"], "y"),
]
HARDSWISH: Nodes = [
    ("Add", ["x", "three"], "a"),
    ("Clip", ["a", "zero", "six"], "c"),
    ("Mul", ["x", "c"], "m"),
    ("Div", ["m", "six"], "y"),
]
ERF_GELU: Nodes = [
    ("Div", ["x", "root2"], "d"),
    ("Erf", ["d"], "e"),
    ("Add", ["e", "one"], "a"),
    ("Mul", ["x", "a"], "m"),
    ("Mul", ["m", "half"], "y"),
]
TANH_GELU: Nodes = [
    ("Pow", ["x", "three"], "p"),
    ("Mul", ["p", "small"], "q"),
    ("Add", ["x", "q"], "a"),
    ("Mul", ["a", "slope"], "b"),
    ("Tanh", ["b"], "t"),
    ("Add", ["t", "one"], "u"),
    ("Mul", ["x", "half"], "h"),
    ("Mul", ["h", "u"], "y"),
]
MISH: Nodes = [("Softplus", ["x"], "s"), ("Tanh", ["s"], "t"), ("Mul", ["x", "t"], "y")]
CUBE: Nodes = [("Mul", ["x", "x"], "s"), ("Mul", ["s", "x"], "y")]
CLAMPED: Nodes = [("Abs", ["x"], "a"), ("Max", ["a", "half"], "b"), ("Min", ["x", "b"], "y")]

NUMBERS = {
    "zero": 0.0,
    "half": 0.5,
    "one": 1.0,
    "root2": math.sqrt(2),
    "three": 3.0,
    "six": 6.0,
    "small": 0.044715,
    "slope": math.sqrt(2 / math.pi),
}


def _model(nodes: Nodes, **more: Array) -> onnx.ModelProto:
    protos = [node(kind, inputs, [result], result) for kind, inputs, result in nodes]
    used = {name for _, inputs, _ in nodes for name in inputs}
    constants = {name: np.array(value) for name, value in NUMBERS.items() if name in used}
    return model_of(protos, {"x": (1, 3, 4)}, {"y": (1, 3, 4)}, constants | more)


@pytest.mark.parametrize(
    "nodes", [SWISH, EXP_SWISH, HARDSWISH, ERF_GELU, TANH_GELU, MISH, CUBE, CLAMPED]
)
def test_one_table(nodes: Nodes) -> None:
    graph = normalized(_model(nodes))
    (op,) = graph.ops()
    assert isinstance(op, Formula)
    assert set(op.origin) >= {result for kind, _, result in nodes if kind != "Clip"}
    assert graph.result(op).onnx_name == "y"


def test_a_function_of_two_numbers_is_none_of_one() -> None:
    nodes: Nodes = [("Sigmoid", ["x"], "s"), ("Transpose", ["s"], "t"), ("Mul", ["x", "t"], "y")]
    protos = [
        node(kind, inputs, [result], result, **_square(kind)) for kind, inputs, result in nodes
    ]
    graph = normalized(model_of(protos, {"x": (1, 4, 4)}, {"y": (1, 4, 4)}, {}))
    assert sorted(kinds(graph)) == ["Mul", "Sigmoid", "Transpose"]
    tensor = _model([("Sigmoid", ["x"], "s"), ("Max", ["k", "s"], "y")], k=np.arange(4.0))
    assert kinds(normalized(tensor)) == ["Sigmoid", "Max"]


def _square(kind: str) -> dict[str, list[int]]:
    return {"perm": [0, 2, 1]} if kind == "Transpose" else {}


def test_another_reader_keeps_its_operand() -> None:
    protos = [
        node("Sigmoid", ["x"], ["s"], "s"),
        node("Mul", ["x", "s"], ["y"], "y"),
        node("Exp", ["s"], ["z"], "z"),
    ]
    shape = (1, 5)
    graph = normalized(model_of(protos, {"x": shape}, {"y": shape, "s": shape, "z": shape}, {}))
    assert sorted(kinds(graph)) == ["Formula", "Formula", "Sigmoid"]
    assert all(graph.operands(op)[0].name == "x" for op in graph.ops())


def test_what_a_quantized_model_stores_stays() -> None:
    def stored(name: str, scale: str) -> list[onnx.NodeProto]:
        return [
            node("QuantizeLinear", [name, scale, "zp"], [f"{name}_q"]),
            node("DequantizeLinear", [f"{name}_q", scale, "zp"], [f"{name}_d"]),
        ]

    protos = [
        *stored("x", "sx"),
        node("Sigmoid", ["x_d"], ["s"]),
        *stored("s", "ss"),
        node("Mul", ["x_d", "s_d"], ["m"]),
        *stored("m", "sm"),
        node("Identity", ["m_d"], ["y"]),
    ]
    weights = {"sx": np.array(0.05), "ss": np.array(1 / 256), "sm": np.array(0.04)}
    model = model_of(protos, {"x": (1, 6)}, {"y": (1, 6)}, weights)
    zero = onnx.numpy_helper.from_array(np.array(0, dtype=np.int8), "zp")
    model.graph.initializer.append(zero)
    graph = run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)
    assert kinds(graph) == ["Sigmoid", "Mul"]


def test_it_changes_nothing_the_second_time() -> None:
    graph = normalized(_model(TANH_GELU))
    assert fuse_tables(graph).ops() == graph.ops()
