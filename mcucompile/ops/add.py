"""Add and Sub of two tensors, Sum and Mean of any number: residual connections, and constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Elementwise
from mcucompile.ops.pairwise import Pairwise, add_chain, add_pairwise
from mcucompile.ops.unary import ScaleShift
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.numbers import WeightedSum, weighted_sum
from mcucompile.quant.tflite import AddRule, add_rule


@dataclass(frozen=True)
class Add(Pairwise):
    """clamp(x1 + sign * x2): operands of equal shape (or broadcastable, as in numpy)."""

    rounds_as_tflite = True

    sign: int = 1
    clamp: tuple[float, float] | None = None

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        a, b = operands
        y = a + np.float32(self.sign) * b
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def _sum(self, operands: Sequence[Value], results: Sequence[Value]) -> WeightedSum:
        try:
            return weighted_sum([v.q for v in operands], (1, self.sign), results[0].q, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def _tflite(self, operands: Sequence[Value], results: Sequence[Value]) -> AddRule:
        try:
            return add_rule([v.q for v in operands], self.sign, results[0].q, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        if self.rounding == "tflite":
            return (self._tflite(operands, results).apply(*arrays),)
        return (self._sum(operands, results).apply(arrays),)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return Elementwise(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        kind = "Add" if self.sign > 0 else "Sub"
        return out.clipped(out.add(kind, *map(out.real, operands)), self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        if self.rounding == "tflite":
            return self._lower_tflite(operands, results)
        rule = self._sum(operands, results)
        params = {
            "m1": rule.m[0],
            "m2": rule.m[1],
            "offset": rule.offset,
            "shift": rule.shift,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        why = "element by element, in words where both operands go on"
        return self.call("mcuc_add_s8", "mcuc/add.h", operands, results, params, why)

    def _lower_tflite(self, operands: Sequence[Value], results: Sequence[Value]) -> KernelCall:
        rule = self._tflite(operands, results)
        params = {
            "zp1": rule.zero_points[0],
            "zp2": rule.zero_points[1],
            "zp": rule.zero_points[2],
            "m1": rule.first.m,
            "e1": rule.first.exponent,
            "m2": rule.second.m,
            "e2": rule.second.exponent,
            "m": rule.total.m,
            "e": rule.total.exponent,
            "sign": rule.sign,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        why = "rounded as TFLite does"
        return self.call("mcuc_add_tflite_s8", "mcuc/tflite.h", operands, results, params, why)


@onnx_import("Add", "Sub")
def import_add(node: OnnxNode) -> Value:
    sign = 1 if node.op_type == "Add" else -1
    op = Add(*node.fresh(), sign=sign)
    return add_pairwise(node, op, node.operand(0), node.operand(1))


@onnx_import("Sum")
def import_sum(node: OnnxNode) -> Value:
    return add_chain(node, Add)


@onnx_import("Mean")
def import_mean(node: OnnxNode) -> Value:
    total = add_chain(node, Add, inner=True)
    return node.add(ScaleShift(*node.fresh(), scale=1.0 / len(node.inputs), offset=0.0), total)
