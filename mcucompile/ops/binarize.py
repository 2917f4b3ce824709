"""The sign of a number, +1 for zero; as int8 numbers, or as bits for binary layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.ir import Array, Op, QParams, QuantRule, Shape, Value
from mcucompile.ir.storage import BIT, UNIT, stored_bytes
from mcucompile.ops.table import Table
from mcucompile.plan.program import KernelCall, Operand, Target, height


def bipolar(x: Array) -> Array:
    """+1 where x >= 0, -1 elsewhere, in the type of x."""
    return np.where(x >= 0, 1, -1).astype(x.dtype)


@dataclass(frozen=True)
class Bipolar(Table):
    """+1 where x >= 0, -1 elsewhere."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED
    takes_sign: ClassVar[bool] = True

    def real(self, x: Array) -> Array:
        return bipolar(x)

    def fixed_qparams(self) -> QParams:
        return UNIT


@dataclass(frozen=True)
class Binarize(Op):
    """+1 where x >= 0, -1 elsewhere; stored as bits."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED
    is_rowwise: ClassVar[bool] = True
    takes_sign: ClassVar[bool] = True

    def fixed_qparams(self) -> QParams:
        return UNIT

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return BIT

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (bipolar(operands[0]),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        above_zero = arrays[0].astype(np.int16) - operands[0].q.zero_point
        return (bipolar(above_zero).astype(np.int8),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        x, y = operands[0], results[0]
        rows, channels = height(x.shape), x.shape[-1]
        return KernelCall(
            op=self.name,
            kernel="mcuc_binarize_b1",
            header="mcuc/binarize.h",
            params={
                "pixels": x.elements // channels // rows,
                "channels": channels,
                "zp": x.q.zero_point,
            },
            reads=(Operand(x.name, rows, x.elements // rows),),
            writes=(Operand(y.name, rows, stored_bytes(y) // rows),),
            band=1,
            why="the sign of each number as a bit, 32 channels in a word",
        )
