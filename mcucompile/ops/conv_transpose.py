"""ConvTranspose: each input pixel adds a window of weights to the output; 1-D and 2-D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ir.types import TO_NCHW
from mcucompile.ops import gemm
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.ops.weights import import_bias, import_weights
from mcucompile.ops.window import Pair, per_axis, rows_read
from mcucompile.plan.program import Const, KernelCall, RowWindow, Target
from mcucompile.quant.constants import quantize_weights_and_bias


@dataclass(frozen=True)
class ConvTranspose2d(Op):
    """clamp(the transpose of a correlation with w, of x, plus b).

    Operands: x (N, H, W, C), weights (O, kh, kw, C / groups), bias (O,); result (N, OH, OW, O).
    Pixel y of x meets rows y * stride + ky * dilation - top of the result, ky < kh. strides,
    dilations: (height, width). pads: how much of the result is cut off at the top, left, bottom and
    right; what is negative is added instead.
    """

    rounds_as_tflite = True

    strides: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: Pair = (1, 1)
    groups: int = 1
    clamp: tuple[float, float] | None = None

    def _out(self, size: int, kernel: int, axis: int) -> int:
        """Pixels on an axis (0: height, 1: width) of which x has `size`."""
        whole = (size - 1) * self.strides[axis] + (kernel - 1) * self.dilations[axis] + 1
        return whole - self.pads[axis] - self.pads[axis + 2]

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, w, b = operands
        n, h, width, c = x.shape
        cout, kh, kw, cin = w.shape
        if cin * self.groups != c or cout % self.groups or b.shape != (cout,):
            raise ValueError(f"weights {w.shape} and bias {b.shape} do not fit {x.shape}")
        shape = (n, self._out(h, kh, 0), self._out(width, kw, 1), cout)
        if min(shape) < 1:
            raise ValueError(f"pads {self.pads} leave nothing of the result")
        return (shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x, w, b = operands
        y = self._spread(x, w) + b
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        layer = gemm.Layer.of(self, operands, results[0], self.clamp)
        x, w, b = (a.astype(np.float64) for a in arrays)  # exact, and much faster than integers
        return (layer.rule.apply(self._spread(x - operands[0].q.zero_point, w) + b),)

    def _spread(self, x: Array, w: Array) -> Array:
        """Sums of products, in the type of x and w."""
        n, h, width, _ = x.shape
        cout, kh, kw, depth = w.shape
        (sh, sw), (dh, dw) = self.strides, self.dilations
        whole = ((h - 1) * sh + (kh - 1) * dh + 1, (width - 1) * sw + (kw - 1) * dw + 1)
        y = np.zeros((n, *whole, cout), dtype=x.dtype)
        each = cout // self.groups
        for g, ky, kx in np.ndindex(self.groups, kh, kw):
            part = x[..., g * depth : (g + 1) * depth] @ w[g * each : (g + 1) * each, ky, kx].T
            rows = slice(ky * dh, ky * dh + (h - 1) * sh + 1, sh)
            cols = slice(kx * dw, kx * dw + (width - 1) * sw + 1, sw)
            y[:, rows, cols, g * each : (g + 1) * each] += part
        top, left, bottom, right = self.pads
        return _cut(_cut(y, 1, top, bottom), 2, left, right)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, w, b = operands
        return (x, *quantize_weights_and_bias(x.q, w, b))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        x, w, _ = operands
        return x.elements * math.prod(w.shape[:3]) // self.groups

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        if operand:
            return None
        rows = self._axis(0, operands[1].shape[1])
        spans = [rows.span(y) for y in range(results[0].shape[1])]
        return rows_read(spans, 1, self.strides[0])

    def _axis(self, axis: int, kernel: int) -> Phases:
        return Phases.of(kernel, self.strides[axis], self.dilations[axis], self.pads[axis])

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        x, w, b = operands
        top, left, bottom, right = self.pads
        if min(top, left) < 0:
            raise self.not_in_onnx("it adds zeros above or beside its result")
        y = out.add(
            "ConvTranspose",
            out.nchw(out.real(x)),
            self._onnx_weights(out, w),
            out.real(b),
            kernel_shape=w.shape[1:3],
            strides=self.strides,
            pads=(top, left, max(bottom, 0), max(right, 0)),
            output_padding=(max(-bottom, 0), max(-right, 0)),
            dilations=self.dilations,
            group=self.groups,
        )
        return out.nhwc(out.clipped(y, self.clamp))

    def _onnx_weights(self, out: NodeWriter, w: Value) -> str:
        """The weights as ONNX has them, (C, O / groups, kh, kw)."""
        if self.groups == 1:
            return out.constant(w, (3, 0, 1, 2))
        cout, kh, kw, cin = w.shape
        split = (self.groups, cout // self.groups, cin, kh, kw)
        grouped = out.reshaped(out.constant(w, TO_NCHW), split)
        moved = out.add("Transpose", grouped, perm=(0, 2, 1, 3, 4))
        return out.reshaped(moved, (self.groups * cin, cout // self.groups, kh, kw))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        x, w, b = operands
        _, in_h, in_w, cin = x.shape
        _, out_h, out_w, cout = results[0].shape
        rows, cols = self._axis(0, w.shape[1]), self._axis(1, w.shape[2])
        parts = [
            gemm.Layer.of(self, (x, _part(w, r, c), b), results[0], self.clamp, self.groups)
            for r in rows.taps
            for c in cols.taps
        ]
        wide = any(gemm.is_wide(part) for part in parts)
        streams = [_stream(part, wide) for part in parts]
        starts = np.cumsum([0, *(stream.size for stream in streams[:-1])])
        params: dict[str, int | Const] = {
            "in_h": in_h,
            "in_w": in_w,
            "cin": cin,
            "out_w": out_w,
            "cout": cout,
            "sh": self.strides[0],
            "sw": self.strides[1],
            "dh": rows.dilation,
            "dw": cols.dilation,
            "top": rows.before,
            "left": cols.before,
            "groups": self.groups,
            "in_zp": x.q.zero_point,
            **rows.constants("row"),
            **cols.constants("col"),
            "starts": Const("starts", starts.astype(np.int32)),
            "weights": Const("weights", np.concatenate(streams)),
            "wide": int(wide),
        }
        most = max(math.prod(part.weights.shape[1:]) for part in parts)
        call = parts[0].call(
            "mcuc_conv_transpose_s8",
            "mcuc/conv_transpose.h",
            params,
            (in_h, out_h),
            scratch=gemm.tile_bytes(-(-out_w // self.strides[1]), most),
            band=1,
            why=f"{len(parts)} convolutions, one for each phase of the stride",
        )
        return replace(call, macs=self.macs(operands, results))


@dataclass(frozen=True)
class Phases:
    """Which taps of a kernel the pixels of an axis of the result see.

    Pixel y, with t = y + `before`, sees those of phase f = t % stride.

    taps: per phase, in the order of the input's pixels; -1 is a tap of zeros, where there is none.
    back: per phase; the first tap sees pixel t // stride - back. dilation: the next one sees the
    pixel that much further on.
    """

    taps: tuple[tuple[int, ...], ...]
    back: tuple[int, ...]
    before: int
    dilation: int

    @classmethod
    def of(cls, kernel: int, stride: int, dilation: int, pad: int) -> Phases:
        added = max(-(pad // stride), 0)  # so that no t is negative
        taps = [
            tuple(k for k in reversed(range(kernel)) if (k * dilation - phase) % stride == 0)
            for phase in range(stride)
        ]
        back = [added + (t[0] * dilation - f) // stride if t else 0 for f, t in enumerate(taps)]
        return cls(
            tuple(t or (-1,) for t in taps),
            tuple(back),
            pad + added * stride,
            dilation // math.gcd(dilation, stride),
        )

    def span(self, y: int) -> tuple[int, int]:
        """The first of the input's pixels that pixel y sees, and the one after the last."""
        step, phase = divmod(y + self.before, len(self.taps))
        first = step - self.back[phase]
        return first, first + (len(self.taps[phase]) - 1) * self.dilation + 1

    def constants(self, name: str) -> dict[str, int | Const]:
        """The fields of the kernel for this axis."""
        count = np.array([len(t) for t in self.taps], dtype=np.int16)
        return {
            f"{name}_taps": Const(f"{name}_taps", count),
            f"{name}_back": Const(f"{name}_back", np.array(self.back, dtype=np.int16)),
        }


def _part(w: Value, rows: Sequence[int], cols: Sequence[int]) -> Value:
    """The int8 weights `w` at some taps only; -1 stands for zeros."""
    assert w.data is not None
    padded = np.pad(w.data, ((0, 0), (0, 1), (0, 1), (0, 0)))
    data = padded[:, rows][:, :, cols]
    return replace(w, shape=data.shape, data=data)


def _stream(part: gemm.Layer, wide: bool) -> Array:
    """The weights of the pixels of a phase as the kernel reads them."""
    elements = math.prod(part.weights.shape[1:])
    by_word = part.weights.shape[3] % 4 == 0
    order = gemm.word_order(elements) if by_word else gemm.natural_order(elements)
    return gemm.pack_pairs(part, order, wide)


def _cut(y: Array, axis: int, begin: int, end: int) -> Array:
    """y without its first `begin` and last `end` pixels on `axis`; negative ones are added."""
    added = [(0, 0)] * y.ndim
    added[axis] = (max(-begin, 0), max(-end, 0))
    y = np.pad(y, added)
    return np.take(y, range(max(begin, 0), y.shape[axis] - max(end, 0)), axis=axis)


@onnx_import("ConvTranspose")
def import_conv_transpose(node: OnnxNode) -> Value:
    x, weights = node.operand(0), node.operand(1)
    rank = len(x.shape)
    nhwc = to_nhwc(node, x)
    if len(weights.shape) != rank:
        node.unsupported(f"its weights have the shape {list(weights.shape)}", "repair the model")
    groups = int(node.attrs.get("group", 1))
    kernel = weights.shape[2:]
    strides, dilations = per_axis(node, "strides", rank - 2), per_axis(node, "dilations", rank - 2)
    begin, end = _pads(node, x.shape[2:], kernel, strides, dilations)
    one = [1] * (4 - rank)
    none = [0] * (4 - rank)
    strides, dilations = one + strides, one + dilations
    begin, end = none + begin, none + end
    w = _weights(node, weights, groups)
    op = ConvTranspose2d(
        *node.fresh(),
        strides=(strides[0], strides[1]),
        pads=(begin[0], begin[1], end[0], end[1]),
        dilations=(dilations[0], dilations[1]),
        groups=groups,
    )
    b = import_bias(node, node.optional(2), w.shape[0])
    return to_nchw(node, node.add(op, nhwc, w, b), rank)


def _weights(node: OnnxNode, weights: Value, groups: int) -> Value:
    """Weights (C, O / groups, kh, kw), or without kh, as (O, kh, kw, C / groups)."""
    cin, each, *kernel = weights.shape
    kh, kw = (1, *kernel)[-2:]
    shape = (groups * each, kh, kw, cin // groups)
    spatial = range(2, len(weights.shape))
    if groups == 1:
        return import_weights(node, weights, (1, *spatial, 0), shape)
    if weights.data is None:
        node.unsupported("its weights are computed at run time", "export constant weights")
    grouped = weights.real.reshape(groups, cin // groups, each, kh, kw)
    return node.graph.constant(weights.name, grouped.transpose(0, 2, 3, 4, 1).reshape(shape))


def _pads(
    node: OnnxNode,
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """What is cut off at the beginning and the end of each axis; negative where some is added."""
    axes = len(size)
    added = [int(n) for n in node.attrs.get("output_padding", [0] * axes)]
    auto = str(node.attrs.get("auto_pad", "NOTSET"))
    wish = node.attrs.get("output_shape")
    if wish is None and auto.startswith("SAME"):
        wish = [n * s for n, s in zip(size, strides, strict=True)]
    if wish is None:
        pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * axes))]
        pads = [0] * (2 * axes) if auto == "VALID" else pads
        return pads[:axes], [p - a for p, a in zip(pads[axes:], added, strict=True)]
    numbers = zip(size, kernel, strides, dilations, wish[-axes:], added, strict=True)
    total = [(n - 1) * s + (k - 1) * d + 1 + a - out for n, k, s, d, out, a in numbers]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    begin, end = (less, more) if auto == "SAME_UPPER" else (more, less)
    return begin, [e - a for e, a in zip(end, added, strict=True)]
