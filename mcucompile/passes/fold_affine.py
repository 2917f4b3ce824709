"""Scaling and shifting of channels goes into the weights of a convolution or dense layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Array, Graph, Op, QParams, Value
from mcucompile.ir.types import QMAX
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.conv_transpose import ConvTranspose2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.matmul import MatMul
from mcucompile.ops.normalize import Normalize
from mcucompile.passes.affine import Affine, affine_of
from mcucompile.passes.rewrite import constant_like, fusable, fuse, set_operand

Linear = Conv2d | ConvTranspose2d | Dense
Scaling = Linear | Normalize | MatMul


def fold_affine(graph: Graph) -> Graph:
    """linear(w, b) -> a*x + c    =>    linear(a*w, a*b + c)
    a*x + c -> linear(w, b)    =>    linear(w*a, b + w*c), unless padding zeros are between them
    normalize(gain, bias) -> a*x + c    =>    normalize(a*gain, a*bias + c)
    matmul(factor) -> a*x    =>    matmul(a*factor), if a is one positive number

    Batch normalization, biases that exporters write as an Add after a MatMul, input normalization.
    The first rule is tried first: it changes the scale of whole output channels, which have a
    quantization scale each.
    """
    graph = graph.copy()
    for op in graph.ops():
        affine = affine_of(graph, op)
        before = None if affine is None else graph.producer(affine.operand)
        if (
            affine is not None
            and isinstance(before, Scaling)
            and _can_take(graph, before, op, affine)
        ):
            fuse(graph, _fold_into_producer(graph, before, affine), op)
            continue
        linear = op if isinstance(op, Linear) else None
        while linear is not None:
            linear = _fold_producer_of(graph, linear)
    return graph


def _can_take(graph: Graph, op: Scaling, user: Op, affine: Affine) -> bool:
    """Can weights and bias of `op` be such that it computes the result of `user`, `affine`?"""
    if isinstance(op, MatMul):
        one = np.ptp(affine.factor) == 0 and affine.factor[0] > 0 and not np.any(affine.offset)
        return bool(one) and op.clamp is None and fusable(graph, op, user)
    constant = all(v.is_constant for v in graph.operands(op)[1:])
    return op.clamp is None and constant and fusable(graph, op, user)


def _fold_into_producer(graph: Graph, op: Scaling, affine: Affine) -> Op:
    """`op`, its constants changed, such that it computes `affine` of its result as well."""
    if isinstance(op, MatMul):
        return replace(op, factor=op.factor * float(affine.factor[0]))
    if isinstance(op, Normalize):
        gain, bias = graph.operands(op)[1].real.astype(np.float64)
        scaled = [gain * affine.factor, bias * affine.factor + affine.offset]
        _set_constant(graph, op, 1, np.stack(scaled))
        return op
    _, w, b = graph.operands(op)
    if np.all(affine.factor == 1.0):
        _add_to_bias(graph, op, affine)
        return op
    _scale_weights(graph, op, w, affine.factor)
    _set_constant(graph, op, 2, b.real * affine.factor + affine.offset)
    return op


def _scale_weights(graph: Graph, op: Linear, w: Value, factor: Array) -> None:
    """Multiply the weights of each output channel; integers stay, and their scales change."""
    per_channel = factor.reshape(-1, *(1,) * (len(w.shape) - 1))
    q = w.qparams
    if q is None or w.data is None or q.zero_point != 0 or q.axis not in (None, 0):
        _set_constant(graph, op, 1, w.real * per_channel)
        return
    integers = w.data.astype(np.int16) * np.sign(per_channel).astype(np.int16)
    if np.any(factor == 0.0) or integers.max() > QMAX:
        _set_constant(graph, op, 1, w.real * per_channel)
        return
    scale = np.asarray(q.scale) * np.abs(factor)
    q = QParams(tuple(float(s) for s in scale), 0, 0)
    set_operand(graph, op, 1, constant_like(graph, w, integers.astype(np.int8), q))


def _add_to_bias(graph: Graph, op: Linear, affine: Affine) -> None:
    """Add the offset to the bias; the bias of a pre-quantized model keeps its integers."""
    b, added = graph.operands(op)[2], affine.added
    if added is None or added.qparams is None or np.any(b.real):
        _set_constant(graph, op, 2, b.real.astype(np.float64) + affine.offset)
        return
    assert added.data is not None
    q = added.qparams
    axis = None if len(q.scale) == 1 else 0
    data = np.broadcast_to(added.data.reshape(-1), b.shape)
    set_operand(graph, op, 2, constant_like(graph, added, data, replace(q, axis=axis)))


def _fold_producer_of(graph: Graph, op: Linear) -> Linear | None:
    """Take the affine operator before `op` into its weights, if there is one and it is exact.

    Returns `op` as it is then, None if nothing has changed.
    """
    x, w, b = graph.operands(op)
    source = graph.producer(x)
    affine = None if source is None else affine_of(graph, source)
    if source is None or affine is None or not (w.is_constant and b.is_constant):
        return None
    if x.qparams is not None or graph.only_user(x) != op:
        return None
    if np.any(affine.offset) and _sees_zeros(op):
        return None
    weights = w.real.astype(np.float64)
    factor, offset = _per_input(op, w, affine.factor), _per_input(op, w, affine.offset)
    if np.any(affine.factor != 1.0):
        _set_constant(graph, op, 1, weights * factor)
    shift = (weights * offset).reshape(w.shape[0], -1).sum(axis=1)
    _set_constant(graph, op, 2, b.real + shift)
    op = replace(op, origin=tuple(dict.fromkeys((*source.origin, *op.origin))))
    graph.set_op(op)
    set_operand(graph, op, 0, affine.operand)
    return op


def _sees_zeros(op: Linear) -> bool:
    """Does `op` see other numbers than those of its operand?"""
    return isinstance(op, ConvTranspose2d) or (isinstance(op, Conv2d) and any(op.pads))


def _per_input(op: Linear, w: Value, per_channel: Array) -> Array:
    """Numbers per input channel, shaped to multiply the weights: output channel o of a grouped
    convolution reads the channels of its own group."""
    if isinstance(op, Dense) or op.groups == 1:
        return per_channel
    groups = per_channel.reshape(op.groups, 1, -1)
    each = np.broadcast_to(groups, (op.groups, w.shape[0] // op.groups, groups.shape[-1]))
    return each.reshape(w.shape[0], 1, 1, -1)


def _set_constant(graph: Graph, op: Op, slot: int, data: Array) -> None:
    old = graph.operands(op)[slot]
    set_operand(graph, op, slot, constant_like(graph, old, data, None))
