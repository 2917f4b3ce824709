"""Conv2d: convolutions of any kernel, stride, padding, dilation and group count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Box, Op, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.types import TO_NCHW
from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.conv_kernels import lower_conv
from mcucompile.ops.layer_channels import LayerChannels
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.ops.weights import import_bias, import_weights
from mcucompile.ops.window import Pads, Pair, window, windows_seen
from mcucompile.plan.program import KernelCall, RowWindow, Target
from mcucompile.quant.constants import quantize_weights_and_bias


@dataclass(frozen=True)
class Convolution(Op):
    """clamp(correlation of x with w, plus b).

    Operands: x (N, H, W, C), weights (O, kh, kw, C / groups), bias (O,); result (N, OH, OW, O).
    strides, dilations: (height, width). pads: top, left, bottom, right; the padding is zeros.
    """

    rounds_as_tflite = True

    strides: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    clamp: tuple[float, float] | None = None

    def _out(self, size: int, kernel: int, axis: int) -> int:
        """Windows on an axis (0: height, 1: width) of `size`."""
        reach = (kernel - 1) * self.dilations[axis] + 1
        padded = size + self.pads[axis] + self.pads[axis + 2]
        return (padded - reach) // self.strides[axis] + 1

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, w, b = operands
        n, h, width, c = x.shape
        cout, kh, kw, cin = w.shape
        if cin * self.groups != c or cout % self.groups or b.shape != (cout,):
            raise ValueError(f"weights {w.shape} and bias {b.shape} do not fit {x.shape}")
        shape = (n, self._out(h, kh, 0), self._out(width, kw, 1), cout)
        if min(shape) < 1:
            raise ValueError(f"a {kh}x{kw} window does not fit into {x.shape}")
        return (shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x, w, b = operands
        y = self._correlate(x, w) + b
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        layer = self.layer(operands, results[0])
        x, w, b = (a.astype(np.float64) for a in arrays)  # exact, and much faster than integers
        return (layer.rule.apply(self._correlate(x - operands[0].q.zero_point, w) + b),)

    def _correlate(self, x: Array, w: Array) -> Array:
        """Sums of products, in the type of x and w."""
        cout, kh, kw, depth = w.shape
        windows = self._windows(x, kh, kw)
        if depth == 1 and cout == self.groups:  # depthwise
            taps = [(ky, kx) for ky in range(kh) for kx in range(kw)]
            return np.asarray(sum(windows[..., ky, kx, :] * w[:, ky, kx, 0] for ky, kx in taps))
        each = cout // self.groups
        parts = []
        for g in range(self.groups):
            patches = windows[..., g * depth : (g + 1) * depth]
            rows = patches.reshape(*patches.shape[:3], -1)
            parts.append(rows @ w[g * each : (g + 1) * each].reshape(each, -1).T)
        return np.concatenate(parts, axis=-1)

    def unfolded(self, x: Array, weights: Shape) -> Array:
        """What a channel's `weights` meet at each pixel: (groups, pixels, kh * kw * C / groups)."""
        _, kh, kw, depth = weights
        seen = self._windows(x, kh, kw).reshape(-1, kh * kw, self.groups, depth)
        return seen.transpose(2, 0, 1, 3).reshape(self.groups, len(seen), -1)

    def _windows(self, x: Array, kh: int, kw: int) -> Array:
        """What each window sees: (N, OH, OW, kh, kw, C)."""
        top, left, bottom, right = self.pads
        (sh, sw), (dh, dw) = self.strides, self.dilations
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        windows = sliding_window_view(x, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(1, 2))
        return windows[:, ::sh, ::sw, :, ::dh, ::dw].transpose(0, 1, 2, 4, 5, 3)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, w, b = operands
        return (x, *quantize_weights_and_bias(x.q, w, b))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        return results[0].elements * math.prod(operands[1].shape[1:])

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        reach = (operands[1].shape[1] - 1) * self.dilations[0] + 1
        return RowWindow(reach, self.strides[0], self.pads[0]) if operand == 0 else None

    def layer(self, operands: Sequence[Value], result: Value) -> gemm.Layer:
        """Its integer arithmetic. Raises QuantizationError MC201 where sums may leave int32."""
        return gemm.Layer.of(self, operands, result, self.clamp, self.groups)

    def geometry(self, operands: Sequence[Value], result: Value) -> Geometry:
        """Its numbers."""
        _, in_h, in_w, cin = operands[0].shape
        _, out_h, out_w, cout = result.shape
        kh, kw = operands[1].shape[1:3]
        (sh, sw), (dh, dw) = self.strides, self.dilations
        top, left = self.pads[:2]
        return Geometry(in_h, in_w, cin, out_h, out_w, cout, kh, kw, sh, sw, dh, dw, top, left)


@dataclass(frozen=True)
class Conv2d(Convolution):
    """A convolution of int8 numbers."""

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        kernel, size = operands[1].shape[1:3], operands[0].shape[1:3]
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True)]
        seen = windows_seen(box, size, reach, self.strides, self.pads)
        return None if seen is None else (replace(self, pads=seen[1]), (seen[0], None, None))

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        layer = self.layer(operands, results[0])
        _, height, width, _ = operands[0].shape
        _, kh, kw, _ = operands[1].shape
        seen = self._seen(height, kh, 0), self._seen(width, kw, 1)
        return LayerChannels(self, tuple(operands), tuple(results), layer, seen)

    def _seen(self, size: int, kernel: int, axis: int) -> Array:
        """The different sets of taps with which windows see the image along an axis of `size`."""
        start = np.arange(self._out(size, kernel, axis)) * self.strides[axis] - self.pads[axis]
        at = start[:, None] + np.arange(kernel) * self.dilations[axis]
        return np.unique((at >= 0) & (at < size), axis=0)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        x, w, b = operands
        inputs = out.nchw(out.real(x)), out.constant(w, TO_NCHW), out.real(b)
        y = out.add(
            "Conv",
            *inputs,
            kernel_shape=w.shape[1:3],
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
            group=self.groups,
        )
        return out.nhwc(out.clipped(y, self.clamp))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return lower_conv(
            self.layer(operands, results[0]), self.geometry(operands, results[0]), target
        )


def _ohwi(shape: Shape) -> Shape:
    """Shape (O, I, H, W) or (O, I, W) of weights as (O, H, W, I)."""
    cout, cin, *kernel = shape
    return (cout, *kernel, cin) if len(kernel) == 2 else (cout, 1, *kernel, cin)


@onnx_import("Conv")
def import_conv(node: OnnxNode) -> Value:
    x, weights = node.operand(0), node.operand(1)
    rank = len(x.shape)
    nhwc = to_nhwc(node, x)
    if len(weights.shape) != rank:
        node.unsupported(f"its weights have the shape {list(weights.shape)}", "repair the model")
    at = window(node, x.shape[2:], weights.shape[2:])
    w = import_weights(node, weights, (0, *range(2, rank), 1), shape=_ohwi(weights.shape))
    b = import_bias(node, node.optional(2), w.shape[0])
    op = Conv2d(
        *node.fresh(),
        strides=at.strides,
        pads=at.pads,
        dilations=at.dilations,
        groups=int(node.attrs.get("group", 1)),
    )
    return to_nchw(node, node.add(op, nhwc, w, b), rank)
