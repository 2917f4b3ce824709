"""Layers of bits and weights of two values become binary layers."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np

from mcucompile.ir import Graph, Op, QParams, QuantRule, Value
from mcucompile.ir.graph import OpT
from mcucompile.ops.binarize import Binarize, Bipolar
from mcucompile.ops.binary_conv import MOST_WEIGHTS, BinaryConv2d, BinaryConv2dSign
from mcucompile.ops.binary_pool import BinaryMaxPool
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import MaxPool
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.unary import ScaleShift, Unary
from mcucompile.passes.rewrite import constant_like, erase_unused, fusable, fuse, set_operand

FEWEST_CHANNELS = 8  # of a result: with fewer, most of the 32 lanes would be idle
SPREAD = 1e-5  # of the weights of a channel around their magnitude, in which exporters round


def recognize_binary(graph: Graph) -> Graph:
    """x -> Bipolar -> Conv(+-s)    =>    x -> Binarize -> BinaryConv
    Bipolar -> Pad(p) -> Conv(+-s)    =>    BinaryConv(pad p), for p of -1, 0 and 1
    Bipolar -> Flatten -> Dense(+-s)    =>    BinaryConv of one window -> Reshape
    BinaryConv -> Binarize    =>    BinaryConv that gives bits
    max -> Binarize    =>    Binarize -> max of bits

    Bits take an eighth of the memory, and a sum of products of them a fraction of the instructions.
    Batch normalization is in the weights by now: minus signs too, so that a threshold is the
    smallest sum that is >= -bias / s in every channel.
    """
    graph = graph.copy()
    _settle_signs(graph)
    bits: dict[str, Value] = {}
    for op in graph.ops_of(Conv2d, Dense):
        if not _fills_lanes(graph, op):
            continue
        x, pad = _unpadded(graph, op)
        x, factor = _unscaled(graph, x)
        outside = None if pad is None else pad / factor
        if not _has_two_values(graph, op) or not _is_bipolar(graph, x):
            continue
        if outside not in (-1.0, 0.0, 1.0):
            continue
        if isinstance(op, Dense):
            op = _as_conv(graph, op)
            x = graph.operands(op)[0]
        assert isinstance(op, Conv2d)
        _to_binary(graph, op, bits, x, int(outside), factor)
    for op in graph.ops_of(Binarize):
        _after_sum(graph, op)
    return graph


def _settle_signs(graph: Graph) -> None:
    """x -> Sign    =>    x -> Bipolar, where x is sure, or as good as sure, not to be zero."""
    for op in graph.ops_of(Unary):
        if isinstance(op, Unary) and op.function == "sign" and _is_never_zero(graph, op):
            graph.set_op(Bipolar(op.name, op.origin))


def _is_never_zero(graph: Graph, op: Unary) -> bool:
    """A sum of products with a bias: where what it sums are -1 and +1, no sum may be zero; anything
    else makes it zero by accident only, unless it is zero itself."""
    layer = graph.producer(graph.operands(op)[0])
    while isinstance(layer, MaxPool) and layer.clamp is None:
        layer = graph.producer(graph.operands(layer)[0])
    if not isinstance(layer, Conv2d | Dense) or layer.clamp is not None:
        return False
    _, w, b = graph.operands(layer)
    if not w.is_constant or not b.is_constant:
        return False
    bias = b.real.astype(np.float64)
    x, pad = _unpadded(graph, layer)
    if not (_has_two_values(graph, layer) and _is_bipolar(graph, x) and pad is not None):
        return bool(np.all(bias != 0.0))
    steps = bias / np.maximum(np.abs(w.real.reshape(len(bias), -1)).max(axis=1), 1e-30)
    most = math.prod(w.shape[1:])
    return bool(np.all((np.abs(steps - np.rint(steps)) > 1e-3) | (np.abs(steps) > most + 0.5)))


def _has_two_values(graph: Graph, op: Op) -> bool:
    """Are the weights of `op`, in each output channel, +s and -s?"""
    _, w, b = graph.operands(op)
    if not (w.is_constant and b.is_constant) or (isinstance(op, Conv2d) and op.groups > 1):
        return False
    flat = np.abs(w.real.astype(np.float64)).reshape(w.shape[0], -1)
    most = flat.max(axis=1)
    few = math.prod(w.shape[1:]) < MOST_WEIGHTS
    return few and bool(np.all(most - flat.min(axis=1) <= SPREAD * most))


def _fills_lanes(graph: Graph, op: Op) -> bool:
    return graph.operands(op)[1].shape[0] >= FEWEST_CHANNELS


def _unpadded(graph: Graph, op: Op) -> tuple[Value, float | None]:
    """What `op` reads, without a Pad around the image, and what the image is padded with; None if
    it is padded in another way."""
    x = graph.operands(op)[0]
    pad = graph.producer(x)
    zeros = isinstance(op, Conv2d) and any(op.pads)
    if not isinstance(op, Conv2d) or not isinstance(pad, Pad) or x.qparams is not None:
        return x, 0.0
    spatial = pad.pads[0] == pad.pads[3] == (0, 0)
    if pad.mode != "constant" or not spatial or (zeros and pad.value != 0.0):
        return x, 0.0 if _is_bipolar(graph, x) else None
    return graph.operands(pad)[0], pad.value


def _unscaled(graph: Graph, value: Value) -> tuple[Value, float]:
    """What `value` is, but for a factor, and the factor."""
    op = graph.producer(value)
    if not isinstance(op, ScaleShift) or op.offset != 0.0 or op.scale <= 0.0:
        return value, 1.0
    if value.qparams is not None and value.qparams != QParams((op.scale,), 0):
        return value, 1.0
    return graph.operands(op)[0], op.scale


def _is_bipolar(graph: Graph, value: Value) -> bool:
    """Is every number of `value` -1 or +1?"""
    op = graph.producer(value)
    if op is None or value.qparams is not None:
        return False
    if isinstance(op, Bipolar | Binarize | BinaryConv2dSign):
        return True
    if op.quant_rule is not QuantRule.SAME or getattr(op, "clamp", None) is not None:
        return False
    if isinstance(op, Pad) and op.mode == "constant" and abs(op.value) != 1.0:
        return False
    operands = [v for v in graph.operands(op) if not v.is_constant]
    return bool(operands) and all(_is_bipolar(graph, v) for v in operands)


def _to_binary(
    graph: Graph, op: Conv2d, bits: dict[str, Value], x: Value, pad: int, factor: float
) -> None:
    """Let `op` be a binary convolution of `x`, which is padded with `pad`, times `factor`."""
    read, w, _ = graph.operands(op)
    pads, origin = op.pads, op.origin
    around = graph.producer(read)
    if read != x and isinstance(around, Pad):
        (top, bottom), (left, right) = around.pads[1:3]
        pads = (pads[0] + top, pads[1] + left, pads[2] + bottom, pads[3] + right)
        origin = (*around.origin, *origin)
    # Not as integers: 1 and -1 would leave a bias no fractions.
    set_operand(graph, op, 1, constant_like(graph, w, w.real * np.float32(factor), None))
    set_operand(graph, op, 0, _bits(graph, x, bits))
    graph.set_op(BinaryConv2d(op.name, origin, op.strides, pads, op.dilations, 1, op.clamp, pad))


def _as_conv(graph: Graph, op: Dense) -> Conv2d:
    """A convolution in the place of `op`: of one window, if it reads an image, otherwise 1x1."""
    x, w, _ = graph.operands(op)
    flatten, vectors = graph.producer(x), math.prod(x.shape[:-1])
    source = graph.operands(flatten)[0] if isinstance(flatten, Reshape) else x
    window = source.shape[1:]
    if len(source.shape) != 4 or vectors != 1:
        name = graph.fresh_name(f"{x.name}_image")
        window = (1, 1, x.shape[-1])
        (source,) = graph.append(Reshape(name, (), shape=(1, 1, vectors, x.shape[-1])), [x], [name])
    weights = w.real.reshape(w.shape[0], *window)
    set_operand(graph, op, 1, constant_like(graph, w, weights, None))
    set_operand(graph, op, 0, source)
    conv = Conv2d(op.name, op.origin, clamp=op.clamp)
    graph.set_op(conv)
    result = graph.result(conv)
    (shape,) = conv.result_shapes(graph.operands(conv))
    graph.set_value(replace(result, shape=shape))
    name = graph.fresh_name(f"{result.name}_shaped")
    graph.insert_after(graph.result(conv), Reshape(name, op.origin, shape=result.shape))
    return conv


def _bits(graph: Graph, value: Value, known: dict[str, Value]) -> Value:
    """The numbers of `value`, which are -1 and +1, as bits."""
    if value.name not in known:
        op = graph.producer(value)
        if isinstance(op, Binarize | BinaryConv2dSign):
            known[value.name] = value
        else:
            source = graph.operands(op)[0] if isinstance(op, Bipolar) else value
            known[value.name] = _append(graph, op, source)
    return known[value.name]


def _append(graph: Graph, like: Op | None, x: Value) -> Value:
    """The result of a new Binarize of `x`, which comes from the same nodes as `like`."""
    name = graph.fresh_name(f"{x.name}_bits")
    (result,) = graph.append(Binarize(name, () if like is None else like.origin), [x], [name])
    return result


def _as(kind: type[OpT], op: Op, **changes: Any) -> OpT:
    """An operator of `kind` with the attributes of `op`, but for `changes`."""
    return kind(**{f.name: getattr(op, f.name) for f in fields(op)} | changes)


def _keeps_pixels(graph: Graph, op: Op) -> bool:
    """Does `op` give the same pixels another shape?"""
    x, y = graph.operands(op)[0], graph.result(op)
    return isinstance(op, Reshape) and x.shape[-1] == y.shape[-1]


def _after_sum(graph: Graph, op: Binarize) -> None:
    """Take the sign as early as possible: where the sum is, if nothing else needs the sum."""
    x = graph.operands(op)[0]
    before = graph.producer(x)
    if before is None or not fusable(graph, before, op):
        return
    clamp = getattr(before, "clamp", None)
    if isinstance(before, BinaryConv2d):
        if clamp is None or clamp[0] < 0.0 <= clamp[1]:
            fuse(graph, _as(BinaryConv2dSign, before, clamp=None), op)
    elif (isinstance(before, MaxPool) and clamp is None) or _keeps_pixels(graph, before):
        sign = _append(graph, op, graph.operands(before)[0])
        graph.set_operands(op, [sign])
        moved = BinaryMaxPool if isinstance(before, MaxPool) else Reshape
        graph.set_op(_as(moved, before, name=op.name))
        erase_unused(graph, x)
        inner = graph.producer(sign)
        assert isinstance(inner, Binarize)
        _after_sum(graph, inner)
