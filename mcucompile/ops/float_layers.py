"""Convolutions and dense layers in float32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Value
from mcucompile.ops.conv import Convolution
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.dense import Dense
from mcucompile.ops.float32 import Float, float_call
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.float32 import clamped, sums_of_products


def _blocked(weights: Array, groups: int) -> Array:
    """Weights (O, taps) as the kernel reads them: see `mcuc/conv2d_f32.h`."""
    streams = []
    for group in weights.reshape(groups, -1, weights.shape[1]):
        fours = len(group) - len(group) % 4
        for c in range(0, fours, 4):
            streams.append(group[c : c + 4].T.reshape(-1))
        streams.append(group[fours:].reshape(-1))
    return np.concatenate(streams)


_FIELDS = "in_h in_w cin out_w cout kh kw sh sw dh dw top left"


def _layer_call(
    op: FloatConv2d | FloatDense,
    operands: Sequence[Value],
    result: Value,
    geometry: Geometry,
    groups: int,
) -> KernelCall:
    x, w, b = operands
    assert w.data is not None
    assert b.data is not None
    is_depthwise = groups == geometry.cin == geometry.cout
    flat = w.data.reshape(len(w.data), -1)
    weights = flat.T.reshape(-1) if is_depthwise else _blocked(flat, groups)
    return float_call(
        op,
        "mcuc_depthwise_f32" if is_depthwise else "mcuc_conv2d_f32",
        "mcuc/conv2d_f32.h",
        {
            **geometry.params(_FIELDS),
            "groups": groups,
            "weights": Const("weights", np.ascontiguousarray(weights)),
            "bias": Const("bias", b.data),
        },
        op.clamp,
        (geometry.in_h, geometry.out_h),
        x,
        result,
        macs=result.elements * flat.shape[1],
    )


@dataclass(frozen=True)
class FloatConv2d(Float, Convolution):
    """A convolution."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x, w, b = arrays
        y = np.broadcast_to(b, (len(x), *results[0].shape[1:])).copy()
        with np.errstate(all="ignore"):
            for rows, cols, seen, tap in self._inside(x, w.shape[1:3]):
                part = y[:, rows, cols]
                y[:, rows, cols] = self._added(part, seen, w[:, tap[0], tap[1]])
        return (clamped(y, self.clamp),)

    def _added(self, y: Array, x: Array, w: Array) -> Array:
        """`y` (N, h, w, O) and the products of one tap, channel by channel; w: (O, C / groups)."""
        depth, each = w.shape[1], len(w) // self.groups
        total = y.reshape(*y.shape[:3], self.groups, each)
        terms = ((x[..., k::depth, None], w[:, k].reshape(self.groups, each)) for k in range(depth))
        return sums_of_products(total, terms).reshape(y.shape)

    def _inside(
        self, x: Array, kernel: Sequence[int]
    ) -> Iterator[tuple[slice, slice, Array, tuple[int, int]]]:
        """Each position (ky, kx) of the window in order: the rows and columns of results for which
        it is inside of the image, and what they see there."""
        for ky in range(kernel[0]):
            rows, high = self._axis(x.shape[1], kernel[0], ky, 0)
            for kx in range(kernel[1]):
                cols, wide = self._axis(x.shape[2], kernel[1], kx, 1)
                yield rows, cols, x[:, high, wide], (ky, kx)

    def _axis(self, size: int, kernel: int, tap: int, axis: int) -> tuple[slice, slice]:
        """On one axis: the results for which `tap` is inside, and where it is for them."""
        at = np.arange(self._out(size, kernel, axis)) * self.strides[axis]
        at = at - self.pads[axis] + tap * self.dilations[axis]
        inside = np.flatnonzero((at >= 0) & (at < size))
        if inside.size == 0:
            return slice(0, 0), slice(0, 0)
        first, last = inside[0], inside[-1]
        return slice(first, last + 1), slice(at[first], at[last] + 1, self.strides[axis])

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        geometry = self.geometry(operands, results[0])
        return _layer_call(self, operands, results[0], geometry, self.groups)


@dataclass(frozen=True)
class FloatDense(Float, Dense):
    """A dense layer: a 1x1 convolution of a row of vectors."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x, w, b = arrays
        with np.errstate(all="ignore"):
            y = sums_of_products(b, ((x[..., k, None], w[:, k]) for k in range(w.shape[1])))
        return (clamped(y, self.clamp),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        cout, cin = operands[1].shape
        vectors = operands[0].elements // cin
        geometry = Geometry(1, vectors, cin, 1, vectors, cout, 1, 1, 1, 1, 1, 1, 0, 0)
        return _layer_call(self, operands, results[0], geometry, 1)
