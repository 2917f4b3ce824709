"""Functions of one number, element by element: a table of 256 bytes, whatever the function."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.ir import Array, Op, QParams, Shape, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules
from mcucompile.ops.channelwise import Channelwise
from mcucompile.plan.program import Const, KernelCall, Operand, Target

Steps = tuple[tuple[Op, tuple[int, ...]], ...]


def tabulate(f: Callable[[Array], Array], operand: QParams, result: QParams) -> Array:
    """int8 results for the operands 0, 1, ... 127, -128, ... -1, that is by byte, shape (256,).

    Where f has no number for an operand (the logarithm of 0), that of the nearest operand
    which has one stands in; where it has none at all, the zero-point.
    """
    q = np.arange(-128, 128)
    with np.errstate(all="ignore"):
        y = f(operand.dequantize(q).astype(np.float64))
    known = np.flatnonzero(~np.isnan(y))
    if known.size == 0:
        y, known = np.zeros(256), np.arange(256)
    nearest = known[np.abs(np.arange(256)[:, None] - known).argmin(axis=1)]
    limit = 1e30  # beyond int8 at any scale, and no infinity
    return np.roll(result.quantize(np.clip(y[nearest], -limit, limit)), 128)


def requantizer(operand: QParams, result: QParams) -> Array:
    """The table of the identity."""
    return tabulate(lambda x: x, operand, result)


@dataclass(frozen=True)
class _TableChannels(Channelwise):
    """The rules of a table."""

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        every = np.arange(-128, 128).astype(np.int8)
        (table,) = self.op.evaluate_int(self.operands, self.results, [every])
        parts = [
            table[lo + 128 : hi + 129]
            for lo, hi in zip(operands[0].lo, operands[0].hi, strict=True)
        ]
        lowest, highest = ([int(f(part)) for part in parts] for f in (np.min, np.max))
        return (ChannelRange(np.array(lowest), np.array(highest)),)


@dataclass(frozen=True)
class Table(Op):
    """y = f(x) for each element of the only operand."""

    is_rowwise = True
    is_pixelwise = True

    @abstractmethod
    def real(self, x: Array) -> Array:
        """f on float64 numbers of any shape."""

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self.real(operands[0].astype(np.float64)).astype(np.float32),)

    def table(self, operand: QParams, result: QParams) -> Array:
        """What the integers of the result are; see `tabulate`."""
        return tabulate(self.real, operand, result)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self.table(operands[0].q, results[0].q)[arrays[0].view(np.uint8)],)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return _TableChannels(self, tuple(operands), tuple(results))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        size = results[0].elements
        table = self.table(operands[0].q, results[0].q)
        return KernelCall(
            op=self.name,
            kernel="mcuc_lut_s8",
            header="mcuc/lut.h",
            params={"width": size, "table": Const("table", table)},
            reads=(Operand(operands[0].name, 1, size),),
            writes=(Operand(results[0].name, 1, size),),
            in_place=((0, 0),),
            row_unit="width",
            pitched=True,
            tile=(4, 4),
            why="any function of one byte is a table of 256",
        )


@dataclass(frozen=True)
class Formula(Table):
    """Operators on one number, computed one after the other.

    steps: each an operator and where its operands are: 0 is the number, i the result of step i.
    """

    steps: Steps

    @property
    def kind(self) -> str:
        return "Formula"

    def real(self, x: Array) -> Array:
        known = [x]
        with np.errstate(all="ignore"):  # what is infinite on the way need not be in the end
            for op, slots in self.steps:
                operands = [known[slot] for slot in slots]
                known.append(_real(op, operands))
        return known[-1]

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        known = [operands[0]]
        for op, slots in self.steps:
            y = op.to_onnx(out, [known[slot] for slot in slots], results)
            known.append(Value(y, results[0].shape))
        return known[-1].name


def _real(op: Op, operands: Sequence[Array]) -> Array:
    """The result of `op`, float64 if it is a Table."""
    return op.real(*operands) if isinstance(op, Table) else op.evaluate(operands)[0]
