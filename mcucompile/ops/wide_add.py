"""Weighted sums of activations of which some are int16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcucompile.ir import Array, Value
from mcucompile.ir.storage import stored_bytes
from mcucompile.ops.add import Add
from mcucompile.ops.broadcast import walk
from mcucompile.ops.wide import Wide, bounds, operand, why
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.wide import WideSum, wide_sum


@dataclass(frozen=True)
class WideAdd(Wide, Add):
    """clamp(x1 + sign * x2)."""

    def _wide_sum(self, operands: Sequence[Value], result: Value) -> WideSum:
        try:
            return wide_sum([v.q for v in operands], (1, self.sign), result.q, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._wide_sum(operands, results[0]).apply(arrays),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule, result = self._wide_sum(operands, results[0]), results[0]
        loops = walk([v.shape for v in operands])
        rows = [loops.operand(v, slot).rows for slot, v in enumerate(operands)]
        params: dict[str, int | float | Const] = {**loops.params()}
        for i, (v, m, zero) in enumerate(zip(operands, rule.m, rule.zeros, strict=True), 1):
            params |= {f"bits{i}": v.q.bits, f"zp{i}": zero, f"m{i}": m}
        sizes = [stored_bytes(v) for v in operands]
        return KernelCall(
            op=self.name,
            kernel="mcuc_add_s16",
            header="mcuc/add_s16.h",
            params={**params, "shift": rule.rule.shift[0], **bounds(rule.rule)},
            reads=tuple(operand(v, n) for v, n in zip(operands, rows, strict=True)),
            writes=(operand(result, loops.dims[0]),),
            in_place=tuple(p for p in loops.in_place() if sizes[p[0]] == stored_bytes(result)),
            row_unit=loops.row_unit(),
            why=why(operands, result),
        )
