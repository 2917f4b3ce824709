"""Convolutions of bits with weights of two values: binary layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, QParams, QuantRule, Value
from mcucompile.ir.storage import BIT, UNIT, stored_bytes, words_of
from mcucompile.ops.binarize import bipolar
from mcucompile.ops.conv import Convolution
from mcucompile.plan.program import Const, KernelCall, Operand, Target

HEADER = "mcuc/binary_conv.h"
BLOCK = 96  # input channels whose indices within a pixel are bytes
LEAST_PLANES = 7  # the counters of the kernel begin with plane 2, and have five planes at least
MOST_WEIGHTS = 2**16 // 3  # per output channel: X, three times as large, has 16 bits
WHY = "bit-sliced: 32 output channels at once, and of the activations the sign that is rarer"


@dataclass(frozen=True)
class BinaryConv2d(Convolution):
    """A convolution of bits with weights that are +s or -s in each output channel.

    pad: what surrounds the image, -1, 0 or +1.
    """

    rounds_as_tflite = False

    pad: int = 0

    def _windows(self, x: Array, kh: int, kw: int) -> Array:
        if self.pad == 0:
            return super()._windows(x, kh, kw)
        top, left, bottom, right = self.pads
        around = ((0, 0), (top, bottom), (left, right), (0, 0))
        padded = np.pad(x, around, constant_values=self.pad)
        return Convolution._windows(replace(self, pads=(0, 0, 0, 0)), padded, kh, kw)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        layer = self.layer(operands, results[0])
        signs, unit = _signs(layer.weights)
        middle = 2 * _ones(signs) * unit  # what X = 2V stands for, a sum of zero
        biases = [layer.bias - middle, layer.bias + middle]
        channels = np.stack([*biases, unit, layer.m.astype(np.int64)], axis=1)
        rule = layer.rule
        return self._call(
            "mcuc_binary_conv_s8",
            operands,
            results,
            {
                "channels": Const("channels", channels.astype(np.int32).reshape(-1)),
                "shift": layer.shift,
                "zp": rule.zero_point,
                "lo": rule.lo,
                "hi": rule.hi,
            },
        )

    def _call(
        self,
        kernel: str,
        operands: Sequence[Value],
        results: Sequence[Value],
        own: dict[str, int | Const],
    ) -> KernelCall:
        """A call of `kernel`, whose parameters are those of both kernels and its `own`."""
        x, y, weights = operands[0], results[0], operands[1].data
        assert weights is not None
        _, in_h, in_w, cin = x.shape
        _, out_h, out_w, cout = y.shape
        kh, kw = weights.shape[1:3]
        signs, _ = _signs(weights)
        pads = _pad_planes(signs) if self.pad == 0 and any(self.pads) else np.zeros((1, 1, 0))
        params: dict[str, int | Const] = {
            "in_h": in_h,
            "in_w": in_w,
            "cin": cin,
            "out_w": out_w,
            "cout": cout,
            "kh": kh,
            "kw": kw,
            "sh": self.strides[0],
            "sw": self.strides[1],
            "dh": self.dilations[0],
            "dw": self.dilations[1],
            "top": self.pads[0],
            "left": self.pads[1],
            "pad": self.pad,
            "direct": int(self._is_direct(kh, kw)),
            "planes": _planes(weights),
            "pad_planes": pads.shape[-1],
            "weights": Const("weights", _pack_weights(signs)),
            "pads": Const("pads", _or_one(pads)),
            **own,
        }
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header=HEADER,
            params=params,
            reads=(Operand(x.name, in_h, stored_bytes(x) // in_h),),
            writes=(Operand(y.name, out_h, stored_bytes(y) // out_h),),
            scratch=self._scratch(x, weights),
            band=1,
            reads_once=not self._is_direct(kh, kw),
            why=WHY,
            macs=self.macs(operands, results),
        )

    def _is_direct(self, kh: int, kw: int) -> bool:
        """Are so few windows around each pixel that its indices are not worth keeping?"""
        return bool(kh * kw <= 2 * math.prod(self.strides))

    def _scratch(self, x: Value, weights: Array) -> int:
        kh, kw, cin = (int(n) for n in weights.shape[1:])
        if self._is_direct(kh, kw):
            return _aligned(2 * (kh * kw * cin // 2 + 16))
        blocks = -(-cin // BLOCK)
        cells = ((kh - 1) * self.dilations[0] + 1) * x.shape[2] * blocks
        cell = min(cin, BLOCK) + 9 & ~3
        listed = kh * kw * (cin // 2 + 3 * blocks + 1) + 16
        return cells * cell + _aligned(cells) + _aligned(2 * listed)


@dataclass(frozen=True)
class BinaryConv2dSign(BinaryConv2d):
    """The sign of a BinaryConv2d, +1 for zero; stored as bits."""

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return UNIT

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return BIT

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (bipolar(super().evaluate(operands)[0]),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x, w, b = (a.astype(np.float64) for a in arrays)  # exact
        return (bipolar(self._correlate(x, w) + b).astype(np.int8),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        weights, bias = operands[1].data, operands[2].data
        assert weights is not None
        assert bias is not None
        limits = Const("limits", _limits(weights, bias.astype(np.int64)))
        return self._call("mcuc_binary_conv_b1", operands, results, {"limits": limits})


def _aligned(size: int) -> int:
    return size + 3 & ~3


def _signs(weights: Array) -> tuple[Array, Array]:
    """Which weights are positive, and the magnitude that those of each output channel have."""
    size = np.abs(weights.astype(np.int64)).reshape(len(weights), -1)
    unit = size.max(axis=1)
    if not (size.min(axis=1) == unit).all():
        raise InternalError("a binary layer has weights of more than two values")
    return weights > 0, unit


def _ones(signs: Array) -> Array:
    """How many weights of each output channel are positive."""
    return np.asarray(signs.reshape(len(signs), -1).sum(axis=1, dtype=np.int64))


def _planes(weights: Array) -> int:
    """Bits of X, which is at most thrice the number of weights (see binary.h)."""
    return max((3 * math.prod(weights.shape[1:]) + 1).bit_length(), LEAST_PLANES)


def _limits(weights: Array, bias: Array) -> Array:
    """What X is compared with, as planes: for each group of channels t + 2V and 2V + 1 - t, where t
    is the smallest sum that makes unit * sum + bias >= 0."""
    signs, unit = _signs(weights)
    most = math.prod(weights.shape[1:])
    never_zero = np.maximum(unit, 1)
    least = np.where(unit > 0, -(bias // never_zero), np.where(bias >= 0, -most, most + 1))
    least = np.clip(least, -most, most + 1)
    both = np.stack([least + 2 * _ones(signs), 2 * _ones(signs) + 1 - least], axis=1)
    return _lanes(_bits(np.maximum(both, 0), _planes(weights))).reshape(-1)


def _pack_weights(signs: Array) -> Array:
    """The weights as the kernel reads them: a word per tap, block and channel for each group, and a
    word of zeros after each block."""
    cout, kh, kw, cin = signs.shape
    taps = signs.reshape(cout, kh * kw, cin)
    parts = []
    for first in range(0, cin, BLOCK):
        parts += [taps[..., first : first + BLOCK], np.zeros((cout, kh * kw, 1), dtype=bool)]
    return _lanes(np.concatenate(parts, axis=-1).reshape(cout, -1)).reshape(-1)


def _pad_planes(signs: Array) -> Array:
    """How many weights of each tap are positive, as planes: uint32 (groups, taps, planes)."""
    cout, kh, kw, cin = signs.shape
    counts = signs.reshape(cout, kh * kw, cin).sum(axis=-1, dtype=np.int64)
    return _lanes(_bits(counts, cin.bit_length()))


def _bits(numbers: Array, planes: int) -> Array:
    """The bits of `numbers`, lowest first, along a new last axis."""
    return np.asarray((numbers[..., None] >> np.arange(planes)) & 1, dtype=bool)


def _lanes(bits: Array) -> Array:
    """Bits per output channel, on axis 0, as words of 32 channels: uint32 (groups, ...)."""
    groups = words_of(len(bits))
    padded = np.zeros((groups * 32, *bits.shape[1:]), dtype=np.uint32)
    padded[: len(bits)] = bits
    shifts = np.arange(32, dtype=np.uint32).reshape(1, 32, *[1] * (bits.ndim - 1))
    lanes = padded.reshape(groups, 32, *bits.shape[1:]) << shifts
    return np.asarray(lanes.sum(axis=1, dtype=np.uint32))


def _or_one(array: Array) -> Array:
    """`array` in one dimension; C has no arrays without elements."""
    return array.reshape(-1).astype(np.uint32) if array.size else np.zeros(1, dtype=np.uint32)
