"""Products of matrices of activations: real and integer meaning, import, and the C code."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.matmul import MatMul
from mcucompile.plan.program import Target
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused
from tests.support.passes import kinds, normalized

A, B = QParams((0.05,), 3), QParams((0.03,), -20)
NAME = ("op", ("node",))
SHAPES: list[tuple[Shape, Shape]] = [
    ((1, 4, 8), (1, 6, 8)),
    ((1, 5, 7), (1, 3, 7)),
    ((1, 3, 5, 12), (1, 3, 7, 12)),
    ((1, 2, 3, 4), (1, 1, 5, 4)),
    ((1, 1, 3, 4), (1, 2, 5, 4)),
    ((1, 9), (1, 9)),
    ((1, 1, 33), (1, 1, 33)),
]


def matmul_cases() -> list[Graph]:
    rng = np.random.default_rng(0)
    results = [QParams((0.2,), 7), QParams((0.002,), -128), QParams((5.0,), 0)]
    clamps = [None, (0.0, 6.0)]
    graphs = []
    for i, (a, b) in enumerate(SHAPES):
        data = rng.integers(-128, 128, b).astype(np.int8) if i % 3 == 2 else None
        operands = [Value("a", a, "int8", A), Value("b", b, "int8", B, data)]
        if a == (1, 1, 33):
            operands[1] = operands[0]
        graphs.append(op_graph(MatMul(*NAME, 0.5, clamps[i % 2]), operands, results[i % 3]))
    return graphs


def test_c_code() -> None:
    check_graphs(matmul_cases())


def test_integers_are_within_half_a_step_of_real_numbers() -> None:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-128, 128, (20, n, 16)).astype(np.int8) for n in (5, 6))
    operands = [Value("a", (1, 5, 16), "int8", A), Value("b", (1, 6, 16), "int8", B)]
    op = MatMul(*NAME, factor=0.25)
    (have,) = op.evaluate_int(operands, [Value("y", (1, 5, 6), "int8", QParams((0.1,), 4))], [a, b])
    (real,) = op.evaluate([A.dequantize(a).astype(np.float64), B.dequantize(b)])
    assert np.abs(have - np.clip(real / 0.1 + 4, -128, 127)).max() <= 0.501


def test_sums_that_leave_32_bits_are_refused() -> None:
    a, y = Value("a", (1, 1, 40_000), "int8", A), Value("y", (1, 1, 1), "int8", QParams((900.0,)))
    with pytest.raises(QuantizationError, match="MC201"):
        MatMul(*NAME).lower([a, a], [y], Target())


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 3, 4), (1, 4, 5)),
        ((1, 2, 3, 4), (1, 2, 4, 5)),
        ((1, 2, 3, 4), (1, 1, 4, 5)),
        ((1, 1, 3, 4), (1, 2, 4, 5)),
        ((1, 2, 3, 4), (1, 4, 5)),
        ((1, 4), (1, 4, 5)),
    ],
)
def test_import_of_two_activations(a: Shape, b: Shape) -> None:
    check_node("MatMul", {"a": a, "b": b}, samples=2 if len(a) == len(b) else 1)


def test_import_with_constants() -> None:
    rng = np.random.default_rng(2)
    graph = check_node("MatMul", {"x": (1, 4, 5)}, {"w": rng.normal(size=(3, 4))}, order=["w", "x"])
    assert "Dense" in kinds(graph)
    check_node("MatMul", {"x": (1, 2, 4, 5)}, {"w": rng.normal(size=(3, 4))}, order=["w", "x"])
    graph = check_node("MatMul", {"x": (1, 2, 4, 5)}, {"w": rng.normal(size=(2, 5, 3))})
    assert "MatMul" in kinds(graph)
    check_node("MatMul", {"x": (1, 4, 5)}, {"w": rng.normal(size=5)})
    three = {"a": (1, 2, 3, 4, 5), "b": (1, 2, 1, 5, 6)}
    check_refused("the same axes before", "MatMul", three)


@pytest.mark.parametrize("attributes", [{}, {"alpha": 0.5}, {"alpha": -0.5, "beta": 2.0}])
def test_import_of_gemm(attributes: dict[str, float]) -> None:
    rng = np.random.default_rng(3)
    w, row, column = (rng.normal(size=shape) for shape in ((4, 3), (1, 3), (1, 1)))
    operands = {"a": (1, 4), "c": (1, 3)}
    check_node("Gemm", operands, {"w": w}, order=["a", "w", "c"], **attributes)
    check_node("Gemm", {"a": (1, 1)}, {"w": row, "c": column}, transA=1, **attributes)
    two = {"a": (1, 4), "b": (1, 4)}
    check_node("Gemm", two, transB=1, samples=1, **attributes)
    check_node("Gemm", two, {"c": column}, transB=1, samples=1, **attributes)
    check_node("Gemm", two, {"c": rng.normal(size=(4, 1))}, transA=1, samples=1, **attributes)


def _attention() -> onnx.ModelProto:
    """One head of self-attention, as exporters write it."""
    rng = np.random.default_rng(4)
    node = helper.make_node
    nodes = [
        *(node("MatMul", ["x", f"w{c}"], [c], c) for c in "qkv"),
        node("Transpose", ["k"], ["t"], "t", perm=[0, 2, 1]),
        node("MatMul", ["q", "t"], ["s"], "s"),
        node("Mul", ["s", "scale"], ["z"], "z"),
        node("Softmax", ["z"], ["p"], "p", axis=-1),
        node("MatMul", ["p", "v"], ["y"], "y"),
    ]
    weights = {f"w{c}": rng.normal(size=(8, 8)) for c in "qkv"} | {"scale": np.array(8**-0.5)}
    return model_of(nodes, {"x": (1, 6, 8)}, {"y": (1, 6, 8)}, weights)


def test_attention_needs_one_transpose() -> None:
    """That of the values; the transposed keys are what the kernel wants."""
    graph = normalized(_attention())
    assert sorted(kinds(graph)) == ["Dense"] * 3 + ["MatMul"] * 2 + ["Softmax", "Transpose"]
    factors = [op.factor for op in graph.ops_of(MatMul)]  # type: ignore[attr-defined]
    assert factors == [pytest.approx(8**-0.5), 1.0]


@pytest.mark.parametrize(
    ("equation", "a", "b"),
    [
        ("bij,bjk->bik", (1, 3, 4), (1, 4, 5)),
        ("bij, bkj -> bki", (1, 3, 4), (1, 5, 4)),
        ("aecd,abcd->acbe", (1, 5, 2, 3), (1, 4, 2, 3)),
        ("acbe,aecd->abcd", (1, 2, 4, 5), (1, 5, 2, 3)),
    ],
)
def test_import_of_einsum(equation: str, a: Shape, b: Shape) -> None:
    check_node("Einsum", {"a": a, "b": b}, equation=equation)


def test_import_of_einsum_with_a_constant() -> None:
    rng = np.random.default_rng(5)
    for equation, x, w in [
        ("abc,cde->abde", (1, 4, 6), (6, 2, 3)),
        ("abcd,cde->abe", (1, 4, 2, 3), (2, 3, 6)),
        ("ij,jk", (1, 4), (4, 5)),
    ]:
        graph = check_node("Einsum", {"x": x}, {"w": rng.normal(size=w)}, equation=equation)
        assert "Dense" in kinds(graph)
    order = {"order": ["w", "x"]}
    w = {"w": rng.normal(size=(5, 4))}
    check_node("Einsum", {"x": (1, 4, 3)}, w, equation="kj,bji->bki", **order)
    w = {"w": rng.normal(size=(2, 4, 5))}
    check_node("Einsum", {"x": (1, 2, 3, 4)}, w, equation="bhij,hjk->bhik")


@pytest.mark.parametrize(
    ("equation", "why"),
    [
        ("bij,bij->bij", "element by element"),
        ("bij,bik->bk", "sums one operand alone"),
        ("b...,b...->b...", "no product of two"),
        ("bii,bij->bj", "no product of two"),
    ],
)
def test_other_einsums_are_refused(equation: str, why: str) -> None:
    check_refused(why, "Einsum", {"a": (1, 3, 3), "b": (1, 3, 3)}, equation=equation)
