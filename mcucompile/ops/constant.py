"""A model output that is the same for every input: anchors of a detector, class tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.ir import Array, Op, QParams, QuantRule, Shape, Value
from mcucompile.plan.program import KernelCall, Operand, Target
from mcucompile.quant.constants import range_qparams


@dataclass(frozen=True)
class Constant(Op):
    """The first operand, a constant, whatever the second one, an activation.

    stored: how it is. The activation is there because an operator must depend on the input, and
    its batch is the result's.
    """

    stored: QParams

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        constant, other = operands
        return (np.repeat(constant, len(other), axis=0),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return self.evaluate(arrays)

    def fixed_qparams(self) -> QParams:
        return self.stored

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        constant, other = operands
        data = self.stored.quantize(constant.real)
        return replace(constant, dtype="int8", qparams=self.stored, data=data), other

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.real(operands[0])

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return KernelCall(
            op=self.name,
            kernel="mcuc_concat_s8",
            header="mcuc/concat.h",
            params={"count": 1, "pixels": 1},
            reads=tuple(Operand(v.name, 1, v.elements) for v in operands),
            writes=(Operand(results[0].name, 1, results[0].elements),),
            why="an output that does not depend on the input",
        )


def storage(constant: Value) -> QParams:
    """How to store a constant as activation: as it is, if that is in 8 bits with one scale."""
    q = constant.qparams
    if q is not None and q.axis is None and constant.dtype == "int8":
        return q
    real = constant.real
    return range_qparams(float(real.min()), float(real.max()))
