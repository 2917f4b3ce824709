"""Mul of two tensors: the gates of squeeze-and-excite blocks, and tensors of constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.broadcast import as_int8_operands, walk
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.bounds import within_int32
from mcucompile.quant.numbers import Requant, requant


@dataclass(frozen=True)
class Mul(Op):
    """clamp(x1 * x2): operands of equal shape (or broadcastable, as in numpy).

    In integers requant((x1 - zp1) * (x2 - zp2)).
    """

    is_rowwise = True

    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        a, b = operands
        return (np.broadcast_shapes(a.shape, b.shape),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        y = operands[0] * operands[1]
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> Requant:
        a, b, y = operands[0].q, operands[1].q, results[0].q
        rule = requant([a.scale[0] * b.scale[0] / y.scale[0]], y, self.clamp)
        return within_int32(self, rule, 255 * 255)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        a, b = (x.astype(np.int64) - v.q.zero_point for x, v in zip(arrays, operands, strict=True))
        return (self._rule(operands, results).apply(a * b),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        return as_int8_operands(operands)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        loops = walk([v.shape for v in operands])
        params = {
            **loops.params(),
            "zp1": operands[0].q.zero_point,
            "zp2": operands[1].q.zero_point,
            "m": rule.m[0],
            "shift": rule.shift,
            "zp": rule.zero_point,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_mul_s8",
            header="mcuc/mul.h",
            params=params,
            reads=tuple(loops.operand(v, slot) for slot, v in enumerate(operands)),
            writes=(loops.result(results[0]),),
            in_place=loops.in_place(),
            row_unit=loops.row_unit(),
            why="element by element, in words where both operands go on",
        )


@onnx_import("Mul")
def import_mul(node: OnnxNode) -> Value:
    op = Mul(*node.fresh())
    a, b = node.operand(0), node.operand(1)
    walk([a.shape, b.shape])  # refuses what no kernel could do
    return node.add(op, a, b)


@onnx_import("Div")
def import_div(node: OnnxNode) -> Value:
    """Division by a constant is multiplication by its reciprocal."""
    divisor = node.constant(1, "divisor")
    if not np.all(divisor):
        node.unsupported("its divisor holds zeros", "repair the model")
    inverse = node.graph.constant(f"{node.name}.inverse", 1.0 / divisor.astype(np.float64))
    op = Mul(*node.fresh())
    a = node.operand(0)
    walk([a.shape, inverse.shape])  # refuses what no kernel could do
    return node.add(op, a, inverse)
