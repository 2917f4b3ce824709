"""Concat along any axis: the operands' bytes side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.plan.program import KernelCall, Operand, Target


@dataclass(frozen=True)
class Concat(Op):
    """Operands of equal shape but for `axis` (not the batch), one after the other."""

    axis: int = -1

    quant_rule = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        first = list(operands[0].shape)
        for v in operands[1:]:
            rest = [d for i, d in enumerate(v.shape) if i != self.axis]
            if rest != [d for i, d in enumerate(first) if i != self.axis]:
                raise ValueError(f"operands {first} and {v.shape} differ beside axis {self.axis}")
        first[self.axis] = sum(v.shape[self.axis] for v in operands)
        return (tuple(first),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        batch = max(a.shape[0] for a in operands)  # constants have batch 1
        same = [np.broadcast_to(a, (batch, *a.shape[1:])) for a in operands]
        return (np.concatenate(same, axis=self.axis),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return KernelCall(
            op=self.name,
            kernel="mcuc_concat_s8",
            header="mcuc/concat.h",
            params={"count": len(operands), "pixels": math.prod(results[0].shape[: self.axis])},
            reads=tuple(Operand(v.name, 1, v.elements) for v in operands),
            writes=(Operand(results[0].name, 1, results[0].elements),),
            why="pixels of each operand are copied side by side",
        )


@onnx_import("Concat")
def import_concat(node: OnnxNode) -> Value:
    operands = [node.operand(i) for i in range(len(node.inputs))]
    axis = int(node.attrs["axis"]) % len(operands[0].shape)
    if axis == 0:
        node.unsupported("it joins along the batch axis", "export the model for batch size 1")
    return node.add(Concat(*node.fresh(), axis=axis), *operands)
