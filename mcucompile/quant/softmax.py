"""Softmax in integers.

    d_i  = max(q) - q_i                                    0 .. 255
    e_i  = table[d_i],  table[d] = round(exp(-d * scale) * 2^bits), 0 beyond the table
    S    = sum e_i                                         < 2^32 by the choice of bits
    n    = leading zeros of S
    inv  = floor((2^32 - 1) / ((S << n) >> 16))            about 2^48 / (S << n), 17 bits
    t_i  = (e_i * inv) >> (24 - n)                         the probability, 24 bits of fraction
    y_i  = clamp(zp + floor((t_i * m + 2^31) / 2^32))      m = 2^8 / result scale

One division per row, of 32 bits. The reciprocal is off by less than 2^-14, so a result is at most
0.02 of a step (at scale 1/256) from the exact one before rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, QParams

MAX_BITS = 22


@dataclass(frozen=True)
class SoftmaxRule:
    """table: uint32, shape (entries,), at most 256 entries. m: multiplier of the result."""

    table: Array
    m: int
    zero_point: int

    def apply(self, q: Array) -> Array:
        """int8 results for int8 logits, along the last axis."""
        d = q.max(axis=-1, keepdims=True).astype(np.int64) - q
        padded = np.zeros(256, dtype=np.uint64)
        padded[: self.table.size] = self.table
        e = padded[d]
        total = e.sum(axis=-1, keepdims=True)
        zeros = np.uint64(31) - np.floor(np.log2(total.astype(np.float64))).astype(np.uint64)
        inverse = np.uint64(2**32 - 1) // ((total << zeros) >> np.uint64(16))
        t = ((e * inverse) >> (np.uint64(24) - zeros)).astype(np.int64)
        y = self.zero_point + ((t * self.m + 2**31) >> 32)
        return np.asarray(np.clip(y, -128, 127), dtype=np.int8)


def softmax_rule(operand: QParams, result: QParams, width: int) -> SoftmaxRule:
    """The rule for rows of `width` logits.

    Raises OverflowError if the result's scale is too small for a 31-bit multiplier.
    """
    bits = min(MAX_BITS, 31 - width.bit_length())
    exact = np.exp(-np.arange(256) * operand.scale[0]) * 2.0**bits
    table = np.rint(exact).astype(np.uint32)
    m = round(2.0**8 / result.scale[0])
    if m >= 2**31:
        raise OverflowError("result scale below 2^-23")
    return SoftmaxRule(table[: int(np.count_nonzero(table))], m, result.zero_point)
