"""The largest number in a sliding window over bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcucompile.ir import Value
from mcucompile.ir.storage import BIT, stored_bytes, words_of
from mcucompile.ops.pool import MaxPool
from mcucompile.plan.program import KernelCall, Operand, Target


@dataclass(frozen=True)
class BinaryMaxPool(MaxPool):
    """A MaxPool of bits: is one of them +1?"""

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return BIT

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        x, y = operands[0], results[0]
        call = self._call(operands, results, "mcuc_max_pool_b1", {}, "32 channels at once")
        own = {k: v for k, v in call.params.items() if k not in ("channels", "padded")}
        return replace(
            call,
            header="mcuc/binary_pool.h",
            params={"words": words_of(x.shape[-1]), **own},
            reads=(Operand(x.name, x.shape[1], stored_bytes(x) // x.shape[1]),),
            writes=(Operand(y.name, y.shape[1], stored_bytes(y) // y.shape[1]),),
        )
