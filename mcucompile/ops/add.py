"""Add and Sub of two tensors: residual connections, and tensors of constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.broadcast import as_int8_operands, walk
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.numbers import WeightedSum, weighted_sum


@dataclass(frozen=True)
class Add(Op):
    """clamp(x1 + sign * x2): operands of equal shape (or broadcastable, as in numpy)."""

    is_rowwise = True

    sign: int = 1
    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        a, b = operands
        return (np.broadcast_shapes(a.shape, b.shape),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        a, b = operands
        y = a + np.float32(self.sign) * b
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def _sum(self, operands: Sequence[Value], results: Sequence[Value]) -> WeightedSum:
        try:
            return weighted_sum([v.q for v in operands], (1, self.sign), results[0].q, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._sum(operands, results).apply(arrays),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        return as_int8_operands(operands)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._sum(operands, results)
        loops = walk([v.shape for v in operands])
        params = {
            **loops.params(),
            "m1": rule.m[0],
            "m2": rule.m[1],
            "offset": rule.offset,
            "shift": rule.shift,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_add_s8",
            header="mcuc/add.h",
            params=params,
            reads=tuple(loops.operand(v, slot) for slot, v in enumerate(operands)),
            writes=(loops.result(results[0]),),
            in_place=loops.in_place(),
            row_unit=loops.row_unit(),
            why="element by element, in words where both operands go on",
        )


@onnx_import("Add", "Sub")
def import_add(node: OnnxNode) -> Value:
    sign = 1 if node.op_type == "Add" else -1
    op = Add(*node.fresh(), sign=sign)
    a, b = node.operand(0), node.operand(1)
    walk([a.shape, b.shape])  # refuses what no kernel could do
    return node.add(op, a, b)
