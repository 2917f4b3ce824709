"""The number contract: the only place where Python rounds what the C code computes.

    y = sat8(zp + floor(((acc << k) * m + 2^31) / 2^32))       0 <= m < 2^31,  k >= 0

is the one requantization rule, here and in `runtime_c/include/mcuc/arch`. On ARMv7E-M it is SMMLAR
and SSAT. All functions are exact in integers; `acc` must be within the bound that was proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir.types import QMAX, QMIN, Array, QParams

INT32_LIMIT = 2**31


@dataclass(frozen=True)
class Requant:
    """Multipliers of one layer: real multiplier of channel c = m[c] * 2^shift / 2^32.

    m: one per output channel, or one for all; each in [0, 2^31).
    zero_point: of the result. lo, hi: clamp bounds of the result, within int8.
    """

    m: tuple[int, ...]
    shift: int
    zero_point: int
    lo: int = QMIN
    hi: int = QMAX

    def apply(self, acc: Array) -> Array:
        """int8 results of the accumulators `acc` (any shape; channels last where m has several)."""
        m = np.asarray(self.m, dtype=np.int64)
        scaled = ((acc.astype(np.int64) << self.shift) * m + 2**31) >> 32
        return np.asarray(np.clip(scaled + self.zero_point, self.lo, self.hi), dtype=np.int8)


def requant(
    multipliers: Sequence[float], result: QParams, clamp: tuple[float, float] | None = None
) -> Requant:
    """The Requant for real `multipliers` (input scale * weight scale / output scale, >= 0).

    clamp: real bounds of the result (a fused Relu or Clip), None for none.
    """
    largest = max(multipliers)
    shift = 0
    while round(largest * 2.0 ** (32 - shift)) >= INT32_LIMIT:
        shift += 1
    m = tuple(round(x * 2.0 ** (32 - shift)) for x in multipliers)
    lo, hi = clamp_bounds(result, clamp)
    return Requant(m, shift, result.zero_point, lo, hi)


def clamp_bounds(result: QParams, clamp: tuple[float, float] | None) -> tuple[int, int]:
    """Integer bounds of a value clamped to the real interval `clamp`; the whole range for None."""
    if clamp is None:
        return result.limits
    lo, hi = result.quantize(np.asarray(clamp, dtype=np.float64))
    return int(lo), int(hi)


def quantize_float32(x: Array, q: QParams) -> Array:
    """int8 for float32 numbers, as QuantizeLinear: x / scale in float32, ties to even, saturated.

    NaN becomes the lowest number. The C code does the same without libm: see mcuc/border.h.
    """
    lo, hi = QMIN - q.zero_point, QMAX - q.zero_point
    with np.errstate(all="ignore"):
        y = x.astype(np.float32) / np.float32(q.scale[0])
    nearest = np.rint(np.clip(np.where(np.isnan(y), lo, y), lo, hi))
    return np.asarray(nearest + q.zero_point, dtype=np.int8)


def dequantize_float32(x: Array, q: QParams) -> Array:
    """float32 for int8 numbers, as DequantizeLinear: one multiplication in float32."""
    return np.asarray((x.astype(np.float32) - q.zero_point) * np.float32(q.scale[0]))


def accumulator_bound(weights: Array, bias: Array) -> Array:
    """Largest |partial sum| per output channel while the raw int8 inputs are summed, int64.

    weights: int8, output channel on axis 0. bias: int32 with the input zero-point folded in.
    Any order of summation stays below it: |b| + 128 * sum|w|.
    """
    flat = np.abs(weights.astype(np.int64)).reshape(weights.shape[0], -1)
    return np.asarray(np.abs(bias.astype(np.int64)) + 128 * flat.sum(axis=1))


def rounding_error(bound: Array, rule: Requant) -> float:
    """Largest error, in steps of the result, that rounding the multipliers to integers causes.

    bound: per channel, of the accumulator. Larger accumulators than fill the 256 steps of the
    result do not count, since they saturate either way.
    """
    m = np.maximum(np.asarray(rule.m, dtype=np.float64), 1.0)
    acc = np.minimum(np.asarray(bound) * 2.0**rule.shift, 257 * 2.0**32 / m)
    return float(np.max(acc)) * 0.5 / 2.0**32


@dataclass(frozen=True)
class WeightedSum:
    """y = clip((floor(x1*m[0] / 2^16) + floor(x2*m[1] / 2^16) + ... + offset) >> shift, lo, hi).

    m: int32 multipliers; with them SMLAWB computes a term in one instruction, and every sum is
    within int32. offset: zero-points and rounding.
    """

    m: tuple[int, ...]
    offset: int
    shift: int
    lo: int = QMIN
    hi: int = QMAX

    def apply(self, operands: Sequence[Array]) -> Array:
        """int8 results for int8 operands of equal (or broadcastable) shapes."""
        total = np.asarray(self.offset, dtype=np.int64)
        for x, m in zip(operands, self.m, strict=True):
            total = total + ((x.astype(np.int64) * m) >> 16)
        return np.asarray(np.clip(total >> self.shift, self.lo, self.hi), dtype=np.int8)


def weighted_sum(
    operands: Sequence[QParams],
    signs: Sequence[int],
    result: QParams,
    clamp: tuple[float, float] | None = None,
) -> WeightedSum:
    """The WeightedSum for sum(sign_i * x_i), with the largest shift that 32 bits allow.

    The error stays below 2^-12 of a step where operand steps are at most twice those of the
    result; it doubles with each doubling of that ratio. Raises OverflowError from a ratio of 2^15.
    """
    real = [s * q.scale[0] / result.scale[0] for q, s in zip(operands, signs, strict=True)]
    for shift in range(22, -1, -1):
        m = [round(r * 2.0 ** (shift + 16)) for r in real]
        zero = sum(mi * q.zero_point for mi, q in zip(m, operands, strict=True))
        # Each floor loses half on average; the shift, half of 2^shift.
        half = ((len(m) << 16) >> 1) + (((1 << shift) >> 1) << 16)
        offset = (result.zero_point << shift) + ((half - zero) >> 16)
        extreme = abs(offset) + sum((abs(mi) >> 9) + 1 for mi in m)
        if max(abs(mi) for mi in m) < INT32_LIMIT and extreme < INT32_LIMIT:
            lo, hi = clamp_bounds(result, clamp)
            return WeightedSum(tuple(m), offset, shift, lo, hi)
    raise OverflowError("operand scale more than 2^15 times the result scale")
