"""Pad: a constant, the nearest elements or the mirror image around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.plan.program import KernelCall, Operand, Target

MODES = ("constant", "edge", "reflect")  # in the order of the kernel's numbers


@dataclass(frozen=True)
class Pad(Op):
    """Elements around the operand: of the real `value`, or repeated from it.

    pads: (before, after) per axis, none negative; axis 0 (the batch) has none. mode: one of MODES,
    which mean what they mean in numpy.pad.
    """

    pads: tuple[tuple[int, int], ...] = ()
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
        return np.pad(x, self.pads, constant_values=value)

    def _integer(self, result: Value) -> int:
        return int(result.q.quantize(np.asarray(self.value)))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        none = (0, 0)
        rows, cols, width = (1, 1, 1, *operands[0].shape)[-3:]
        top_bottom, left_right, around = (none, none, none, *self.pads)[-3:]
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
            why="padding that no neighbouring operator could take over",
        )


@onnx_import("Pad")
def import_pad(node: OnnxNode) -> Value:
    x = node.operand(0)
    rank = len(x.shape)
    mode = str(node.attrs.get("mode", "constant"))
    if mode not in MODES:
        node.unsupported(f"mode '{mode}' has no kernel", f"use one of {', '.join(MODES)}")
    if rank > 4:
        node.unsupported(f"its operand has {rank} axes", "pad tensors of at most 4 axes")
    pads = _pads(node, rank)
    if min(min(p) for p in pads) < 0:
        node.unsupported("a pad is negative", "crop with Slice before exporting")
    if pads[0] != (0, 0):
        node.unsupported("it pads the batch axis", "export the model for batch size 1")
    value = float(node.attrs.get("value", 0.0))
    if node.optional(2) is not None:
        value = float(node.constant(2, "pad value").reshape(-1)[0])
    if mode == "reflect" and any(max(p) >= d for p, d in zip(pads, x.shape, strict=True) if max(p)):
        node.unsupported("it reflects more than there is", "pad less than the size of the axis")
    return node.add(Pad(*node.fresh(), pads=pads, value=value, mode=mode), x)


def _pads(node: OnnxNode, rank: int) -> tuple[tuple[int, int], ...]:
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
