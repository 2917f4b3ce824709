"""Operators whose activations may be int16: each operand, and the result, is int8 or int16.

`mcucompile.quant.widen` puts them where 8 bits are too few for the result of a layer;
`mcucompile.ops.widened` says which there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mcucompile.export.writer import NodeWriter
from mcucompile.ir import Array, Box, Op, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.program import KernelCall, Operand, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.wide import DEVIATION, WideRule, wide_rule


@dataclass(frozen=True)
class Wide(Op):
    """bits: of the result, 8 or 16. All channels stay, whatever the weights are."""

    takes_int16 = True

    bits: int = field(default=16, kw_only=True)

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return f"int{self.bits}"

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return ChannelRules(self, tuple(operands), tuple(results))

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        return None  # operators that cut and join know nothing of int16

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        raise self.not_in_onnx("before opset 21 QuantizeLinear knows nothing of int16")


def operand(value: Value, rows: int = 1) -> Operand:
    """`value` as a kernel sees it, in `rows` rows."""
    return Operand(value.name, rows, stored_bytes(value) // rows)


def bounds(rule: WideRule) -> dict[str, int]:
    """The last parameters of every kernel."""
    q = rule.result
    return {"out_bits": q.bits, "zp": q.zero_point, "lo": rule.lo, "hi": rule.hi}


def why(operands: Sequence[Value], result: Value) -> str:
    """Activations of a step for people."""
    given = " and ".join(v.dtype for v in operands if not v.is_constant)
    return f"mixed precision: {given} in, {result.dtype} out"


@dataclass(frozen=True)
class Narrow(Wide):
    """The identity, from int16 to int8: for operators that know nothing of int16."""

    is_rowwise = True

    bits: int = field(default=8, kw_only=True)

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (operands[0],)

    def _rule(self, x: Value, result: Value) -> WideRule:
        try:
            return wide_rule([x.q.scale[0] / result.q.scale[0]], [DEVIATION], result.q)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._rule(operands[0], results[0]).apply(arrays[0]),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        (x,), (y,) = operands, results
        rule = self._rule(x, y)
        params = {"width": y.elements, "m": rule.m[0], "shift": rule.shift[0], "zp": y.q.zero_point}
        return KernelCall(
            op=self.name,
            kernel="mcuc_narrow_s16",
            header="mcuc/narrow_s16.h",
            params=params,
            reads=(operand(x),),
            writes=(operand(y),),
            row_unit="width",
            tile=(2, 1),
            why=why(operands, y),
        )
