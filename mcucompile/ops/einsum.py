"""Einsum of two tensors: a dense layer or a product of matrices, between Transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Value
from mcucompile.ops.dense import Dense
from mcucompile.ops.matmul import MatMul
from mcucompile.ops.reshape import Reshape, view
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.weights import import_bias, rearranged


@dataclass(frozen=True)
class _Equation:
    """The labels of axes, each a letter: of operands a and b, and of the result."""

    a: str
    b: str
    result: str

    @property
    def batch(self) -> str:
        return "".join(c for c in self.result if c in self.a and c in self.b)

    @property
    def summed(self) -> str:
        return "".join(c for c in self.a if c in self.b and c not in self.result)

    def own(self, labels: str) -> str:
        """Those of one operand's labels that the other has not."""
        other = self.b if labels == self.a else self.a
        return "".join(c for c in self.result if c in labels and c not in other)


def _parsed(node: OnnxNode) -> _Equation:
    """The equation of a node of two operands; refuses what is no product of matrices."""
    text = str(node.attrs["equation"]).replace(" ", "")
    operands, _, result = text.partition("->")
    labels = operands.split(",")
    if "->" not in text:
        every = operands.replace(",", "")
        result = "".join(sorted(c for c in set(every) if every.count(c) == 1))
    if len(labels) != 2 or "." in text or any(len(set(s)) < len(s) for s in (*labels, result)):
        node.unsupported(
            f"'{text}' is no product of two tensors, with a letter for each axis",
            "write it with MatMul, Transpose and ReduceSum",
        )
    a, b = labels
    if set(a) ^ set(b) != set(result) - (set(a) & set(b)) or a == b:
        node.unsupported(
            f"'{text}' sums one operand alone, or multiplies element by element",
            "write it with ReduceSum and Mul",
        )
    return _Equation(a, b, result)


@onnx_import("Einsum")
def import_einsum(node: OnnxNode) -> Value:
    equation = _parsed(node)
    a, b = node.operand(0), node.operand(1)
    if a.is_constant:
        equation, a, b = _Equation(equation.b, equation.a, equation.result), b, a
    sizes = dict(zip(equation.a, a.shape, strict=True)) | dict(
        zip(equation.b, b.shape, strict=True)
    )
    batch, summed = equation.batch, equation.summed
    left, right = equation.own(equation.a), equation.own(equation.b)

    def shape(labels: str) -> tuple[int, ...]:
        return tuple(sizes[c] for c in labels)

    depth = math.prod(shape(summed))
    a = _arranged(node, a, equation.a, batch + left + summed, "left")
    b = _arranged(node, b, equation.b, batch + right + summed, "right")
    if b.is_constant and not batch:
        x = view(node, a, (*shape(left), depth))
        w = view(node, b, (math.prod(shape(right)), depth))
        y = node.add_inner(Dense(*node.fresh()), x, w, import_bias(node, None, w.shape[0]))
    else:
        lead = shape(batch) or (1,)
        x = view(node, a, (*lead, math.prod(shape(left)), depth))
        z = view(node, b, (*lead, math.prod(shape(right)), depth))
        y = node.add_inner(MatMul(*node.fresh()), x, z)
    y = node.add_inner(Reshape(*node.fresh("axes"), shape=shape(batch + left + right)), y)
    return node.add(Transpose(*node.fresh(), perm=_perm(batch + left + right, equation.result)), y)


def _perm(labels: str, wanted: Sequence[str]) -> tuple[int, ...]:
    return tuple(labels.index(c) for c in wanted)


def _arranged(node: OnnxNode, value: Value, labels: str, wanted: str, suffix: str) -> Value:
    """`value` with its axes in the order `wanted`."""
    perm = _perm(labels, wanted)
    if value.is_constant:
        return rearranged(node, value, lambda data: np.transpose(data, perm))
    return node.add_inner(Transpose(*node.fresh(suffix), perm=perm), value)
