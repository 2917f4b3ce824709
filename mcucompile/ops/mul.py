"""Mul of two tensors: the gates of squeeze-and-excite blocks, and tensors of constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Elementwise
from mcucompile.ops.pairwise import Pairwise, add_pairwise
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.bounds import within_int32
from mcucompile.quant.numbers import Requant, requant


@dataclass(frozen=True)
class Mul(Pairwise):
    """clamp(x1 * x2): operands of equal shape (or broadcastable, as in numpy).

    In integers requant((x1 - zp1) * (x2 - zp2)).
    """

    clamp: tuple[float, float] | None = None

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

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return Elementwise(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.clipped(out.add(self.kind, *map(out.real, operands)), self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        params = {
            "zp1": operands[0].q.zero_point,
            "zp2": operands[1].q.zero_point,
            "m": rule.m[0],
            "shift": rule.shift,
            "zp": rule.zero_point,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        why = "element by element, in words where both operands go on"
        return self.call("mcuc_mul_s8", "mcuc/mul.h", operands, results, params, why)


@onnx_import("Mul")
def import_mul(node: OnnxNode) -> Value:
    return add_pairwise(node, Mul(*node.fresh()), node.operand(0), node.operand(1))
