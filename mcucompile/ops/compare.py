"""Comparisons, and logic on their answers, which are the numbers 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, QParams, QuantRule, Value
from mcucompile.ops.extremum import Max, Min
from mcucompile.ops.pairwise import Pairwise, add_pairwise
from mcucompile.ops.unary import unary
from mcucompile.plan.program import KernelCall, Target

LESS, EQUAL, GREATER = 1, 2, 4  # bits of Compare.answers
PRECISION = 22  # bits of a multiplier: the difference of two products keeps to 32


@dataclass(frozen=True)
class Compare(Pairwise):
    """1 where x1 and x2 compare as one of `answers` says, else 0.

    In integers the real numbers that are stored are compared: exactly, if their scales are equal.
    """

    answers: int

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return QParams((1.0,), 0)

    def _holds(self, difference: Array) -> Array:
        bits = np.where(difference < 0, LESS, np.where(difference == 0, EQUAL, GREATER))
        return np.asarray(bits & self.answers, dtype=bool)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        a, b = operands
        return (self._holds(a.astype(np.float64) - b).astype(np.float32),)

    def _multipliers(self, operands: Sequence[Value]) -> list[int]:
        scales = [v.q.scale[0] for v in operands]
        return [round(s / max(scales) * 2.0**PRECISION) for s in scales]

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        a, b = (
            (x.astype(np.int64) - v.q.zero_point) * m
            for x, v, m in zip(arrays, operands, self._multipliers(operands), strict=True)
        )
        no, yes = results[0].q.quantize(np.array([0.0, 1.0]))
        return (np.where(self._holds(a - b), yes, no),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        x = [out.real(v) for v in operands]
        if self.answers in _WRITTEN:
            answer = out.add(_WRITTEN[self.answers], *x)
        else:
            others = out.add(_WRITTEN[self.answers & ~GREATER], *x)
            answer = out.add("Or", others, out.add("Greater", *x))
        return out.add("Cast", answer, to=TensorProto.FLOAT)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        m1, m2 = self._multipliers(operands)
        no, yes = results[0].q.quantize(np.array([0.0, 1.0]))
        params = {
            "zp1": operands[0].q.zero_point,
            "zp2": operands[1].q.zero_point,
            "m1": m1,
            "m2": m2,
            "answers": self.answers,
            "no": int(no),
            "yes": int(yes),
        }
        return self.call("mcuc_compare_s8", "mcuc/compare.h", operands, results, params)


_ANSWERS = {
    "Less": LESS,
    "LessOrEqual": LESS | EQUAL,
    "Greater": GREATER,
    "GreaterOrEqual": GREATER | EQUAL,
    "Equal": EQUAL,
    "Xor": LESS | GREATER,
}
_WRITTEN = {answers: kind for kind, answers in _ANSWERS.items() if kind != "Xor"}  # of numbers


@onnx_import(*_ANSWERS)
def import_compare(node: OnnxNode) -> Value:
    op = Compare(*node.fresh(), answers=_ANSWERS[node.op_type])
    return add_pairwise(node, op, node.operand(0), node.operand(1))


@onnx_import("And", "Or")
def import_logic(node: OnnxNode) -> Value:
    kind = Min if node.op_type == "And" else Max
    return add_pairwise(node, kind(*node.fresh()), node.operand(0), node.operand(1))


@onnx_import("Not")
def import_not(node: OnnxNode) -> Value:
    return node.add(unary(node, "not"), node.operand(0))
