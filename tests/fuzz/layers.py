"""Random convolutions and dense layers, with numbers at the limits of the number contract."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mcucompile.ir import Array, Graph, QParams, Shape, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.conv_transpose import ConvTranspose2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.expand_depthwise import ExpandDepthwise
from mcucompile.quant.numbers import INT32_LIMIT, accumulator_bound
from tests.fuzz.dice import Dice
from tests.support.graphs import op_graph
from tests.support.layers import few_valued_graph, sparse_graph

MOST_MACS = 40_000
ORIGIN = ("node",)
UNIT = QParams((1.0,))  # of inputs and results: the weights' scales are the multipliers


def conv1x1(dice: Dice) -> Graph:
    """A pointwise convolution, or a dense layer of several vectors."""
    cin, cout = dice.size(72), dice.size(40)
    if dice.chance(0.5):
        lead = tuple(dice.numbers(dice.number(1, 2), 2, 7))
        return _layer(dice, Dense("dense", ORIGIN), (1, *lead, cin), (cout, cin))
    image = (dice.number(1, 8), dice.number(2, 9), cin)
    return _layer(dice, Conv2d("conv", ORIGIN), (1, *image), (cout, 1, 1, cin))


def dense(dice: Dice) -> Graph:
    """A layer of one vector, or a convolution whose one window is the whole input."""
    if dice.chance(0.3):
        kh, kw, depth = dice.number(1, 5), dice.number(1, 5), dice.size(16)
        op = Conv2d("conv", ORIGIN, (dice.number(1, 3), dice.number(1, 3)))
        return _layer(dice, op, (1, kh, kw, depth), (dice.size(12), kh, kw, depth))
    cin, cout = dice.size(200), dice.size(24)
    return _layer(dice, Dense("dense", ORIGIN), (1, cin), (cout, cin))


def conv2d(dice: Dice) -> Graph:
    """Any convolution that is not depthwise; those of common models are likely."""
    return dice.one_of([_same3, _first, _flat, _any_conv, _any_conv])(dice)


def _same3(dice: Dice) -> Graph:
    """3x3, stride 1, the size stays."""
    image = (dice.number(1, 11), dice.number(1, 11), dice.size(20))
    op = Conv2d("conv", ORIGIN, (1, 1), (1, 1, 1, 1))
    return _layer(dice, op, (1, *image), (dice.size(20), 3, 3, image[2]))


def _first(dice: Dice) -> Graph:
    """Few channels in, stride 2."""
    kh, kw = dice.one_of([(3, 3), (5, 5), (3, 3), (7, 7), (10, 4)])
    image = (dice.number(kh, 16), dice.number(kw, 16), dice.number(1, 4))
    op = Conv2d("conv", ORIGIN, (2, 2), _pads(dice, kh, kw))
    return _layer(dice, op, (1, *image), (dice.size(16), kh, kw, image[2]))


def _flat(dice: Dice) -> Graph:
    """One row, or one column."""
    length, k, depth = dice.number(5, 40), dice.number(1, 5), dice.size(24)
    (_, before, _, after), step = _pads(dice, 1, k), dice.number(1, 2)
    if dice.chance(0.5):
        op = Conv2d("conv", ORIGIN, (1, step), (0, before, 0, after))
        return _layer(dice, op, (1, 1, length, depth), (dice.size(16), 1, k, depth))
    op = Conv2d("conv", ORIGIN, (step, 1), (before, 0, after, 0))
    return _layer(dice, op, (1, length, 1, depth), (dice.size(16), k, 1, depth))


def _any_conv(dice: Dice) -> Graph:
    kh, kw = dice.number(1, 5), dice.number(1, 5)
    groups = dice.one_of([1, 1, 1, 2, 3])
    depth, each = dice.size(12), dice.number(1, 8)
    op = Conv2d(
        "conv",
        ORIGIN,
        (dice.number(1, 3), dice.number(1, 3)),
        _pads(dice, kh, kw),
        (dice.one_of([1, 1, 2, 3]), dice.one_of([1, 1, 2, 3])),
        groups,
    )
    image = (dice.number(1, 12), dice.number(1, 12), depth * groups)
    return _layer(dice, op, (1, *image), (each * groups, kh, kw, depth))


def conv_sparse(dice: Dice) -> Graph:
    """A convolution of fours of channels, some or all 1x4 blocks of whose weights are zero."""
    kh, kw = dice.one_of([(1, 1), (1, 1), (3, 3), (dice.number(1, 4), dice.number(1, 4))])
    groups = 1 if kh == kw == 1 else dice.one_of([1, 1, 2])
    strides = (1, 1) if kh == kw == 1 else (dice.number(1, 2), dice.number(1, 3))
    op = Conv2d("conv", ORIGIN, strides, _pads(dice, kh, kw) if kh * kw > 1 else (0,) * 4)
    depth, each = 4 * dice.size(8), max(2, dice.size(30))
    image = (dice.number(1, 8), dice.number(2, 11), depth * groups)
    graph = _layer(dice, replace(op, groups=groups), (1, *image), (each * groups, kh, kw, depth))
    return sparse_graph(graph, dice.one_of([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]), dice.rng)


def dense_sparse(dice: Dice) -> Graph:
    """A layer of one vector, some or all 4x4 blocks of whose weights are zero."""
    cin, cout = 4 * dice.size(50), dice.size(24)
    graph = _layer(dice, Dense("dense", ORIGIN), (1, cin), (cout, cin))
    block = (min(cout, 4), 4)
    return sparse_graph(graph, dice.one_of([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]), dice.rng, block)


def packed(dice: Dice) -> Graph:
    """A layer of any kind whose weights take few values."""
    make = dice.one_of([conv1x1, conv1x1, dense, _same3, _any_conv])
    return few_valued_graph(make(dice), dice.one_of([1, 2, 3, 4, 7, 9, 16, 40, 256]), dice.rng)


def depthwise(dice: Dice) -> Graph:
    """One channel in, one channel out; square windows of 3, 5 and 7 are likely."""
    kind = dice.number(0, 9)
    strides, dilations = (1, 1), (1, 1)
    if kind <= 6:
        kh = kw = dice.one_of([3, 3, 5, 7])
        strides = dice.one_of([(1, 1), (2, 2), (1, 1), (dice.number(1, 3), dice.number(1, 2))])
    elif kind <= 8:
        length = dice.one_of([3, 5, 7, 9, 10, 15, dice.number(2, 16)])
        kh, kw = dice.one_of([(1, length), (length, 1)])
    else:
        kh, kw = dice.number(1, 5), dice.number(1, 5)
        strides = (dice.number(1, 3), dice.number(1, 3))
        dilations = (dice.number(1, 3), dice.number(1, 3))
    pads = _pads(dice, (kh - 1) * dilations[0] + 1, (kw - 1) * dilations[1] + 1)
    height, width = (1 if k == 1 and dice.chance(0.5) else dice.number(1, 13) for k in (kh, kw))
    channels = max(2, dice.size(13))
    image = (height + (kh > 7) * kh, width + (kw > 7) * kw, channels)
    op = Conv2d("conv", ORIGIN, strides, pads, dilations, channels)
    return _layer(dice, op, (1, *image), (channels, kh, kw, 1))


def expand_depthwise(dice: Dice) -> Graph:
    """A 1x1 and a depthwise convolution in one."""
    k = dice.one_of([3, 3, 5, 7])
    strides = dice.one_of([(1, 1), (2, 2), (1, 1), (dice.number(1, 3), dice.number(1, 2))])
    image = (1, dice.number(1, 10), dice.number(1, 11))
    cin, channels = dice.size(24), max(2, dice.size(13))
    pointwise = Conv2d("expand", ORIGIN)
    expand = _layer(dice, pointwise, (*image, cin), (channels, 1, 1, cin))
    conv = Conv2d("depthwise", ORIGIN, strides, _pads(dice, k, k), groups=channels)
    depthwise = _layer(dice, conv, (*image, channels), (channels, k, k, 1))
    (first,), (then,) = expand.ops_of(Conv2d), depthwise.ops_of(Conv2d)
    between, w, b = depthwise.operands(then)
    op = ExpandDepthwise("op", ORIGIN, first, then, replace(between, name="between"))
    operands = [*expand.operands(first), replace(w, name="w2"), replace(b, name="b2")]
    return op_graph(op, operands, depthwise.value("y").q)


def conv_transpose(dice: Dice) -> Graph:
    """Windows as large as the stride, or twice as large, are likely."""
    sh, sw = dice.one_of([(2, 2), (2, 2), (1, 2), (dice.number(1, 3), dice.number(1, 3))])
    kh, kw = dice.one_of(
        [(sh, sw), (2 * sh, 2 * sw), (3, 3), (dice.number(1, 5), dice.number(1, 5))]
    )
    groups = dice.one_of([1, 1, 1, 2, 4])
    depth, each = dice.size(12), dice.number(1, 8)
    top, left, bottom, right = dice.numbers(4, -1, 2)
    op = ConvTranspose2d(
        "conv",
        ORIGIN,
        (sh, sw),
        dice.one_of([(0, 0, 0, 0), (1, 1, 1, 1), (top, left, bottom, right)]),
        dice.one_of([(1, 1), (1, 1), (dice.number(1, 3), dice.number(1, 3))]),
        groups,
    )
    image = (dice.number(1, 6), dice.number(1, 8), depth * groups)
    return _layer(dice, op, (1, *image), (each * groups, kh, kw, depth))


def _pads(dice: Dice, reach_h: int, reach_w: int) -> tuple[int, int, int, int]:
    """Padding for a window: none, one that keeps the size, that of TensorFlow, or any."""
    kind = dice.number(0, 4)
    if kind == 0:
        return (0, 0, 0, 0)
    if kind <= 2:
        top, left = (reach_h - 1) // 2, (reach_w - 1) // 2
        return (top, left, reach_h - 1 - top, reach_w - 1 - left)
    if kind == 3:
        return (max(reach_h // 2 - 1, 0), max(reach_w // 2 - 1, 0), reach_h // 2, reach_w // 2)
    top, left, bottom, right = dice.numbers(4, 0, 4)
    return (top, left, bottom, right)


def _layer(dice: Dice, op: Conv2d | ConvTranspose2d | Dense, shape: Shape, weights: Shape) -> Graph:
    """`op` alone, with random numbers; half of them such that it may use the fastest kernels.

    Raises ValueError if the shapes do not go together or make more than MOST_MACS.
    """
    plain = dice.chance(0.5)
    x, y = replace(UNIT, zero_point=dice.zero_point()), replace(UNIT, zero_point=dice.zero_point())
    w = _weights(dice, weights, -127 if plain else -128)
    total = w.reshape(len(w), -1).astype(np.int64).sum(axis=1)
    folded = _bias(dice, w, plain)
    bias = np.clip(folded + x.zero_point * total, -INT32_LIMIT, INT32_LIMIT - 1)
    scales = _multipliers(dice, w, bias - x.zero_point * total, plain)
    per_channel = dice.chance(0.8)
    scales = scales if per_channel else scales[:1]
    w_scales, b_scales = (tuple(s.tolist()) for s in (scales, np.broadcast_to(scales, len(w))))
    operands = [
        Value("x", shape, "int8", x),
        Value("w", weights, "int8", QParams(w_scales, 0, 0 if per_channel else None), w),
        Value("b", weights[:1], "int32", QParams(b_scales, 0, 0), bias.astype(np.int32)),
    ]
    graph = op_graph(replace(op, clamp=None if plain else dice.clamp(y)), operands, y)
    if graph.value("y").elements * math.prod(weights[1:]) > MOST_MACS:
        raise ValueError("too much work")
    return graph


def _weights(dice: Dice, shape: Shape, least: int) -> Array:
    w = dice.rng.integers(least, 128, shape)
    extremes = dice.rng.choice([least, 127], shape)
    kind = dice.number(0, 9)
    if kind <= 4:
        w = np.where(dice.rng.random(shape) < 0.3, extremes, w)
    elif kind <= 6:
        w = extremes
    elif kind == 7:
        w = np.where(dice.rng.random(shape) < 0.8, 0, w)
    elif kind == 8:
        w = np.full(shape, dice.one_of([least, 127, -1]))
    if dice.chance(0.2):
        w[dice.number(0, len(w) - 1)] = 0
    return w.astype(np.int8)


def _bias(dice: Dice, w: Array, plain: bool) -> Array:
    """int64 biases with the zero-point folded in; some just let sums reach a limit of kernels."""
    reach = accumulator_bound(w, np.zeros(len(w)))
    usual = dice.rng.integers(-6000, 6000, len(w))
    if dice.chance(0.6):
        return usual
    limits = [2**15, 2**23 - 1] if plain else [2**23, 2**24, 2**29, INT32_LIMIT - 1]
    extreme = np.maximum(dice.one_of(limits) - reach, 0) * dice.rng.choice([-1, 1], len(w))
    return np.where(dice.rng.random(len(w)) < dice.one_of([0.2, 1.0]), extreme, usual)


def _multipliers(dice: Dice, w: Array, folded: Array, plain: bool) -> Array:
    """Real multipliers per channel, float64: such that results fill their range, the largest that
    a shift allows, or anything; some channels may be faint or dead. plain: no shift."""
    bound = accumulator_bound(w, folded)
    shifts = 0  # that the largest sum survives
    while not plain and shifts < 30 and int(bound.max()) << (shifts + 1) < INT32_LIMIT:
        shifts += 1
    most = (INT32_LIMIT - 1) / 2.0**32
    spread = 60.0 / (1.0 + 73.0 * 73.0 * math.sqrt(w[0].size))
    kind = dice.number(0, 5)
    if kind <= 2:
        largest = spread * dice.one_of([0.05, 1.0, 1.0, 4.0])
    elif kind == 3:
        largest = 100.0 / float(bound.max() + 1)
    elif kind == 4:
        largest = most * 2.0 ** dice.number(0, shifts)
    else:
        largest = dice.step(2.0**-26, most * 2.0**shifts)
    factors = dice.rng.uniform(0.5, 1.0, len(w))
    factors[dice.number(0, len(w) - 1)] = 1.0
    if dice.chance(0.2):  # powers of two, of which half a step is a tie
        largest, factors = 2.0 ** round(math.log2(largest)), np.exp2(-np.floor(4 * factors))
    if dice.chance(0.3):
        faint = dice.rng.random(len(w)) < 0.3
        factors = np.where(faint, 2.0 ** -dice.rng.integers(2, 45, len(w)), factors)
    return np.asarray(min(largest, most * 2.0**shifts) * factors)


def worst_input(dice: Dice, graph: Graph) -> Array:
    """An input (1, ...) of a layer that drives sums to the proved bound."""
    (op,) = graph.ops()
    x, w, b = graph.operands(op)[:3]
    assert w.data is not None
    assert b.data is not None
    c = dice.number(0, len(w.data) - 1)
    sign = 1 if b.data[c] > 0 or (b.data[c] == 0 and dice.chance(0.5)) else -1
    window = np.where(w.data[c].astype(int) * sign > 0, 127, -128).astype(np.int8)
    if isinstance(op, Dense):
        return np.broadcast_to(window, x.shape).copy()
    if isinstance(op, ConvTranspose2d):  # its windows are parts of this one
        image = np.broadcast_to(window.mean(axis=(0, 1)), (*x.shape[:3], window.shape[-1]))
        return np.tile(np.where(image > 0, 127, -128), op.groups).astype(np.int8)
    shape = graph.value("y").shape
    if isinstance(op, ExpandDepthwise):
        op, shape = op.expand, op.between.shape
    assert isinstance(op, Conv2d)
    data = dice.rng.choice(np.array([-128, 127], np.int8), x.shape)
    depth, each = w.shape[3], w.shape[0] // op.groups
    first = c // each * depth
    _, out_h, out_w, _ = shape
    oy, ox = dice.number(0, out_h - 1), dice.number(0, out_w - 1)
    for ky, kx in np.ndindex(*w.shape[1:3]):
        iy = oy * op.strides[0] - op.pads[0] + ky * op.dilations[0]
        ix = ox * op.strides[1] - op.pads[1] + kx * op.dilations[1]
        if 0 <= iy < x.shape[1] and 0 <= ix < x.shape[2]:
            data[0, iy, ix, first : first + depth] = window[ky, kx]
    return data
