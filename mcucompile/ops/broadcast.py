"""How two operands of different shapes walk over their result.

A kernel of two operands computes rows of `pixels` times `width` bytes. An operand that is
broadcast repeats a row, a pixel or a byte: its stride there is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Shape, Value
from mcucompile.plan.program import Operand
from mcucompile.quant.constants import quantize_per_tensor


@dataclass(frozen=True)
class Walk:
    """The loops of a kernel: result dimensions and, for each operand, which of them it has.

    dims: (rows, pixels, width). has: per operand, three flags.
    """

    dims: tuple[int, int, int]
    has: tuple[tuple[bool, bool, bool], ...]

    def operand(self, value: Value, slot: int) -> Operand:
        rows = self.dims[0] if self.has[slot][0] else 1
        return Operand(value.name, rows, value.elements // rows)

    def result(self, value: Value) -> Operand:
        return Operand(value.name, self.dims[0], self.dims[1] * self.dims[2])

    def params(self) -> dict[str, int]:
        """The fields `pixels`, `width`, and `pixel<i>`, `step<i>`: operand i's strides in bytes."""
        fields = {"pixels": self.dims[1], "width": self.dims[2]}
        for i, (_, pixels, width) in enumerate(self.has, 1):
            inner = self.dims[2] if width else 1
            fields |= {f"pixel{i}": inner if pixels else 0, f"step{i}": int(width)}
        return fields

    def row_unit(self) -> str:
        """KernelCall.row_unit: the outermost loop within the only row."""
        if self.dims[0] > 1:
            return ""
        return "pixels" if self.dims[1] > 1 else "width"

    def in_place(self) -> tuple[tuple[int, int], ...]:
        """The operands that have the result's size may give it their bytes."""
        return tuple(
            (slot, 0)
            for slot, has in enumerate(self.has)
            if all(h or d == 1 for h, d in zip(has, self.dims, strict=True))
        )


def walk(shapes: Sequence[Shape]) -> Walk:
    """The loops over the broadcast result of operands of `shapes`.

    Neighbouring axes on which the same operands are broadcast become one. Raises ValueError if the
    shapes do not go together, or leave more than three axes.
    """
    result = np.broadcast_shapes(*shapes)
    full = [(1,) * (len(result) - len(s)) + tuple(s) for s in shapes]
    dims: list[int] = []
    has: list[tuple[bool, ...]] = []
    for axis, d in enumerate(result):
        flags = tuple(s[axis] == d for s in full)
        if d == 1:
            continue
        if has and has[-1] == flags:
            dims[-1] *= d
        else:
            dims.append(d)
            has.append(flags)
    missing = 3 - len(dims)
    if missing < 0:
        raise ValueError(f"{' and '.join(map(str, shapes))} broadcast on too many axes")
    dims = [1] * missing + dims
    # An axis of length 1 counts as had: its stride does not matter.
    has = [(True,) * len(shapes)] * missing + has
    rows, pixels, width = dims
    return Walk((rows, pixels, width), tuple((h[0], h[1], h[2]) for h in zip(*has, strict=True)))


def as_int8_operands(operands: Sequence[Value]) -> tuple[Value, ...]:
    """The operands with every constant as a kernel reads it: int8 with one scale.

    A model's own integers stay what they are, unless they are int32 or quantized by channel.
    """
    return tuple(quantize_per_tensor(v) if _needs_int8(v) else v for v in operands)


def _needs_int8(value: Value) -> bool:
    if not value.is_constant:
        return False
    return value.qparams is None or value.dtype != "int8" or value.qparams.axis is not None
