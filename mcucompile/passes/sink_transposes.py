"""Transposes move towards the outputs until they meet their inverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mcucompile.ir import Graph, Op, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.batchnorm import BatchNorm
from mcucompile.ops.concat import Concat
from mcucompile.ops.gather import Gather
from mcucompile.ops.mul import Mul
from mcucompile.ops.pad import Pad
from mcucompile.ops.pairwise import Pairwise
from mcucompile.ops.reduction import Reduction
from mcucompile.ops.slice import Slice
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.table import Table
from mcucompile.ops.tile import Tile
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.rewrite import bypass, constant_like, set_operand

Perm = tuple[int, ...]
T = TypeVar("T")


def sink_transposes(graph: Graph) -> Graph:
    """x -> T(p) -> T(q) -> y      =>    x -> T(p after q) -> y, nothing at all if that is 1
    x -> T(p) -> f -> y         =>    x -> f -> T(p) -> y

    Every spatial operator stands between a Transpose to NHWC and one back. What is between two of
    them (activations, residual sums, concatenations, padding) does not care about the order of
    axes, so the one back can pass it and cancel against the next one.
    """
    graph = graph.copy()
    for op in graph.ops():  # those inserted below are new, and come into being behind this walk
        if isinstance(op, Transpose):
            join(graph, op)
        else:
            let_pass(graph, op)
    return graph


def inverse_of(perm: Perm) -> Perm:
    """The permutation that undoes `perm`."""
    return tuple(int(axis) for axis in np.argsort(perm))


def is_view(shape: Shape, perm: Perm) -> bool:
    """Does the Transpose `perm` of a tensor of `shape` leave all bytes where they are?"""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def join(graph: Graph, op: Transpose) -> None:
    """Join `op` with the Transpose before it, if there is one."""
    first = graph.producer(graph.operands(op)[0])
    if not isinstance(first, Transpose):
        return
    op = replace(op, perm=tuple(first.perm[axis] for axis in op.perm))
    graph.set_op(op)
    set_operand(graph, op, 0, graph.operands(first)[0])
    if op.perm == tuple(sorted(op.perm)):
        bypass(graph, op)


def let_pass(graph: Graph, op: Op) -> None:
    """Let the Transposes before `op` pass it, if they are alike and `op` lets them."""
    operands = graph.operands(op)
    perm = _common_perm(graph, operands)
    if perm is None or len(graph.results(op)) != 1:
        return
    moved = on_moved_axes(op, perm)
    inverse = inverse_of(perm)
    if moved is None or not all(_is_free(graph, v, perm, inverse) for v in operands):
        return
    origin: tuple[str, ...] = ()
    for slot, value in enumerate(operands):
        first = graph.producer(value)
        if isinstance(first, Transpose):
            origin = first.origin
        set_operand(graph, op, slot, _untransposed(graph, value, perm, inverse))
    graph.set_op(moved)
    result = graph.result(op)
    shape = tuple(result.shape[axis] for axis in inverse)
    result = graph.set_value(replace(result, shape=shape))
    name = graph.fresh_name(f"{result.name}_transposed")
    graph.insert_after(result, Transpose(name, origin, perm=perm))


def _common_perm(graph: Graph, operands: Sequence[Value]) -> Perm | None:
    """The permutation of the Transposes that produce the operands, None if they differ."""
    sources = [graph.producer(v) for v in operands]
    perms = {op.perm for op in sources if isinstance(op, Transpose)}
    return perms.pop() if len(perms) == 1 else None


def on_moved_axes(op: Op, perm: Perm) -> Op | None:
    """`op` for operands whose axis perm[i] was axis i; None if it has none such."""
    match op:
        case Table() | Add() | Mul() | Pairwise():
            return op
        case Softmax() | BatchNorm() if perm[-1] == len(perm) - 1:
            return op
        case Concat() | Gather():
            return replace(op, axis=perm[op.axis])
        case Reduction():
            axes = tuple(sorted(perm[axis] for axis in op.axes))
            return replace(op, axes=axes) if axes[-1] - axes[0] < len(axes) else None
        case Pad():
            return replace(op, pads=_moved_back(op.pads, perm))
        case Slice():
            return replace(op, parts=_moved_back(op.parts, perm))
        case Tile():
            return replace(op, repeats=_moved_back(op.repeats, perm))
    return None


def _moved_back(per_axis: Sequence[T], perm: Perm) -> tuple[T, ...]:
    return tuple(per_axis[axis] for axis in inverse_of(perm))


def _is_free(graph: Graph, value: Value, perm: Perm, inverse: Perm) -> bool:
    """Can operand `value` be had with its axes moved back without moving a byte?"""
    if value.is_constant:
        return len(value.shape) <= len(perm)
    if len(value.shape) != len(perm):
        return False
    source = graph.producer(value)
    if isinstance(source, Transpose):
        return source.perm == perm
    return is_view(value.shape, inverse) or _transposed_by(graph, value, inverse) is not None


def _untransposed(graph: Graph, value: Value, perm: Perm, inverse: Perm) -> Value:
    """Operand `value`, for which _is_free, with its axes moved back."""
    if value.is_constant:
        return _moved_constant(graph, value, inverse)
    source = graph.producer(value)
    if isinstance(source, Transpose):
        return graph.operands(source)[0]
    there = _transposed_by(graph, value, inverse)
    if there is not None:
        return there
    name = graph.fresh_name(f"{value.name}_back")
    (back,) = graph.append(Transpose(name, (), perm=inverse), [value], [name])
    return graph.set_value(replace(back, qparams=value.qparams))


def _transposed_by(graph: Graph, value: Value, perm: Perm) -> Value | None:
    """The result of a Transpose `perm` of `value`, if the graph has one already."""
    for user in graph.users(value):
        if isinstance(user, Transpose) and user.perm == perm:
            return graph.result(user)
    return None


def _moved_constant(graph: Graph, value: Value, inverse: Perm) -> Value:
    """A constant (broadcast from the right) with its axes moved."""
    assert value.data is not None
    if value.elements == 1:  # means the same everywhere
        return value
    if inverse[-1] == len(inverse) - 1 and value.elements == value.shape[-1]:  # one per channel
        return value
    lead = len(inverse) - len(value.shape)
    data = value.data.reshape((1,) * lead + value.shape).transpose(inverse)
    q = value.qparams
    if q is not None and q.axis is not None:
        q = replace(q, axis=inverse.index(q.axis + lead))
    return constant_like(graph, value, np.ascontiguousarray(data), q)
