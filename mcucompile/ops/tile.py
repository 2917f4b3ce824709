"""Tile and Expand: a tensor repeated along its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ops.move import MOST, Move, strides
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import KernelCall, Target


@dataclass(frozen=True)
class Tile(Op):
    """The operand repeats[i] times along axis i."""

    repeats: tuple[int, ...]

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        if len(shape) != len(self.repeats) or min(self.repeats, default=1) < 1:
            raise ValueError(f"{shape} cannot be repeated {self.repeats} times")
        return (tuple(d * n for d, n in zip(shape, self.repeats, strict=True)),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (np.tile(operands[0], self.repeats),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.add("Tile", out.real(operands[0]), out.ints(self.repeats))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        move = self.move(operands[0].shape)
        return move.call(self, operands[0], results[0], "the same again and again")

    def move(self, shape: Shape) -> Move:
        """Where the elements of the result come from in an operand of `shape`."""
        # Each axis is two: which repetition, and where in it.
        sizes = [n for pair in zip(self.repeats, shape, strict=True) for n in pair]
        steps = [n for step in strides(shape) for n in (0, step)]
        return Move(sizes, steps)


def tile(node: OnnxNode, x: Value, repeats: Sequence[int]) -> Value:
    """The result of `node`: `x` repeated; `x` itself if once."""
    if all(n == 1 for n in repeats):
        return x
    if min(repeats) < 1:
        node.unsupported("its result has no elements", "repair the model")
    op = Tile(*node.fresh(), repeats=tuple(repeats))
    if len(op.move(x.shape).loops()) <= MOST:
        return node.add(op, x)
    half = len(repeats) // 2  # more loops than the kernel has
    inner = Tile(*node.fresh("inner"), repeats=(*[1] * half, *repeats[half:]))
    return tile(node, node.add_inner(inner, x), (*repeats[:half], *[1] * len(repeats[half:])))


@onnx_import("Tile")
def import_tile(node: OnnxNode) -> Value:
    repeats = [int(n) for n in node.constant(1, "repeats").reshape(-1)]
    return tile(node, node.operand(0), repeats)


@onnx_import("Expand")
def import_expand(node: OnnxNode) -> Value:
    x = node.operand(0)
    wish = [int(n) for n in node.constant(1, "shape").reshape(-1)]
    try:
        shape = np.broadcast_shapes(x.shape, tuple(wish))
    except ValueError:
        node.unsupported(f"{list(x.shape)} does not broadcast to {wish}", "repair the model")
    missing = len(shape) - len(x.shape)
    if missing:
        x = node.add_inner(Reshape(*node.fresh("rank"), shape=(1,) * missing + x.shape), x)
    return tile(node, x, [n // d for n, d in zip(shape, x.shape, strict=True)])
