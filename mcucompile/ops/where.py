"""Where: one of two tensors, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Value
from mcucompile.ops.pairwise import Pairwise, add_pairwise
from mcucompile.ops.table import requantizer
from mcucompile.plan.program import Const, KernelCall, Target


@dataclass(frozen=True)
class Where(Pairwise):
    """x2 where x1 is not 0, x3 where it is. In integers both are requantized by table."""

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        condition, yes, no = operands
        return (np.where(condition != 0, yes, no),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        yes, no = (
            requantizer(v.q, results[0].q)[x.view(np.uint8)]
            for v, x in zip(operands[1:], arrays[1:], strict=True)
        )
        return (np.where(arrays[0] != operands[0].q.zero_point, yes, no),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        condition, *others = map(out.real, operands)
        return out.add("Where", out.add("Cast", condition, to=TensorProto.BOOL), *others)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        params: dict[str, int | Const] = {"zp": operands[0].q.zero_point}
        for slot in (1, 2):
            table = requantizer(operands[slot].q, results[0].q)
            params[f"table{slot + 1}"] = Const(f"table{slot + 1}", table)
        return self.call("mcuc_where_s8", "mcuc/select.h", operands, results, params)


@onnx_import("Where")
def import_where(node: OnnxNode) -> Value:
    condition = node.operand(0)
    if condition.data is not None and condition.qparams is None:
        condition = node.graph.constant(condition.name, condition.data.astype(bool))
    return add_pairwise(node, Where(*node.fresh()), condition, node.operand(1), node.operand(2))
