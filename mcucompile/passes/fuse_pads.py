"""Explicit padding becomes the padding of the operator that reads it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Value
from mcucompile.ir.types import QMIN
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.passes.rewrite import same_storage, set_operand

Padded = Conv2d | AveragePool | MaxPool


def fuse_pads(graph: Graph) -> Graph:
    """x -> Pad(0 around the image) -> op(pads) -> y    =>    x -> op(pads + those) -> y

    Exact for convolutions and for averages that count the padding. A maximum ignores its own
    padding: there the padded numbers must be such that they never win.
    """
    graph = graph.copy()
    for op in graph.ops():
        if not isinstance(op, Padded):
            continue
        padded = graph.operands(op)[0]
        pad = graph.producer(padded)
        if not isinstance(pad, Pad) or pad.mode != "constant":
            continue
        if pad.pads[0] != (0, 0) or pad.pads[3] != (0, 0):
            continue
        x = graph.operands(pad)[0]
        if same_storage(x, padded) and _is_exact(graph, op, pad, x):
            graph.set_op(_with_pads(op, pad))
            set_operand(graph, op, 0, x)
    return graph


def _with_pads(op: Padded, pad: Pad) -> Padded:
    """`op` with the padding of `pad` on top of its own."""
    (top, bottom), (left, right) = pad.pads[1:3]
    more = (top, left, bottom, right)
    a, b, c, d = (own + other for own, other in zip(op.pads, more, strict=True))
    origin = (*pad.origin, *op.origin)
    if isinstance(op, AveragePool):
        return replace(op, origin=origin, pads=(a, b, c, d), count_include_pad=True)
    return replace(op, origin=origin, pads=(a, b, c, d))


def _is_exact(graph: Graph, op: Padded, pad: Pad, x: Value) -> bool:
    if isinstance(op, Conv2d):
        return pad.value == 0.0
    try:
        _with_pads(op, pad).result_shapes([x])
    except ValueError:  # a window of nothing but padding has no mean and no maximum
        return False
    if isinstance(op, MaxPool):
        return pad.value <= _least(graph, x)
    own = (*op.pads[:2], op.pads[2] - op.beyond[0], op.pads[3] - op.beyond[1])
    return pad.value == 0.0 and (op.count_include_pad or not any(own))


def _least(graph: Graph, value: Value) -> float:
    """A number that no element of `value` is below."""
    clamp: tuple[float, float] | None = getattr(graph.producer(value), "clamp", None)
    bounds = [-3.0e38]  # what stands for minus infinity in exported models
    if clamp is not None:
        bounds.append(clamp[0])
    if value.qparams is not None and value.qparams.axis is None:
        bounds.append(float(value.qparams.dequantize(np.array(QMIN))))
    return max(bounds)
