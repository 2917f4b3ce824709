"""Integers for the constants of a float model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir.types import QMAX, Array, QParams, Value
from mcucompile.quant.numbers import requant

NOTHING = 1e-30  # a range below this is all zero: any scale serves
BIAS_LIMIT = 2.0**30  # leaves the other half of the 32 bits to the sum of products
# Rounding it to an integer moves a result by 0.001 of a step at most, and sums that fill the 256
# steps of a result stay below 2^23, so that kernels can keep two of them in a register.
LEAST_MULTIPLIER = 2.0**17


def range_qparams(lo: float, hi: float) -> QParams:
    """Asymmetric int8 parameters for reals in [lo, hi]; zero is always representable exactly."""
    lo, hi = min(lo, 0.0), max(hi, 0.0)
    scale = (hi - lo) / 255.0
    if scale < NOTHING:
        return QParams((1.0,), 0)
    scale = float(np.float32(scale))
    return QParams((scale,), int(np.clip(round(-128 - lo / scale), -128, 127)))


def symmetric_qparams(lo: float, hi: float) -> QParams:
    """Symmetric int16 parameters for reals in [lo, hi]."""
    peak = max(-lo, hi)
    if peak < NOTHING:
        return QParams((1.0,), bits=16)
    return QParams((float(np.float32(peak / 32767)),), bits=16)


def quantize_per_tensor(value: Value) -> Value:
    """A float constant as int8 with one scale, asymmetric."""
    data = value.real
    q = range_qparams(float(data.min()), float(data.max()))
    return replace(value, dtype="int8", qparams=q, data=q.quantize(data))


def quantize_weights(value: Value, least: Array | None = None) -> Value:
    """A weight constant as int8, symmetric, one scale per index of axis 0.

    least: the smallest scale allowed per channel, see `least_weight_scale`.
    """
    data = value.real
    peak = np.abs(data.reshape(data.shape[0], -1)).max(axis=1, initial=0.0)
    scale = np.maximum(peak / QMAX, 0.0 if least is None else least)
    scale = np.where(scale < NOTHING, 1.0, scale).astype(np.float32)
    q = QParams(tuple(float(s) for s in scale), 0, 0)
    return replace(value, dtype="int8", qparams=q, data=q.quantize(data))


def least_weight_scale(bias: Value, x: QParams) -> Array:
    """Weight scales from which on `bias` fits its int32, per channel.

    A channel with tiny weights beside its bias (one that training switched off) would otherwise
    ask for a bias of more than 32 bits.
    """
    return np.asarray(np.abs(bias.real.astype(np.float64)) / (x.scale[0] * BIAS_LIMIT))


def quantize_bias(value: Value, scales: Array) -> Value:
    """A bias constant (float, or integer of other scale) as int32 at `scales` per channel.

    scales: input scale times weight scale, float64, shape (channels,). Raises OverflowError if an
    entry leaves int32.
    """
    assert value.data is not None
    real = value.data.astype(np.float64)
    if value.qparams is not None:
        given = value.qparams.scale_array(1)
        if np.allclose(given, scales, rtol=1e-5, atol=0.0):  # exact: the model's own integers
            scales = np.broadcast_to(given, scales.shape)
        real = (real - value.qparams.zero_point) * given
    q = np.rint(real / scales)
    if q.min(initial=0.0) < -(2**31) or q.max(initial=0.0) >= 2**31:
        raise OverflowError(f"bias {value.name} needs more than 32 bits")
    qparams = QParams(tuple(float(s) for s in scales), 0, 0)
    return replace(value, dtype="int32", qparams=qparams, data=q.astype(np.int32))


def quantize_weights_and_bias(x: QParams, weights: Value, bias: Value) -> tuple[Value, Value]:
    """The constants of a convolution or dense layer with input parameters `x`.

    weights: output channel on axis 0; integers that are symmetric per channel (or per tensor) are
    kept as they are. bias: shape (channels,). Raises OverflowError as quantize_bias.
    """
    w = weights.qparams
    if w is None or w.zero_point != 0 or w.axis not in (None, 0):
        weights = quantize_weights(weights, least_weight_scale(bias, x))
    channels = weights.shape[0]
    scales = np.broadcast_to(np.asarray(weights.q.scale, dtype=np.float64), (channels,))
    return weights, quantize_bias(bias, x.scale[0] * scales)


def strengthen_faint_channels(
    x: QParams, weights: Value, bias: Value, result: QParams
) -> tuple[Value, Value]:
    """The integer constants of a layer, with larger scales in channels whose multiplier is tiny.

    Where the weights of a channel are (nearly) zero, its multiplier weights * x / result would
    have few bits beside a large bias, and rounding it would move the result. With a multiplier of
    17 bits a weight counts 2^-15 of a step of the result: rounding it again costs next to nothing.
    """
    assert weights.data is not None
    assert bias.data is not None
    channels = weights.shape[0]
    old = np.broadcast_to(np.asarray(weights.q.scale, dtype=np.float64), (channels,))
    step = result.scale[0] / x.scale[0]
    shift = requant((old / step).tolist(), result).shift
    least = np.float32(step * LEAST_MULTIPLIER / 2.0 ** (32 - shift))
    faint = old < least
    if not faint.any():
        return weights, bias
    scale = np.where(faint, np.float64(least), old)
    factor = old / scale
    data = np.rint(weights.data * factor.reshape(-1, *[1] * (weights.data.ndim - 1)))
    q = QParams(tuple(float(s) for s in scale), 0, 0)
    bias_scale = np.where(faint, x.scale[0] * scale, np.asarray(bias.q.scale))
    bias_q = QParams(tuple(float(s) for s in bias_scale), 0, 0)
    sums = np.rint(bias.data * factor)
    return (
        replace(weights, qparams=q, data=data.astype(np.int8)),
        replace(bias, qparams=bias_q, data=sums.astype(np.int32)),
    )
