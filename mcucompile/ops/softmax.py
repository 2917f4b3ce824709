"""Softmax over the last axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QParams, QuantRule, Shape, Value
from mcucompile.ops.reshape import reshape, view
from mcucompile.ops.transpose import Transpose
from mcucompile.plan.program import Const, KernelCall, Operand, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.softmax import SoftmaxRule, softmax_rule


@dataclass(frozen=True)
class Softmax(Op):
    """exp(x) / sum(exp(x)) along the last axis."""

    quant_rule = QuantRule.FIXED
    is_rowwise = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        (x,) = operands
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return (e / e.sum(axis=-1, keepdims=True),)

    def fixed_qparams(self) -> QParams:
        return QParams((1.0 / 256.0,), -128)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> SoftmaxRule:
        try:
            return softmax_rule(operands[0].q, results[0].q, operands[0].shape[-1])
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._rule(operands, results).apply(arrays[0]),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.add("Softmax", out.real(operands[0]), axis=-1)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        width = operands[0].shape[-1]
        size = operands[0].elements
        params: dict[str, int | Const] = {
            "pixels": size // width,
            "width": width,
            "table": Const("exp_table", rule.table),
            "entries": rule.table.size,
            "m": rule.m,
            "zp": rule.zero_point,
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_softmax_s8",
            header="mcuc/softmax.h",
            params=params,
            reads=(Operand(operands[0].name, 1, size),),
            writes=(Operand(results[0].name, 1, size),),
            in_place=((0, 0),),
            row_unit="pixels",
            why="integer softmax with a table of exponentials",
        )


@onnx_import("Softmax")
def import_softmax(node: OnnxNode) -> Value:
    x = node.operand(0)
    rank = len(x.shape)
    default = 1 if node.opset < 13 else -1
    axis = int(node.attrs.get("axis", default)) % rank
    if node.opset < 13 and any(d != 1 for d in x.shape[axis + 1 :]):  # over these axes together
        flat = view(node, x, (*x.shape[:axis], math.prod(x.shape[axis:])))
        return reshape(node, node.add_inner(Softmax(*node.fresh()), flat), x.shape)
    if axis == rank - 1:
        return node.add(Softmax(*node.fresh()), x)
    perm = (*(i for i in range(rank) if i != axis), axis)
    moved = node.add_inner(Transpose(*node.fresh("to_last"), perm=perm), x)
    y = node.add_inner(Softmax(*node.fresh()), moved)
    back = tuple(int(i) for i in np.argsort(perm))
    return node.add(Transpose(*node.fresh("back"), perm=back), y)
