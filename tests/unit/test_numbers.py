"""The number contract: exact integers, against fractions and against real arithmetic."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from mcucompile.ir import Array, QParams, Value
from mcucompile.quant.constants import (
    least_weight_scale,
    quantize_bias,
    quantize_per_tensor,
    quantize_weights,
    quantize_weights_and_bias,
    range_qparams,
    strengthen_faint_channels,
)
from mcucompile.quant.numbers import (
    INT32_LIMIT,
    Requant,
    accumulator_bound,
    clamp_bounds,
    requant,
    rounding_error,
    weighted_sum,
)

RNG = np.random.default_rng(7)


def constant(data: np.ndarray, qparams: QParams | None = None) -> Value:
    return Value("c", data.shape, str(data.dtype), qparams, data)


# -- requantization ---------------------------------------------------------------------------


def test_requant_is_the_stated_formula() -> None:
    rule = Requant((2**31 - 1, 3, 0), 1, -5)
    acc = RNG.integers(-(2**30), 2**30, (200, 3))
    for row, got in zip(acc.tolist(), rule.apply(acc).tolist(), strict=True):
        for a, m, y in zip(row, rule.m, got, strict=True):
            exact = floor(Fraction((a << 1) * m + 2**31, 2**32)) - 5
            assert y == min(max(exact, -128), 127)


@pytest.mark.parametrize("multiplier", [0.75, 0.5, 0.3, 0.01, 1e-4, 3.7, 1e-12, 0.0])
def test_requant_of_a_real_multiplier(multiplier: float) -> None:
    rule = requant([multiplier], QParams((1.0,), 3))
    assert all(0 <= m < 2**31 for m in rule.m)
    assert (rule.shift == 0) == (multiplier < 0.5)
    limit = min(2**30, int(100 / multiplier)) if multiplier else 2**30
    acc = RNG.integers(-limit, limit, 100_000)
    want = np.clip(acc * multiplier + 3, -128, 127)
    error = rounding_error(np.array([limit]), rule)
    assert error < 0.15
    assert np.abs(rule.apply(acc) - want).max() <= 0.5 + error + 1e-6


def test_multiplier_that_rounds_up_to_one_half_needs_a_shift() -> None:
    rule = requant([0.5 - 2**-40], QParams((1.0,), 0))
    assert rule.shift == 1
    assert rule.m == (2**30,)


def test_requant_per_channel_has_one_shift_for_all() -> None:
    rule = requant([0.6, 1e-5], QParams((1.0,), 0))
    assert rule.shift == 1
    acc = np.array([[100, 1_000_000]])
    assert rule.apply(acc).tolist() == [[60, 10]]


def test_clamp_bounds_are_int8() -> None:
    q = QParams((0.1,), -28)
    assert clamp_bounds(q, None) == (-128, 127)
    assert clamp_bounds(q, (0.0, float("inf"))) == (-28, 127)
    assert clamp_bounds(q, (0.0, 6.0)) == (-28, 32)
    assert requant([0.1], q, (0.0, 6.0)).apply(np.array([-999, 10**6])).tolist() == [-28, 32]


def test_accumulator_bound_holds_for_the_worst_inputs() -> None:
    w = RNG.integers(-128, 128, (4, 3, 3, 2)).astype(np.int8)
    b = RNG.integers(-1000, 1000, 4).astype(np.int32)
    flat = w.reshape(4, -1).astype(np.int64)
    bound = accumulator_bound(w, b)
    worst = (np.where(flat < 0, 127, -128) * flat).sum(axis=1)
    other = (np.where(flat < 0, -128, 127) * flat).sum(axis=1)
    assert (np.maximum(np.abs(worst + b), np.abs(other + b)) <= bound).all()
    assert (bound <= np.abs(worst) + np.abs(b) + np.abs(flat).sum(axis=1)).all()


# -- weighted sums ----------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [(1, 1), (1, -1)])
def test_weighted_sum_is_exact_to_less_than_a_thousandth_of_a_step(signs: tuple[int, int]) -> None:
    x = np.arange(-128, 128, dtype=np.int8)
    a, b = np.repeat(x, 256), np.tile(x, 256)
    for _ in range(20):
        result = QParams((1.0,), int(RNG.integers(-128, 128)))
        operands = [
            QParams((float(s),), int(z))
            for s, z in zip(RNG.uniform(0.01, 2.0, 2), RNG.integers(-128, 128, 2), strict=True)
        ]
        rule = weighted_sum(operands, signs, result)
        assert all(abs(m) < 2**31 for m in rule.m)
        real = sum(
            s * q.scale[0] * (v.astype(np.float64) - q.zero_point)
            for s, q, v in zip(signs, operands, (a, b), strict=True)
        )
        want = real + result.zero_point
        got = rule.apply([a, b])
        inside = (want > -128) & (want < 127)
        assert np.abs(got - want)[inside].max() <= 0.5 + 2**-12


def test_weighted_sum_never_leaves_32_bits() -> None:
    for scale in (1e-9, 1e-6, 1e-3, 1.0, 30_000.0):
        q = QParams((scale,), -128)
        rule = weighted_sum([q, q], (1, 1), QParams((1.0,), 127))
        assert abs(rule.offset) + sum(128 * abs(m) >> 16 for m in rule.m) < INT32_LIMIT


def test_weighted_sum_refuses_what_32_bits_cannot_hold() -> None:
    with pytest.raises(OverflowError):
        weighted_sum([QParams((1e6,), 0)] * 2, (1, 1), QParams((1.0,), 0))


def test_weighted_sum_clamps() -> None:
    q = QParams((0.5,), 0)
    rule = weighted_sum([q, q], (1, 1), q, (0.0, 6.0))
    x = np.array([-50, 0, 10], dtype=np.int8)
    assert rule.apply([x, x]).tolist() == [0, 0, 12]


# -- constants --------------------------------------------------------------------------------


@pytest.mark.parametrize(("lo", "hi"), [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (2.0, 5.0), (-7, -1)])
def test_range_is_covered_and_zero_is_exact(lo: float, hi: float) -> None:
    q = range_qparams(lo, hi)
    assert q.dequantize(q.quantize(np.zeros(1))) == 0
    ends = np.array([min(lo, 0.0), max(hi, 0.0)])
    assert np.abs(q.dequantize(q.quantize(ends)) - ends).max() <= 0.51 * q.scale[0]
    if lo >= 0:
        assert q.zero_point == -128


def test_range_of_nothing() -> None:
    assert range_qparams(0.0, 0.0) == QParams((1.0,), 0)
    assert range_qparams(-1e-40, 1e-38) == QParams((1.0,), 0)


def test_weights_are_symmetric_per_channel() -> None:
    data = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32)
    data[3] = 0
    value = quantize_weights(constant(data))
    assert value.dtype == "int8"
    assert value.q.zero_point == 0
    assert value.q.axis == 0
    assert value.data is not None
    peaks = np.abs(value.data.astype(int)).reshape(5, -1).max(axis=1)
    assert peaks.tolist() == [127, 127, 127, 0, 127]
    assert np.abs(value.real - data).max() <= 0.51 * max(value.q.scale)


def test_per_tensor_is_asymmetric() -> None:
    value = quantize_per_tensor(constant(np.array([0.0, 1.0, 2.55], np.float32)))
    assert value.data is not None
    assert value.data.tolist() == [-128, -28, 127]


def test_bias_of_the_model_itself_is_kept() -> None:
    q = QParams((0.5, 0.25), 0, 0)
    bias = constant(np.array([-7, 2**30], np.int32), q)
    same = quantize_bias(bias, np.array([0.5 * (1 + 1e-7), 0.25]))
    assert same.data is not None
    assert same.data.tolist() == [-7, 2**30]
    other = quantize_bias(bias, np.array([0.25, 1.0]))
    assert other.data is not None
    assert other.data.tolist() == [-14, 2**28]


def test_bias_may_use_all_32_bits() -> None:
    every = np.array([-(2**31), 2**31 - 1], np.int32)
    bias = quantize_bias(constant(every, QParams((0.5,), 0)), np.array([0.5, 0.5]))
    assert bias.data is not None
    assert np.array_equal(bias.data, every)


def test_bias_beyond_32_bits_is_refused() -> None:
    with pytest.raises(OverflowError):
        quantize_bias(constant(np.array([1.0], np.float32)), np.array([1e-12]))


def test_channel_with_tiny_weights_still_has_its_bias() -> None:
    x = QParams((0.01,), 0)
    data = np.array([[1e-12, -1e-12], [0.5, -0.25]], np.float32)
    bias = constant(np.array([0.75, -0.5], np.float32))
    weights, stored = quantize_weights_and_bias(x, constant(data), bias)
    assert np.allclose(stored.real, bias.real, rtol=1e-6)
    assert stored.data is not None
    assert np.abs(stored.data.astype(np.int64)).max() <= 2**30
    assert np.allclose(weights.real[1], data[1], atol=0.002)
    assert np.abs(weights.real[0]).max() <= least_weight_scale(bias, x)[0]


def layer_error(weights: Value, bias: Value, x: QParams, result: QParams) -> Array:
    """Largest error per channel, in steps of the result, of the integer layer for any input."""
    assert weights.data is not None
    assert bias.data is not None
    flat = weights.data.reshape(len(weights.data), -1).astype(np.int64)
    inputs = RNG.integers(-128, 128, (2000, flat.shape[1]))
    acc = (inputs - x.zero_point) @ flat.T + bias.data
    scales = x.scale[0] * np.broadcast_to(weights.q.scale, len(flat))
    rule = requant((scales / result.scale[0]).tolist(), result)
    exact = (inputs - x.zero_point) * x.scale[0] @ REAL_WEIGHTS.T + REAL_BIAS
    wanted = np.clip(exact / result.scale[0] + result.zero_point, -128, 127)
    return np.asarray(np.abs(rule.apply(acc) - wanted).max(axis=0))


# Channels: ordinary; no weights; hardly any weights; nothing at all.
REAL_WEIGHTS = np.array([[0.5, -0.25], [0.0, 0.0], [3e-6, -1e-6], [0.0, 0.0]])
REAL_BIAS = np.array([-0.75, 0.4296, 0.8304, 0.0])


@pytest.mark.parametrize("other", [0.5, 4.0], ids=["no shift", "shift"])
def test_faint_channels_are_as_precise_as_others(other: float) -> None:
    x, result = QParams((0.01,), 5), QParams((0.02,), -3)
    scale = np.array([1 / 128, 4.03e-8, 7.83e-8, other])
    data = np.rint(REAL_WEIGHTS / scale[:, None]).astype(np.int8)
    weights = constant(data, QParams(tuple(scale), 0, 0))
    sums = np.rint(REAL_BIAS / (x.scale[0] * scale))
    bias = constant(sums.astype(np.int32), QParams(tuple(0.01 * scale), 0, 0))
    strong, stored = strengthen_faint_channels(x, weights, bias, result)
    assert strong.data is not None
    assert np.array_equal(strong.data[[0, 3]], data[[0, 3]])
    assert strong.q.scale[0] == scale[0]
    assert np.allclose(stored.q.scale, 0.01 * np.asarray(strong.q.scale))
    assert stored.data is not None
    bound = accumulator_bound(strong.data, stored.data)
    rule = requant((0.01 * np.asarray(strong.q.scale) / 0.02).tolist(), result)
    assert rounding_error(bound, rule) < 0.01
    assert layer_error(strong, stored, x, result).max() < 0.502
    assert layer_error(weights, bias, x, result)[1:3].max() > 0.51


def test_ordinary_channels_are_left_alone() -> None:
    x = QParams((0.01,), 5)
    weights = quantize_weights(constant(RNG.normal(size=(3, 4)).astype(np.float32)))
    bias = quantize_bias(constant(np.ones(3, np.float32)), 0.01 * np.asarray(weights.q.scale))
    assert strengthen_faint_channels(x, weights, bias, QParams((0.02,), 0)) == (weights, bias)


def test_weights_of_the_model_itself_are_kept_unless_asymmetric() -> None:
    x, bias = QParams((0.01,), 0), constant(np.zeros(2, np.float32))
    data = np.array([[-128, 127], [3, 4]], np.int8)
    for q in (QParams((0.5,), 0), QParams((0.5, 0.1), 0, 0)):
        weights, stored = quantize_weights_and_bias(x, constant(data, q), bias)
        assert weights.data is not None
        assert np.array_equal(weights.data, data)
        assert np.allclose(stored.q.scale, 0.01 * np.broadcast_to(q.scale, 2))
    shifted = constant(data, QParams((0.5,), 7))
    weights, _ = quantize_weights_and_bias(x, shifted, bias)
    assert weights.q.zero_point == 0
    assert np.abs(weights.real - shifted.real).max() <= 0.5 * max(weights.q.scale)
