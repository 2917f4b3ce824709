"""TFLite's rounding, bit for bit: what `--requant tflite` computes in the place of the contract's.

    high = round((x << left) * m / 2^31)        y = round(high / 2^right)        2^30 <= m < 2^31

The first step rounds one half up, the second away from zero, as gemmlowp does (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
2018, section 2.2). The scales
are those of the model, float32, and their products and quotients are taken in float64. In C this
is `mcuc_tflite_scale`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.ir import QMAX, QMIN, Array, Graph, QParams, RequantRule
from mcucompile.quant.numbers import INT32_LIMIT, clamp_bounds

LEFT_SHIFT = 20  # of the operands of an Add, before they are scaled
MOST = 2.0**20  # times the step of an Add's result: a sum of 2^28 is shifted by 2 at most


def with_rounding(graph: Graph, rounding: RequantRule) -> Graph:
    """`graph` whose operators round by the rule `rounding`, as far as they know it."""
    graph = graph.copy()
    for op in graph.ops():
        if op.rounds_as_tflite:
            graph.set_op(replace(op, rounding=rounding))
    return graph


@dataclass(frozen=True)
class Scale:
    """Multiplication with m / 2^31 * 2^exponent."""

    m: int
    exponent: int

    @classmethod
    def of(cls, real: float) -> Scale:
        """The nearest one to `real` >= 0."""
        fraction, exponent = math.frexp(real)
        m = math.floor(fraction * 2**31 + 0.5)
        if m == 2**31:
            m, exponent = m // 2, exponent + 1
        return cls(0, 0) if exponent < -31 else cls(m, exponent)

    def apply(self, x: Array) -> Array:
        """int64 results for the integers `x`, any shape."""
        return _scaled(x, np.array(self.m), np.array(self.exponent))

    def holds(self, bound: int) -> bool:
        """Do integers of up to `bound` survive the shift to the left?"""
        return bound << max(self.exponent, 0) < INT32_LIMIT


def _scaled(x: Array, m: Array, exponent: Array) -> Array:
    product = (x.astype(np.int64) << np.maximum(exponent, 0)) * m
    half = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(product + half) * (np.abs(product + half) >> 31)  # towards zero
    right = np.maximum(-exponent, 0)
    mask = (1 << right) - 1
    return np.asarray((high >> right) + ((high & mask) > (mask >> 1) + (high < 0)))


@dataclass(frozen=True)
class TfliteRequant:
    """What becomes of the sums of a layer: one Scale per output channel, or one for all."""

    scales: tuple[Scale, ...]
    zero_point: int
    lo: int = QMIN
    hi: int = QMAX

    def apply(self, acc: Array) -> Array:
        """int8 results of the accumulators `acc` (any shape; channels last where there are
        several)."""
        m, exponent = self.table.T
        y = _scaled(acc, m, exponent) + self.zero_point
        return np.asarray(np.clip(y, self.lo, self.hi), dtype=np.int8)

    def holds(self, bound: Array) -> bool:
        """Do sums of up to `bound`, per channel, survive the shift to the left?"""
        return all(s.holds(int(b)) for s, b in zip(self.scales, bound, strict=True))

    @property
    def table(self) -> Array:
        """(channels, 2): m and exponent, int64."""
        return np.array([(s.m, s.exponent) for s in self.scales], dtype=np.int64)


def layer_requant(
    x: QParams,
    weights: Sequence[float],
    result: QParams,
    clamp: tuple[float, float] | None,
    dense: bool,
) -> TfliteRequant:
    """The rule of a convolution or dense layer with weights of the given scales.

    A dense layer with one scale multiplies it with that of the input in float32, as TFLite does.
    """
    if dense and len(set(weights)) == 1:
        products = [float(np.float32(x.scale[0]) * np.float32(weights[0]))] * len(weights)
    else:
        products = [x.scale[0] * w for w in weights]
    scales = tuple(Scale.of(p / result.scale[0]) for p in products)
    return TfliteRequant(scales, result.zero_point, *clamp_bounds(result, clamp))


@dataclass(frozen=True)
class AddRule:
    """clamp(zp + s(s1((x1 - zp1) << 20) + sign * s2((x2 - zp2) << 20)))."""

    first: Scale
    second: Scale
    total: Scale
    sign: int
    zero_points: tuple[int, int, int]
    lo: int
    hi: int

    def apply(self, a: Array, b: Array) -> Array:
        za, zb, zy = self.zero_points
        x = self.first.apply((a.astype(np.int64) - za) << LEFT_SHIFT)
        y = self.second.apply((b.astype(np.int64) - zb) << LEFT_SHIFT)
        total = self.total.apply(x + self.sign * y) + zy
        return np.asarray(np.clip(total, self.lo, self.hi), dtype=np.int8)


def add_rule(
    operands: Sequence[QParams], sign: int, result: QParams, clamp: tuple[float, float] | None
) -> AddRule:
    """The rule of an Add (sign 1) or Sub (-1) of two tensors.

    Raises OverflowError if a scaled sum may leave 32 bits.
    """
    a, b = operands
    if max(a.scale[0], b.scale[0]) > MOST * result.scale[0]:
        raise OverflowError("operand scale too large beside the result scale")
    twice = 2.0 * max(a.scale[0], b.scale[0])
    return AddRule(
        Scale.of(a.scale[0] / twice),
        Scale.of(b.scale[0] / twice),
        Scale.of(twice / (2.0**LEFT_SHIFT * result.scale[0])),
        sign,
        (a.zero_point, b.zero_point, result.zero_point),
        *clamp_bounds(result, clamp),
    )


@dataclass(frozen=True)
class MeanRule:
    """clamp(zp + round(scale(sum - zero) / count)), one half away from zero.

    zero: part of the input's zero-point in a sum of `count` numbers.
    """

    scale: Scale
    zero: int
    count: int
    zero_point: int
    lo: int
    hi: int

    def apply(self, total: Array) -> Array:
        """int8 means for sums of stored numbers."""
        x = self.scale.apply(total - self.zero)
        half = np.where(x > 0, self.count // 2, -(self.count // 2))
        y = np.sign(x + half) * (np.abs(x + half) // self.count) + self.zero_point
        return np.asarray(np.clip(y, self.lo, self.hi), dtype=np.int8)


def mean_rule(
    x: QParams, result: QParams, count: int, clamp: tuple[float, float] | None
) -> MeanRule:
    """TFLite's AveragePool, if operand and result are stored alike: the mean of stored numbers.
    Otherwise its Mean. Raises OverflowError if a scaled sum may leave 32 bits."""
    bounds = clamp_bounds(result, clamp)
    if x == result:
        return MeanRule(Scale.of(1.0), 0, count, 0, *bounds)
    scale = Scale.of(x.scale[0] / result.scale[0])
    if not scale.holds(257 * count):
        raise OverflowError("operand scale too large beside the result scale")
    return MeanRule(scale, count * x.zero_point, count, result.zero_point, *bounds)
