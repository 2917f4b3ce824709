"""Transpose, and the two Transposes that every importer of a spatial operator wraps around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.types import TO_NCHW, TO_NHWC
from mcucompile.ops.channelwise import Monotone
from mcucompile.ops.move import Move, in_rows, strides
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import Const, KernelCall, Operand, Target

SCRATCH = 256  # bytes, for the tiles of a matrix that is transposed in place
MOST = 2**15  # blocks


@dataclass(frozen=True)
class Transpose(Op):
    """Result axis i is operand axis perm[i], as in numpy and ONNX."""

    perm: tuple[int, ...]

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        if sorted(self.perm) != list(range(len(shape))):
            raise ValueError(f"{self.perm} does not permute the axes of {shape}")
        return (tuple(shape[p] for p in self.perm),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (np.ascontiguousarray(operands[0].transpose(self.perm)),)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        kind = Monotone if self.perm[-1] == len(self.perm) - 1 else ChannelRules
        return kind(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.add("Transpose", out.real(operands[0]), perm=self.perm)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        shape = operands[0].shape
        why = f"{list(shape)} by {list(self.perm)}, which no neighbour could undo"
        found = move(shape, self.perm)
        loops = found.loops()
        blocks = Blocks.of(loops[1].size, loops[0].size) if len(loops) == 2 else None
        if blocks is None or (target.optimize == "time" and not blocks.are_words):
            return found.call(self, operands[0], results[0], why)
        return blocks.call(self, operands[0], results[0], why)


@dataclass(frozen=True)
class Blocks:
    """How a matrix of bytes is transposed in place; see the kernel.

    The blocks lie along the longer side: of `block` bytes in a row, or, if `tiles_first`, what
    `block` bytes of a column become.
    """

    rows: int
    cols: int
    block: int
    tiles_first: bool

    @classmethod
    def of(cls, rows: int, cols: int) -> Blocks | None:
        """The way with the fewest instructions; None if there are too many blocks."""
        long, short = max(rows, cols), min(rows, cols)
        sizes = [n for n in range(1, long + 1) if long % n == 0 and n * short <= SCRATCH]
        block = max(sizes, key=lambda n: (n % 16 == 0, n % 4 == 0, n), default=1)
        return cls(rows, cols, block, rows > cols) if rows * cols // block <= MOST else None

    @property
    def are_words(self) -> bool:
        """Do blocks move as whole words?"""
        return self.block % 4 == 0

    def leaders(self) -> Array:
        """The first position of each cycle of more than one block, then 0: int16."""
        rows, cols = self.rows, self.cols
        rows, cols = (rows // self.block, cols) if self.tiles_first else (rows, cols // self.block)
        done = np.zeros(rows * cols, dtype=bool)
        found = []
        for first in range(1, rows * cols - 1):
            at, length = first, 0
            while not done[at]:
                done[at] = True
                at, length = at % rows * cols + at // rows, length + 1
            if length > 1:
                found.append(first)
        return np.array([*found, 0], dtype=np.int16)

    def call(self, op: Op, operand: Value, result: Value, why: str) -> KernelCall:
        """The kernel call that transposes `operand` for `op`, in place or not."""
        return KernelCall(
            op=op.name,
            kernel="mcuc_transpose_s8",
            header="mcuc/transpose.h",
            params={
                "rows": self.rows,
                "cols": self.cols,
                "block": self.block,
                "tiles_first": int(self.tiles_first),
                "leaders": Const("leaders", self.leaders()),
            },
            reads=(Operand(operand.name, 1, operand.elements),),
            writes=(in_rows(result),),
            scratch=self.block * min(self.rows, self.cols),
            in_place=((0, 0),),
            why=why,
        )


def move(shape: Shape, perm: Sequence[int]) -> Move:
    """Where the elements of `shape` transposed by `perm` come from."""
    steps = tuple(strides(shape))
    return Move([shape[axis] for axis in perm], [steps[axis] for axis in perm])


@onnx_import("Transpose")
def import_transpose(node: OnnxNode) -> Value:
    x = node.operand(0)
    perm = tuple(node.attrs.get("perm", range(len(x.shape))[::-1]))
    move(x.shape, perm).check(node)
    return node.add(Transpose(*node.fresh(), perm=perm), x)


def to_nhwc(node: OnnxNode, value: Value) -> Value:
    """`value`, (N, C, H, W) or (N, C, W), as (N, H, W, C) with H = 1 where it has none."""
    if len(value.shape) == 4:
        return node.add_inner(Transpose(*node.fresh("to_nhwc"), perm=TO_NHWC), value)
    if len(value.shape) != 3:
        node.unsupported(
            f"its input has the shape {list(value.shape)}", "only 1-D and 2-D images are supported"
        )
    nwc = node.add_inner(Transpose(*node.fresh("to_nwc"), perm=(0, 2, 1)), value)
    n, w, c = nwc.shape
    return node.add_inner(Reshape(*node.fresh("to_nhwc"), shape=(n, 1, w, c)), nwc)


def to_nchw(node: OnnxNode, value: Value, rank: int = 4) -> Value:
    """`value`, (N, H, W, C), as (N, C, H, W), or as (N, C, W) with `rank` 3 and H = 1."""
    if rank == 4:
        return node.add_inner(Transpose(*node.fresh("to_nchw"), perm=TO_NCHW), value)
    n, _, w, c = value.shape
    nwc = node.add_inner(Reshape(*node.fresh("to_nwc"), shape=(n, w, c)), value)
    return node.add_inner(Transpose(*node.fresh("to_ncw"), perm=(0, 2, 1)), nwc)
