"""Reshapes: as few as possible, as late as possible."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.slice import Slice
from mcucompile.ops.table import Table
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.affine import affine_of
from mcucompile.passes.rewrite import bypass, constant_like, set_operand
from mcucompile.passes.sink_transposes import is_view


def simplify_views(graph: Graph) -> Graph:
    """x -> Transpose -> y               =>    x -> Reshape -> y, if only axes of length 1 move
    x -> Reshape -> Reshape -> y      =>    x -> Reshape -> y
    x -> Reshape(shape of x) -> y     =>    x
    x -> Reshape -> f -> y            =>    x -> f -> Reshape -> y, for f element by element, or
                                            channel by channel if the channels stay the same
    x -> Reshape -> Slice -> y        =>    x -> Slice -> Reshape -> y, if only axes of length
                                            1 move

    Converters write a channel of length 1 into another place by Reshape, and squeeze after pooling.
    A Reshape costs nothing at run time, but hides an operator from the one that could compute it.
    Recurrent layers have time in the place of the batch, which is one of the axes of length 1.
    """
    graph = graph.copy()
    for op in graph.ops():
        if isinstance(op, Transpose) and is_view(graph.operands(op)[0].shape, op.perm):
            op = Reshape(op.name, op.origin, shape=graph.result(op).shape)
            graph.set_op(op)
        if isinstance(op, Reshape):
            _merge(graph, op)
        elif isinstance(op, Slice):
            _sink_below_slice(graph, op)
        else:
            _sink(graph, op)
    return graph


def _merge(graph: Graph, op: Reshape) -> None:
    first = graph.producer(graph.operands(op)[0])
    if isinstance(first, Reshape):
        set_operand(graph, op, 0, graph.operands(first)[0])
    if graph.operands(op)[0].shape == op.shape:
        bypass(graph, op)


def _sink(graph: Graph, op: Op) -> None:
    """Let the Reshape before `op` pass it, if it may."""
    affine = None if isinstance(op, Conv2d | Table) else affine_of(graph, op)
    if affine is None and not isinstance(op, Table):
        return
    x = graph.operands(op)[0] if affine is None else affine.operand
    first = graph.producer(x)
    if not isinstance(first, Reshape):
        return
    source = graph.operands(first)[0]
    if affine is not None and source.shape[-1] != x.shape[-1]:
        return
    for slot, value in enumerate(graph.operands(op)):
        if value == x:
            set_operand(graph, op, slot, source)
        elif len(value.shape) > 1:
            set_operand(graph, op, slot, _per_channel(graph, value))
    result = graph.set_value(replace(graph.result(op), shape=source.shape))
    name = graph.fresh_name(f"{result.name}_reshaped")
    graph.insert_after(result, Reshape(name, first.origin, shape=first.shape))


def _sink_below_slice(graph: Graph, op: Slice) -> None:
    """Let the Reshape before `op` pass it, if the axes that are longer than 1 stay."""
    first = graph.producer(graph.operands(op)[0])
    if not isinstance(first, Reshape):
        return
    source = graph.operands(first)[0]
    axes = [i for i, d in enumerate(source.shape) if d > 1]
    parts = [part for part, d in zip(op.parts, first.shape, strict=True) if d > 1]
    if [source.shape[i] for i in axes] != [d for d in first.shape if d > 1]:
        return
    moved = dict(zip(axes, parts, strict=True))
    op = replace(op, parts=tuple(moved.get(i) for i in range(len(source.shape))))
    result = graph.result(op)
    graph.set_op(op)
    set_operand(graph, op, 0, source)
    (shape,) = op.result_shapes([source])
    changed = graph.set_value(replace(result, shape=shape))
    name = graph.fresh_name(f"{result.name}_reshaped")
    graph.insert_after(changed, Reshape(name, first.origin, shape=result.shape))


def _per_channel(graph: Graph, value: Value) -> Value:
    """A constant (1, ..., 1, C) without the ones, so that it can be broadcast to any rank."""
    assert value.data is not None
    q = value.qparams
    if q is not None and q.axis is not None:
        q = replace(q, axis=0)
    return constant_like(graph, value, value.data.reshape(-1), q)
