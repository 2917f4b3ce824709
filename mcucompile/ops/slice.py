"""Slice and Split: every n-th element of a part of each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Monotone
from mcucompile.ops.move import Move, strides
from mcucompile.plan.program import Inset, KernelCall, Target, inset

BEFORE_FIRST = -(2**31)  # as the end of a Slice that goes backwards
Part = range | None  # indices on an axis; None: all of them, however many there are


@dataclass(frozen=True)
class Slice(Op):
    """Elements of the operand.

    parts: the indices taken on each axis, in their order.
    """

    parts: tuple[Part, ...]

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        if len(shape) != len(self.parts):
            raise ValueError(f"{len(self.parts)} parts for rank {len(shape)}")
        for d, part in zip(shape, self.parts, strict=True):
            if part is not None and not all(0 <= i < d for i in (*part[:1], *part[-1:])):
                raise ValueError(f"{shape} has not the part {self.parts}")
        pairs = zip(shape, self.parts, strict=True)
        return (tuple(d if part is None else len(part) for d, part in pairs),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x = operands[0]
        for axis, part in enumerate(self.parts):
            if part is not None:
                x = np.take(x, part, axis=axis)
        return (x,)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        kind = Monotone if self.parts[-1] is None else ChannelRules
        return kind(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        taken = [(axis, part) for axis, part in enumerate(self.parts) if part is not None]
        first, end, step = zip(*((p.start, p.stop, p.step) for _, p in taken), strict=True)
        before = [BEFORE_FIRST if e < 0 else e for e in end]  # -1 would be the last one
        numbers = first, before, [axis for axis, _ in taken], step
        return out.add("Slice", out.real(operands[0]), *map(out.ints, numbers))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        move = self.move(operands[0].shape)
        return move.call(self, operands[0], results[0], "a part of a tensor")

    def insets(self, operands: Sequence[Value], results: Sequence[Value]) -> Mapping[str, Inset]:
        (x,), (result,) = operands, results
        parts = [range(d) if p is None else p for d, p in zip(x.shape, self.parts, strict=True)]
        if any(part.step != 1 and len(part) > 1 for part in parts):
            return {}
        return inset(x.name, x.shape, result.name, result.shape, [part.start for part in parts])

    def move(self, shape: Shape) -> Move:
        """Where the elements of the result come from in an operand of `shape`."""
        parts = [range(d) if p is None else p for d, p in zip(shape, self.parts, strict=True)]
        steps = list(strides(shape))
        start = sum(part.start * step for part, step in zip(parts, steps, strict=True))
        each = [part.step * step for part, step in zip(parts, steps, strict=True)]
        return Move([len(part) for part in parts], each, start)


def take(node: OnnxNode, x: Value, parts: dict[int, range], output: int | None = 0) -> Value:
    """The indices `parts` of the axes of `x` that they name; `x` itself if that is all of it.

    output: which result of `node` that is; None if it is none.
    """
    whole = tuple(parts.get(axis, range(d)) for axis, d in enumerate(x.shape))
    if min(map(len, whole), default=1) == 0:
        node.unsupported("its result has no elements", "repair the model")
    if whole == tuple(map(range, x.shape)):
        return x
    pairs = zip(whole, x.shape, strict=True)
    op = Slice(*node.fresh(), parts=tuple(None if p == range(d) else p for p, d in pairs))
    op.move(x.shape).check(node)
    return node.add_inner(op, x) if output is None else node.add(op, x, output=output)


@onnx_import("Slice")
def import_slice(node: OnnxNode) -> Value:
    x = node.operand(0)
    rank = len(x.shape)
    starts, ends = _numbers(node, 1, "starts"), _numbers(node, 2, "ends")
    assert starts is not None
    assert ends is not None
    axes = _numbers(node, 3, "axes") or list(range(len(starts)))
    steps = _numbers(node, 4, "steps") or [1] * len(starts)
    parts = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis % rank]
        parts[axis % rank] = range(*slice(start, end, step).indices(size))
    return take(node, x, parts)


def _numbers(node: OnnxNode, slot: int, name: str) -> list[int] | None:
    """The integers `name`, an attribute before opset 10 and an input since; None if absent."""
    if node.opset < 10 and name in node.attrs:
        return [int(i) for i in node.attrs[name]]
    if slot < 3 or node.optional(slot) is not None:
        return [int(i) for i in node.constant(slot, name).reshape(-1)]
    return None


@onnx_import("Split")
def import_split(node: OnnxNode) -> tuple[Value, ...]:
    x = node.operand(0)
    axis = int(node.attrs.get("axis", 0)) % len(x.shape)
    results, first = [], 0
    for output, size in enumerate(_split_sizes(node, x.shape[axis])):
        part = range(first, first + size)
        results.append(take(node, x, {axis: part}, output))
        first += size
    return tuple(results)


def _split_sizes(node: OnnxNode, size: int) -> list[int]:
    if "split" in node.attrs:
        sizes = [int(i) for i in node.attrs["split"]]
    elif node.optional(1) is not None:
        sizes = [int(i) for i in node.constant(1, "split").reshape(-1)]
    else:  # equal parts, the last one smaller
        count = len(node.outputs)
        each = -(-size // count)
        sizes = [min(each, size - i * each) for i in range(count)]
    if sum(sizes) != size or len(sizes) != len(node.outputs) or min(sizes) < 1:
        node.unsupported(f"{size} cannot be split into {sizes}", "repair the model")
    return sizes
