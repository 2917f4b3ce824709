"""AveragePool and MaxPool: the mean or the largest number in a sliding window, per channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import OPSET, NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Box, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.types import QMIN
from mcucompile.ops.channelwise import Monotone
from mcucompile.ops.global_pool import global_kind
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.ops.window import Pads, Pair, window, windows_seen
from mcucompile.plan.program import KernelCall, Operand, RowWindow, Target
from mcucompile.quant.mean import MeanRule, mean_rule
from mcucompile.quant.numbers import clamp_bounds


@dataclass(frozen=True)
class Pool2d(Op):
    """A window over (N, H, W, C).

    kernel, strides, dilations: (height, width). pads: top, left, bottom, right.
    """

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    clamp: tuple[float, float] | None = None

    def _out(self, size: int, axis: int) -> int:
        """Windows on an axis (0: height, 1: width) of `size`."""
        reach = (self.kernel[axis] - 1) * self.dilations[axis] + 1
        padded = size + self.pads[axis] + self.pads[axis + 2]
        return (padded - reach) // self.strides[axis] + 1

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        n, h, w, c = operands[0].shape
        shape = (n, self._out(h, 0), self._out(w, 1), c)
        if min(shape) < 1:
            raise ValueError(f"the window {self.kernel} does not fit into {operands[0].shape}")
        if self._counts(h, w, (0, 0, 0, 0)).min() == 0:
            raise ValueError(f"pads {self.pads} leave windows with nothing but padding")
        return (shape,)

    def _counts(self, h: int, w: int, pads: tuple[int, int, int, int]) -> Array:
        """Positions of each window in an (h, w) image with padding `pads`: (OH, OW, 1), int64."""
        per_axis = []
        for axis, size in enumerate((h, w)):
            start = np.arange(self._out(size, axis)) * self.strides[axis] - self.pads[axis]
            at = start[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
            per_axis.append(((at >= -pads[axis]) & (at < size + pads[axis + 2])).sum(axis=1))
        return np.asarray(np.multiply.outer(*per_axis)[:, :, None])

    def _taps(self, x: Array, fill: float) -> Iterator[Array]:
        """For each position in the window, what all windows see there: (N, OH, OW, C)."""
        n, h, w, c = x.shape
        top, left, bottom, right = self.pads
        padded = np.full((n, h + top + bottom, w + left + right, c), fill, dtype=x.dtype)
        padded[:, top : top + h, left : left + w] = x
        (sh, sw), (dh, dw) = self.strides, self.dilations
        oh, ow = self._out(h, 0), self._out(w, 1)
        for ky in range(self.kernel[0]):
            for kx in range(self.kernel[1]):
                y, x0 = ky * dh, kx * dw
                yield padded[:, y : y + (oh - 1) * sh + 1 : sh, x0 : x0 + (ow - 1) * sw + 1 : sw]

    def _clip(self, y: Array) -> Array:
        return y if self.clamp is None else np.clip(y, *self.clamp)

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        reach = (self.kernel[0] - 1) * self.dilations[0] + 1
        return RowWindow(reach, self.strides[0], self.pads[0])

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        seen = windows_seen(box, operands[0].shape[1:3], reach, self.strides, self.pads)
        return None if seen is None else (self._cut(seen[1], operands[0]), (seen[0],))

    def _cut(self, pads: Pads, operand: Value) -> Pool2d:
        """The operator with fewer `pads` that computes the same windows of a part of `operand`."""
        return replace(self, pads=pads)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return Monotone(self, tuple(operands), tuple(results))

    def _call(
        self,
        operands: Sequence[Value],
        results: Sequence[Value],
        kernel: str,
        params: dict[str, int],
        why: str,
    ) -> KernelCall:
        _, h, w, c = operands[0].shape
        _, oh, ow, _ = results[0].shape
        top, left, _, _ = self.pads
        geometry = {
            "height": h,
            "width": w,
            "channels": c,
            "out_width": ow,
            "kernel_h": self.kernel[0],
            "kernel_w": self.kernel[1],
            "stride_h": self.strides[0],
            "stride_w": self.strides[1],
            "dilation_h": self.dilations[0],
            "dilation_w": self.dilations[1],
            "pad_top": top,
            "pad_left": left,
            "padded": int(any(self.pads)),
        }
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header="mcuc/pool.h",
            params=geometry | params,
            reads=(Operand(operands[0].name, h, w * c),),
            writes=(Operand(results[0].name, oh, ow * c),),
            # A window is read before its result is written, and later ones start further on.
            in_place=((0, 0),) if top == left == 0 else (),
            band=1,
            takes_top=left < self.strides[1],
            pitched=True,
            why=why,
        )


@dataclass(frozen=True)
class MaxPool(Pool2d):
    """The largest number; padding never is."""

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def _largest(self, x: Array, least: float) -> Array:
        y = np.full((1, 1, 1, 1), least, dtype=x.dtype)
        for tap in self._taps(x, least):
            y = np.maximum(y, tap)
        return y

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self._clip(self._largest(operands[0], -np.inf)),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        return (np.clip(self._largest(arrays[0], QMIN), lo, hi).astype(np.int8),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        y = out.add(
            "MaxPool",
            out.nchw(out.real(operands[0])),
            kernel_shape=self.kernel,
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
        )
        return out.nhwc(out.clipped(y, self.clamp))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params = {"lo": lo, "hi": hi}
        return self._call(operands, results, "mcuc_max_pool_s8", params, "any window")


@dataclass(frozen=True)
class AveragePool(Pool2d):
    """The mean.

    count_include_pad: the zeros of the padding count too, but not those `beyond` it at the bottom
    and right, which are there because the number of windows was rounded up.
    least: the fewest positions that count in any window of the image that this one is a part of;
    0 if it is no part. It decides the multiplier.
    """

    count_include_pad: bool = False
    beyond: Pair = (0, 0)
    least: int = 0

    def _cut(self, pads: Pads, operand: Value) -> AveragePool:
        _, height, width, _ = operand.shape
        _, _, *counted = self._counted()
        beyond = [p - min(p, c) for p, c in zip(pads[2:], counted, strict=True)]
        least = self.least or int(self._counts(height, width, self._counted()).min())
        return replace(self, pads=pads, beyond=(beyond[0], beyond[1]), least=least)

    def _counted(self) -> tuple[int, int, int, int]:
        """The padding that counts: top, left, bottom, right."""
        if not self.count_include_pad:
            return 0, 0, 0, 0
        top, left, bottom, right = self.pads
        return top, left, bottom - self.beyond[0], right - self.beyond[1]

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x = operands[0].astype(np.float64)
        counts = self._counts(x.shape[1], x.shape[2], self._counted())
        return (self._clip(sum(self._taps(x, 0.0)) / counts).astype(np.float32),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> MeanRule:
        _, h, w, _ = operands[0].shape
        counts = self._counts(h, w, self._counted())
        full = self.kernel[0] * self.kernel[1]
        between = (self.least or int(counts.min()), full)
        return mean_rule(self, operands[0].q, results[0].q, between, self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x = arrays[0].astype(np.int64)
        n = self._counts(x.shape[1], x.shape[2], (0, 0, 0, 0))
        counts = self._counts(x.shape[1], x.shape[2], self._counted())
        total = np.asarray(sum(self._taps(x, 0)))
        return (self._rule(operands, results).apply(total, n, counts),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        if self.dilations != (1, 1):
            raise self.not_in_onnx(f"its dilations are newer than opset {OPSET}")
        top, left, bottom, right = self.pads
        y = out.add(
            "AveragePool",
            out.nchw(out.real(operands[0])),
            kernel_shape=self.kernel,
            strides=self.strides,
            pads=(top, left, bottom - self.beyond[0], right - self.beyond[1]),
            ceil_mode=int(any(self.beyond)),
            count_include_pad=int(self.count_include_pad),
        )
        return out.nhwc(out.clipped(y, self.clamp))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        mean = self._rule(operands, results)
        top, left, bottom, right = self._counted()
        params = {
            "count_top": top,
            "count_left": left,
            "count_bottom": bottom,
            "count_right": right,
            "zp_in": mean.operand_zero,
            "numerator": mean.numerator,
            "m": mean.rule.m[0],
            "shift": mean.rule.shift,
            "zp": mean.rule.zero_point,
            "lo": mean.rule.lo,
            "hi": mean.rule.hi,
        }
        return self._call(operands, results, "mcuc_average_pool_s8", params, "any window")


@onnx_import("MaxPool", "AveragePool")
def import_pool(node: OnnxNode) -> Value:
    x = node.operand(0)
    rank = len(x.shape)
    nhwc = to_nhwc(node, x)
    at = window(node, x.shape[2:], node.attrs["kernel_shape"])
    name, origin = node.fresh()
    op: Op
    if at.kernel == nhwc.shape[1:3] and not any(at.pads):
        op = global_kind("Average" if node.op_type == "AveragePool" else "Max")(name, origin)
    elif node.op_type == "AveragePool":
        include = bool(node.attrs.get("count_include_pad", 0))
        op = AveragePool(
            name,
            origin,
            at.kernel,
            at.strides,
            at.pads,
            at.dilations,
            count_include_pad=include,
            beyond=at.beyond,
        )
    else:
        op = MaxPool(name, origin, at.kernel, at.strides, at.pads, at.dilations)
    return to_nchw(node, node.add(op, nhwc), rank)
