"""Normalization of a group of n numbers to a mean of 0 and a variance of 1, in integers.

    S1 = sum q,  S2 = sum q^2                                     int32
    M  = S1, or n * zp where the mean is not subtracted
    V  = n * S2 - 2 * M * S1 + M^2                                n^2 times the variance
    W  = (V << 12) + E,  E = 2^12 * n^2 * epsilon / scale^2       64 bits; at least 1
    D  = n * q - M                                                n times the distance to the mean
    Z  = D / sqrt(W) * 2^6                                        the normalized number
    y  = clamp((Z * gain + offset) >> shift, lo, hi)              gain and offset by channel

The root costs no division and no loop of many steps: with an even number of bits z, W << z is a
fraction w / 2^32 of [1/4, 1) in its upper half, whose reciprocal root r (30 bits of fraction) three
steps of Newton's method find from a straight line. As sum D^2 = n * V, |D| <= sqrt(n * V): the
shift of D by z / 2 + 5 - h, with 2^h >= sqrt(n), keeps to 31 bits, and

    Z = ((D << z / 2 + 5 - h) * r + 2^31) >> 32                   29 - h bits of fraction

whatever W is. A number costs four multiplications of 32 bits; Z is off by less than 2^-20 of itself
and 2^-(28 - h).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, QParams
from mcucompile.quant.numbers import INT32_LIMIT, clamp_bounds

MOST_COUNT = 2**17 - 1  # of a group: S2 keeps to 32 bits
MOST_SHIFT = 22
FRACTION = 12  # bits of W that count parts of V
GUESS, SLOPE = 2290047083, 1308598333  # the straight line, 30 bits of fraction


@dataclass(frozen=True)
class NormalizeRule:
    """count: n. centered: is the mean subtracted? zero: of the operand. epsilon: E. half: h.

    gains, offsets: int32, one per channel.
    """

    count: int
    centered: bool
    zero: int
    epsilon: int
    half: int
    gains: Array
    offsets: Array
    shift: int
    lo: int
    hi: int

    def apply(self, q: Array, groups: int) -> Array:
        """int8 results for int8 operands (..., pixels, channels): one group is all pixels of
        channels / groups channels side by side."""
        x = q.astype(np.int64).reshape(*q.shape[:-1], groups, q.shape[-1] // groups)
        s1, s2 = (v.sum(axis=(-3, -1), keepdims=True) for v in (x, x * x))
        m = s1 if self.centered else np.full_like(s1, self.count * self.zero)
        v = self.count * s2 - 2 * m * s1 + m * m
        w = (v << FRACTION) + self.epsilon
        bits, root = _reciprocal_root(np.maximum(w, 1).astype(np.uint64))
        shift = bits // 2 + FRACTION // 2 - 1 - self.half
        d = self.count * x - m
        d = np.where(shift >= 0, d << np.maximum(shift, 0), d >> np.maximum(-shift, 0))
        z = ((d * root + 2**31) >> 32).reshape(q.shape)
        y = (self.offsets + ((z * self.gains.astype(np.int64) + 2**31) >> 32)) >> self.shift
        return np.asarray(np.clip(y, self.lo, self.hi), dtype=np.int8)


def _reciprocal_root(w: Array) -> tuple[Array, Array]:
    """For w > 0 (uint64): z, and r such that 1 / sqrt(w) = r * 2^(z/2 - 62); both int64."""
    high = (w >> np.uint64(32)).astype(np.int64)
    low = (w & np.uint64(2**32 - 1)).astype(np.int64)
    # frexp is exact for 32 bits, while a float64 of 64 bits may be rounded up.
    length = np.where(high > 0, 32 + np.frexp(high)[1], np.frexp(low)[1])
    bits = (64 - length.astype(np.int64)) // 2 * 2
    part = (w << bits.astype(np.uint64)) >> np.uint64(32)
    r: Array = np.uint64(GUESS) - ((part * np.uint64(SLOPE)) >> np.uint64(32))
    for _ in range(3):
        square = (r * r) >> np.uint64(32)
        product = (part * square) >> np.uint64(32)
        r = (r * (np.uint64(3 << 28) - product)) >> np.uint64(29)
    return bits, np.minimum(r, np.uint64(INT32_LIMIT - 1)).astype(np.int64)


def normalize_rule(
    operand: QParams,
    result: QParams,
    count: int,
    centered: bool,
    epsilon: float,
    gain: Array,
    bias: Array,
    clamp: tuple[float, float] | None = None,
) -> NormalizeRule:
    """The rule for groups of `count` numbers.

    gain, bias: real numbers per channel. epsilon: added to the variance. Raises OverflowError if
    `count` or the gains are beyond 32 bits.
    """
    if count > MOST_COUNT:
        raise OverflowError(f"a group of {count} numbers is larger than {MOST_COUNT}")
    half = ((count - 1).bit_length() + 1) // 2
    e = min(round(count**2 * epsilon / operand.scale[0] ** 2 * 2.0**FRACTION), 2**62)
    factors = np.asarray(gain, dtype=np.float64) / result.scale[0]
    offsets = np.asarray(bias, dtype=np.float64) / result.scale[0] + result.zero_point
    for shift in range(MOST_SHIFT, -1, -1):
        m = np.rint(factors * 2.0 ** (3 + half + shift))
        b = np.rint((offsets + 0.5) * 2.0**shift)
        if np.abs(m).max() < INT32_LIMIT and (np.abs(b) + np.abs(m) / 8 + 2).max() < INT32_LIMIT:
            return NormalizeRule(
                count,
                centered,
                operand.zero_point,
                e,
                half,
                m.astype(np.int32),
                b.astype(np.int32),
                shift,
                *clamp_bounds(result, clamp),
            )
    raise OverflowError("gains or offsets are too large beside the range of the result")
