"""Concat along any axis: the operands' bytes side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Box, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules
from mcucompile.ops.channelwise import Channelwise, take
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import Inset, KernelCall, Operand, Target, inset


@dataclass(frozen=True)
class _BesideEachOther(ChannelRules):
    """Channels of the operands are those of the result; an operand without any is left out."""

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        lo = np.concatenate([r.lo for r in operands])
        hi = np.concatenate([r.hi for r in operands])
        return (ChannelRange(lo, hi),)

    def linked(self, kept: Sequence[Array]) -> Sequence[Array]:
        *operands, result = kept
        stay = result | np.concatenate(operands)
        ends = np.cumsum([flags.size for flags in operands])
        parts = np.split(stay, ends[:-1])
        computed = [p for v, p in zip(self.operands, parts, strict=True) if not v.is_constant]
        if stay.any() and not any(p.any() for p in computed):  # not all of it can be constant
            computed[0][0] = True
        return *parts, stay

    def selected(self, kept: Sequence[Array]) -> tuple[Op, tuple[Value, ...]]:
        pairs = [(v, flags) for v, flags in zip(self.operands, kept, strict=False) if flags.any()]
        left = tuple(take(v, flags) if v.is_constant else v for v, flags in pairs)
        if len(left) > 1:
            return self.op, left
        shape = (*self.results[0].shape[:-1], int(kept[-1].sum()))
        return Reshape(self.op.name, self.op.origin, shape=shape), left


@dataclass(frozen=True)
class _AboveEachOther(Channelwise):
    """The operands of a Concat along another axis have the same channels."""

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        arrays = [a for r in operands for a in (r.lo, r.hi)]
        return (ChannelRange.around(arrays),)


@dataclass(frozen=True)
class Concat(Op):
    """Operands of equal shape but for `axis`, one after the other."""

    axis: int = -1

    quant_rule = QuantRule.SAME
    is_rowwise = True  # if the rows are not what it joins

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        first = list(operands[0].shape)
        for v in operands[1:]:
            rest = [d for i, d in enumerate(v.shape) if i != self.axis]
            if rest != [d for i, d in enumerate(first) if i != self.axis]:
                raise ValueError(f"operands {first} and {v.shape} differ beside axis {self.axis}")
        first[self.axis] = sum(v.shape[self.axis] for v in operands)
        return (tuple(first),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        if self.axis == 0:
            return (np.concatenate(operands),)
        batch = max(a.shape[0] for a in operands)  # constants have batch 1
        same = [np.broadcast_to(a, (batch, *a.shape[1:])) for a in operands]
        return (np.concatenate(same, axis=self.axis),)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        last = self.axis % len(results[0].shape) == len(results[0].shape) - 1
        kind = _BesideEachOther if last else _AboveEachOther
        return kind(self, tuple(operands), tuple(results))

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        images = all(len(v.shape) == 4 and not v.is_constant for v in operands)
        return (self, (box,) * len(operands)) if images and self.axis % 4 == 3 else None

    def insets(self, operands: Sequence[Value], results: Sequence[Value]) -> Mapping[str, Inset]:
        found: dict[str, Inset] = {}
        (result,), first = results, 0
        axis = self.axis % len(result.shape)
        for v in operands:
            start = [first if i == axis else 0 for i in range(len(result.shape))]
            found |= inset(result.name, result.shape, v.name, v.shape, start)
            first += v.shape[axis]
        return found

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.add("Concat", *map(out.real, operands), axis=self.axis)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return KernelCall(
            op=self.name,
            kernel="mcuc_concat_s8",
            header="mcuc/concat.h",
            params={"count": len(operands), "pixels": math.prod(results[0].shape[: self.axis])},
            reads=tuple(Operand(v.name, 1, v.elements) for v in operands),
            writes=(Operand(results[0].name, 1, results[0].elements),),
            row_unit="pixels" if self.axis > 1 else "",
            why="pixels of each operand are copied side by side",
        )


@onnx_import("Concat")
def import_concat(node: OnnxNode) -> Value:
    operands = [node.operand(i) for i in range(len(node.inputs))]
    axis = int(node.attrs["axis"]) % len(operands[0].shape)
    return node.add(Concat(*node.fresh(), axis=axis), *operands)
