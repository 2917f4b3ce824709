"""The arithmetic of float32 layers, operation by operation, so that C gives the same bits.

Every multiplication, addition and division is one of IEEE 754 in 32 bits and rounds for itself;
sums are formed in the order that is written here. The last step of each layer is

    y = clamp(y, lo, hi)        the bounds of a fused Relu or Clip, else the largest finite numbers

where NaN becomes lo, so that no tensor has infinities or NaN in it. `mcuc/float32.h` is the same
in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from mcucompile.ir import Array, QParams

LARGEST = float(np.finfo(np.float32).max)
REAL = QParams((1.0,), bits=32)  # of numbers that are stored as float32

Clamp = tuple[float, float] | None


def bounds(clamp: Clamp) -> tuple[float, float]:
    """lo and hi, both float32 numbers."""
    lo, hi = clamp or (-LARGEST, LARGEST)
    return float(np.float32(max(lo, -LARGEST))), float(np.float32(min(hi, LARGEST)))


def clamped(y: Array, clamp: Clamp) -> Array:
    """`y`, float32 of any shape, within the bounds."""
    lo, hi = (np.float32(bound) for bound in bounds(clamp))
    return _within(y, lo, hi)


def _within(y: Array, lo: np.float32, hi: np.float32) -> Array:
    y = np.where(y > lo, y, lo)
    return np.where(y < hi, y, hi)


def sums_of_products(bias: Array, terms: Iterable[tuple[Array, Array]]) -> Array:
    """bias + x1 * w1 + x2 * w2 + ..., from left to right; all float32 and broadcastable."""
    total = bias
    for x, w in terms:
        total = total + x * w
    return np.asarray(total)


_f = np.float32
_NEAREST = _f(12582912.0)  # 1.5 * 2^23: around it neighbouring float32 numbers are 1 apart
_LN2 = _f(0.693359375), _f(-0.00021219444170128554)  # in two parts: n times the first is exact
# exp(r) = 1 + r + r^2 * (this polynomial of r), least squares of the relative error for
# |r| <= ln(2) / 2, the highest power first.
_EXP = tuple(
    map(
        _f,
        (
            0.001375138177536428,
            0.00836892332881689,
            0.04166953265666962,
            0.166665181517601,
            0.49999988079071045,
        ),
    )
)


def exp(x: Array) -> Array:
    """e to the power of x, which is taken for -87 or 88 beyond these; within 1e-7 of the result.

    2^n * exp(r) with n = nearest(x / ln 2) and r = x - n * ln 2.
    """
    x = _within(x, _f(-87), _f(88))
    n = (x * _f(1.4426950408889634) + _NEAREST) - _NEAREST
    r = (x - n * _LN2[0]) - n * _LN2[1]
    y = np.full_like(r, _EXP[0])
    for coefficient in _EXP[1:]:
        y = y * r + coefficient
    y = (y * r * r + r) + _f(1)
    return np.asarray(y * ((n.astype(np.int32) + 127) << 23).astype(np.int32).view(_f))


def sigmoid(x: Array) -> Array:
    return np.asarray(_f(1) / (_f(1) + exp(-x)))


def tanh(x: Array) -> Array:
    return np.asarray(_f(1) - _f(2) / (exp(x + x) + _f(1)))


def hardsigmoid(x: Array, alpha: float, beta: float) -> Array:
    return _within(x * _f(alpha) + _f(beta), _f(0), _f(1))


# Functions of one number; the second argument and the third are those that ONNX has.
FUNCTIONS: dict[str, Callable[..., Array]] = {
    "identity": lambda x, a, b: x,
    "abs": lambda x, a, b: np.where(x < 0, -x, x),
    "leakyrelu": lambda x, a, b: np.where(x < 0, x * _f(a), x),
    "scale": lambda x, a, b: x * _f(a) + _f(b),
    "hardsigmoid": hardsigmoid,
    "hardswish": lambda x, a, b: x * hardsigmoid(x, 1 / 6, 0.5),
    "exp": lambda x, a, b: exp(x),
    "elu": lambda x, a, b: np.where(x < 0, (exp(x) - _f(1)) * _f(a), x),
    "sigmoid": lambda x, a, b: sigmoid(x),
    "tanh": lambda x, a, b: tanh(x),
    "swish": lambda x, a, b: x * sigmoid(x * _f(a)),
}
