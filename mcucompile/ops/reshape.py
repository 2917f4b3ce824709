"""Reshape, Flatten, Squeeze and Unsqueeze: the same bytes under another shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules, channels
from mcucompile.ir.types import TO_NCHW, TO_NHWC
from mcucompile.ops.weights import rearranged
from mcucompile.plan.program import KernelCall, Target


@dataclass(frozen=True)
class _Regrouped(ChannelRules):
    """Channels of the side that has more are, one period after the other, those of the other side,
    at several pixels."""

    @property
    def _period(self) -> int:
        return min(channels(self.operands[0]), channels(self.results[0]))

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        (known,) = operands
        x = ChannelRange.around([q.reshape(-1, self._period) for q in (known.lo, known.hi)])
        times = channels(self.results[0]) // self._period
        return (ChannelRange(np.tile(x.lo, times), np.tile(x.hi, times)),)

    def linked(self, kept: Sequence[Array]) -> Sequence[Array]:
        stay = np.concatenate(kept).reshape(-1, self._period).any(axis=0)
        return [np.tile(stay, flags.size // stay.size) for flags in kept]

    def selected(self, kept: Sequence[Array]) -> tuple[Op, tuple[Value, ...]]:
        shape = (*self.results[0].shape[:-1], int(kept[-1].sum()))
        return Reshape(self.op.name, self.op.origin, shape=shape), self.operands


@dataclass(frozen=True)
class Reshape(Op):
    """The operand under the static `shape`.

    Where `shape` starts with 1, axis 0 is the batch, and a reference run may give it any size.
    """

    shape: Shape

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME
    is_view: ClassVar[bool] = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        if math.prod(self.shape) != operands[0].elements:
            raise ValueError(f"{operands[0].shape} has not the elements of {self.shape}")
        return (self.shape,)

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return operands[0].dtype

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        batched = self.shape[:1] == (1,)
        return (operands[0].reshape((-1, *self.shape[1:]) if batched else self.shape),)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        sides = sorted(channels(v) for v in (operands[0], results[0]))
        kind = ChannelRules if sides[1] % sides[0] else _Regrouped
        return kind(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        """A Transpose where it is one of an image: the layout of inputs and outputs shows by it."""
        shape, x = operands[0].shape, out.real(operands[0])
        for perm in (TO_NHWC, TO_NCHW):
            if len(shape) == 4 and self.shape == tuple(shape[axis] for axis in perm):
                moved = [axis for axis in perm if shape[axis] > 1]
                if moved == sorted(moved):
                    return out.add("Transpose", x, perm=perm)
        return out.reshaped(x, self.shape)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        raise InternalError("lower: a view has no kernel")


def resolve_shape(operand: Shape, wish: Sequence[int], allow_zero: bool) -> Shape:
    """`wish` as ONNX Reshape means it: 0 copies the operand's dimension (unless `allow_zero`), -1
    takes what is left. Raises ValueError if `operand` cannot take that shape."""
    if not allow_zero and any(d == 0 and i >= len(operand) for i, d in enumerate(wish)):
        raise ValueError(f"{list(wish)} copies a dimension that {list(operand)} has not")
    shape = [operand[i] if d == 0 and not allow_zero else int(d) for i, d in enumerate(wish)]
    total = math.prod(operand)
    if shape.count(-1) == 1:
        rest = -math.prod(shape)
        shape[shape.index(-1)] = total // rest if rest else 0
    if math.prod(shape) != total or min(shape, default=1) < 0:
        raise ValueError(f"{list(operand)} cannot take the shape {list(wish)}")
    return tuple(shape)


def reshape(node: OnnxNode, value: Value, shape: Shape) -> Value:
    """The result of `node`: `value` under `shape`; `value` itself if it has that shape."""
    if value.shape == shape:
        return value
    return node.add(Reshape(*node.fresh(), shape=shape), value)


def view(node: OnnxNode, value: Value, shape: Shape) -> Value:
    """`value` under `shape`, on the way to the result of `node`."""
    if value.shape == shape:
        return value
    if value.is_constant:
        return rearranged(node, value, lambda data: data.reshape(shape))
    return node.add_inner(Reshape(*node.fresh("view"), shape=shape), value)


@onnx_import("Reshape")
def import_reshape(node: OnnxNode) -> Value:
    x = node.operand(0)
    wish = node.constant(1, "shape") if node.opset >= 5 else node.attrs["shape"]
    try:
        shape = resolve_shape(x.shape, [int(d) for d in wish], bool(node.attrs.get("allowzero", 0)))
    except ValueError as error:
        node.unsupported(str(error), "repair the model: element counts must agree for batch 1")
    return reshape(node, x, shape)


@onnx_import("Flatten")
def import_flatten(node: OnnxNode) -> Value:
    x = node.operand(0)
    axis = int(node.attrs.get("axis", 1))
    axis += len(x.shape) if axis < 0 else 0
    return reshape(node, x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _axes(node: OnnxNode, rank: int) -> set[int] | None:
    """The axes of a Squeeze or Unsqueeze, counted from the front of `rank`; None where absent."""
    if node.optional(1) is not None:
        axes = [int(a) for a in node.constant(1, "axes").reshape(-1)]
    elif "axes" in node.attrs:
        axes = list(node.attrs["axes"])
    else:
        return None
    return {a % rank for a in axes}


@onnx_import("Squeeze")
def import_squeeze(node: OnnxNode) -> Value:
    x = node.operand(0)
    axes = _axes(node, len(x.shape))
    if axes is None:
        axes = {i for i, d in enumerate(x.shape) if d == 1}
    if any(x.shape[a] != 1 for a in axes):
        node.unsupported(f"{list(x.shape)} is not 1 on axes {sorted(axes)}", "repair the model")
    return reshape(node, x, tuple(d for i, d in enumerate(x.shape) if i not in axes))


@onnx_import("Unsqueeze")
def import_unsqueeze(node: OnnxNode) -> Value:
    x = node.operand(0)
    count = len(node.attrs["axes"]) if "axes" in node.attrs else node.constant(1, "axes").size
    rank = len(x.shape) + count
    axes = _axes(node, rank) or set()
    old = iter(x.shape)
    return reshape(node, x, tuple(1 if i in axes else next(old) for i in range(rank)))
