"""Pad: a constant, the nearest elements, the mirror image or the tensor itself around a tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.export.writer import OPSET, NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Monotone
from mcucompile.ops.qdq import stored_number
from mcucompile.ops.slice import take
from mcucompile.ops.window import rows_read
from mcucompile.plan.program import KernelCall, Operand, RowWindow, Target

MODES = ("constant", "edge", "reflect", "wrap")  # in the order of the kernel's numbers
NONE = (0, 0)
Pads = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Pad(Op):
    """Elements around the operand: of the real `value`, or repeated from it.

    pads: (before, after) per axis, none negative; axis 0 (the batch) has none, and of more than
    four axes only one has. mode: one of MODES, which mean what they mean in numpy.pad.
    """

    pads: Pads = ()
    value: float = 0.0
    mode: str = "constant"

    quant_rule = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        if len(shape) != len(self.pads):
            raise ValueError(f"{len(self.pads)} pads for rank {len(shape)}")
        return (tuple(d + b + a for d, (b, a) in zip(shape, self.pads, strict=True)),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self._padded(operands[0], self.value),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._padded(arrays[0], self._integer(results[0])),)

    def _padded(self, x: Array, value: float) -> Array:
        if self.mode == "edge":
            return np.pad(x, self.pads, mode="edge")
        if self.mode == "reflect":
            return np.pad(x, self.pads, mode="reflect")
        if self.mode == "wrap":
            return np.pad(x, self.pads, mode="wrap")
        return np.pad(x, self.pads, constant_values=value)

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        if len(self.pads) != 4:
            return None
        (above, below), height = self.pads[1], operands[0].shape[1]
        rows = np.arange(-above, height + below)
        if self.mode != "constant":
            rows = replace(self, pads=(self.pads[1],))._padded(np.arange(height), 0)
        return rows_read([(int(row), int(row) + 1) for row in rows], 1, 1)

    def _integer(self, result: Value) -> int:
        return int(result.q.quantize(np.asarray(self.value)))

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        kind = ChannelRules if any(self.pads[-1]) else Monotone
        return kind(self, tuple(operands), tuple(results))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        if self.mode == "wrap":
            raise self.not_in_onnx(f"its mode is newer than opset {OPSET}")
        before, after = zip(*self.pads, strict=True)
        value = out.number(self.value)
        return out.add(
            "Pad", out.real(operands[0]), out.ints(before + after), value, mode=self.mode
        )

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        (rows, cols, width), (top_bottom, left_right, around) = self._image(operands[0].shape)
        out_rows = rows + sum(top_bottom)
        out_bytes = (cols + sum(left_right)) * (width + sum(around))
        params = {
            "mode": MODES.index(self.mode),
            "rows": rows,
            "top": top_bottom[0],
            "cols": cols,
            "left": left_right[0],
            "right": left_right[1],
            "width": width,
            "before": around[0],
            "after": around[1],
            "value": self._integer(results[0]),
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_pad_s8",
            header="mcuc/pad.h",
            params=params,
            reads=(Operand(operands[0].name, rows, cols * width),),
            writes=(Operand(results[0].name, out_rows, out_bytes),),
            band=1,
            why="padding that no neighbouring operator could take over",
        )

    def _image(self, shape: Shape) -> tuple[Shape, Pads]:
        """Operand and padding as those of an image of rows, columns and channels."""
        if len(shape) <= 4:
            return (1, 1, 1, *shape)[-3:], (NONE, NONE, NONE, *self.pads)[-3:]
        padded = [axis for axis, pad in enumerate(self.pads) if any(pad)]
        (axis,) = padded or [1]
        outer, inner = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
        return (outer, shape[axis], inner), (NONE, self.pads[axis], NONE)


@onnx_import("Pad")
def import_pad(node: OnnxNode) -> Value:
    x = node.operand(0)
    rank = len(x.shape)
    mode = str(node.attrs.get("mode", "constant"))
    if mode not in MODES:
        node.unsupported(f"mode '{mode}' has no kernel", f"use one of {', '.join(MODES)}")
    pads = _pads(node, rank)
    x, pads = _cropped(node, x, pads)
    if pads[0] != NONE:
        node.unsupported("it pads the batch axis", "export the model for batch size 1")
    value = _value(node, x)
    if mode == "reflect" and any(max(p) >= d for p, d in zip(pads, x.shape, strict=True) if max(p)):
        node.unsupported("it reflects more than there is", "pad less than the size of the axis")
    steps = [pads] if rank <= 4 else _one_by_one(pads)
    for step in steps[:-1]:
        x = node.add_inner(Pad(*node.fresh("axis"), pads=step, value=value, mode=mode), x)
    return node.add(Pad(*node.fresh(), pads=steps[-1], value=value, mode=mode), x)


def _value(node: OnnxNode, x: Value) -> float:
    """The number around `x`: an attribute (opset < 11) or an input; a stored one where x is."""
    if node.optional(2) is None:
        return float(node.attrs.get("value", 0.0))
    value = node.constant(2, "pad value")
    return stored_number(node.graph, x, value)


def _cropped(node: OnnxNode, x: Value, pads: Pads) -> tuple[Value, Pads]:
    """What negative pads leave of `x`, and the pads without them."""
    parts = {
        axis: range(max(-before, 0), d - max(-after, 0))
        for axis, (d, (before, after)) in enumerate(zip(x.shape, pads, strict=True))
        if min(before, after) < 0
    }
    if not parts:
        return x, pads
    added = tuple((max(before, 0), max(after, 0)) for before, after in pads)
    return take(node, x, parts, output=None), added


def _one_by_one(pads: Pads) -> list[Pads]:
    """The same padding, an axis at a time."""
    rank = len(pads)
    padded = [axis for axis in range(rank) if pads[axis] != NONE] or [1]
    return [tuple(pads[axis] if axis == step else NONE for axis in range(rank)) for step in padded]


def _pads(node: OnnxNode, rank: int) -> Pads:
    """(before, after) per axis from the attribute (opset < 11) or the input, and `axes`."""
    given = node.attrs["pads"] if node.opset < 11 else node.constant(1, "pads").reshape(-1)
    flat = [int(p) for p in given]
    axes = list(range(rank))
    if node.optional(3) is not None:
        axes = [int(a) % rank for a in node.constant(3, "axes").reshape(-1)]
    pads = [(0, 0)] * rank
    for i, axis in enumerate(axes):
        pads[axis] = (flat[i], flat[i + len(axes)])
    return tuple(pads)
