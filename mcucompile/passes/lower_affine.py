"""Scaling and shifting that no layer could take over becomes an operator with a kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.unary import ScaleShift
from mcucompile.passes.affine import Affine, affine_of
from mcucompile.passes.rewrite import erase_unused, fusable


def lower_affine(graph: Graph) -> Graph:
    """a*x + c -> b*y + d    =>    (a*b)*x + (c*b + d)
    a*x + c               =>    ScaleShift(a, c), a table, if a and c are the same for all channels
    a*x + c               =>    depthwise 1x1 Conv2d(a, c) otherwise

    A convolution has a scale per channel, where an 8-bit constant in a Mul would have to cover all
    factors with one.
    """
    graph = graph.copy()
    found: dict[str, Affine] = {}
    for op in graph.ops():
        affine = affine_of(graph, op)
        if affine is None or isinstance(op, Conv2d):  # fold_affine has seen to convolutions
            continue
        before = graph.producer(affine.operand)
        if before is not None and before.name in found and fusable(graph, before, op):
            affine = _composed(found.pop(before.name), affine)
            _read_instead(graph, op, [affine.operand])
            graph.set_op(replace(op, origin=tuple(dict.fromkeys((*before.origin, *op.origin)))))
        found[op.name] = affine
    for op in graph.ops():
        if op.name in found:
            _lower(graph, op, found[op.name])
    return graph


def _composed(first: Affine, then: Affine) -> Affine:
    """One operator for two in a row."""
    factor, offset = first.factor * then.factor, first.offset * then.factor + then.offset
    return Affine(first.operand, factor, offset)


def _lower(graph: Graph, op: Op, affine: Affine) -> None:
    """Let `op` compute `affine` in its new form."""
    if np.ptp(affine.factor) == 0 and np.ptp(affine.offset) == 0:
        scale, offset = float(affine.factor[0]), float(affine.offset[0])
        _read_instead(graph, op, [affine.operand])
        graph.set_op(ScaleShift(op.name, op.origin, scale=scale, offset=offset))
    else:
        _to_depthwise(graph, op, affine)


def _read_instead(graph: Graph, op: Op, operands: Sequence[Value]) -> None:
    old = graph.operands(op)
    graph.set_operands(op, operands)
    for value in old:
        erase_unused(graph, value)


def _to_depthwise(graph: Graph, op: Op, affine: Affine) -> None:
    channels = affine.factor.size
    w = graph.constant(f"{op.name}_w", affine.factor.reshape(channels, 1, 1, 1))
    b = graph.constant(f"{op.name}_b", affine.offset)
    x = _as_image(graph, affine.operand)
    conv = Conv2d(
        op.name,
        op.origin,
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=channels,
        clamp=None,
    )
    _read_instead(graph, op, [x, w, b])
    graph.set_op(conv)
    result = graph.result(op)
    if result.shape != x.shape:
        graph.set_value(replace(result, shape=x.shape))
        name = graph.fresh_name(f"{result.name}_shaped")
        back = Reshape(name, op.origin, shape=result.shape)
        graph.insert_after(graph.result(op), back)


def _as_image(graph: Graph, value: Value) -> Value:
    """`value` with four axes, the channels still last."""
    if len(value.shape) == 4:
        return value
    pixels = value.elements // value.shape[-1]
    name = graph.fresh_name(f"{value.name}_image")
    op = Reshape(name, (), shape=(1, 1, pixels, value.shape[-1]))
    (image,) = graph.append(op, [value], [name])
    return graph.set_value(replace(value, name=image.name, shape=image.shape))
