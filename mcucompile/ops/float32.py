"""Operators that compute in float32, between a ToFloat and a FromFloat (`border.py`).

`mcucompile.quant.float_layers` puts them where integers are not enough; `mcucompile.ops.floated`
says which there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from mcucompile.ir import Box, Op, QParams, QuantRule, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.program import Const, KernelCall, Operand
from mcucompile.quant.float32 import REAL, Clamp, bounds


@dataclass(frozen=True)
class Float(Op):
    """Operands and result are float32, constants, too. All channels stay, whatever they are."""

    takes_float = True
    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return REAL

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return "float32"

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        return tuple(
            replace(v, dtype="float32", qparams=None, data=v.real) if v.is_constant else v
            for v in operands
        )

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return ChannelRules(self, tuple(operands), tuple(results))

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        return None  # operators that cut and join know nothing of float32


def float_operand(value: Value, rows: int = 1) -> Operand:
    """`value` as a kernel sees it, in `rows` rows."""
    return Operand(value.name, rows, stored_bytes(value) // rows)


def float_call(
    op: Op,
    kernel: str,
    header: str,
    params: Mapping[str, int | float | Const],
    clamp: Clamp,
    rows: tuple[int, int],
    x: Value,
    y: Value,
    macs: int = 0,
) -> KernelCall:
    """A call from one activation to one result that works row by row.

    params: all but the last ones, lo and hi. rows: of the operand and of the result.
    """
    lo, hi = bounds(clamp)
    return KernelCall(
        op=op.name,
        kernel=kernel,
        header=header,
        params={**params, "lo": lo, "hi": hi},
        reads=(float_operand(x, rows[0]),),
        writes=(float_operand(y, rows[1]),),
        band=1,
        why=WHY,
        macs=macs,
    )


WHY = "float32 (--float-layers)"
