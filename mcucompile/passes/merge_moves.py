"""Transposes with Reshapes between them are one Transpose."""

from __future__ import annotations

import math

import numpy as np

from mcucompile.ir import Array, Graph, Op
from mcucompile.ops.move import MOST
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.rewrite import same_storage, set_operand


def merge_moves(graph: Graph) -> Graph:
    """x -> T -> Reshape -> T -> Reshape -> ... -> y    =>    x -> Reshape -> T -> Reshape -> y

    Where the elements are in the end is what one Transpose of finer axes does, or none. Shuffles of
    channels and pixels between operators in NHWC, written on NCHW tensors, move each byte three
    times.
    """
    graph = graph.copy()
    for op in graph.ops_of(Transpose):
        _merge(graph, op)
    return graph


def _merge(graph: Graph, first: Transpose) -> None:
    """Merge `first` with the views and Transposes behind it, if that saves one."""
    chain = _chain(graph, first)
    x, last = graph.operands(first)[0], chain[-1]
    y = graph.result(last)
    if sum(isinstance(op, Transpose) for op in chain) < 2 or x.shape[:1] != (1,):
        return
    order = np.arange(x.elements).reshape(x.shape)
    for op in chain:
        (order,) = op.evaluate([order])
    axes = _axes(order.reshape(-1))
    if y.shape[:1] != (1,) or axes is None or len(axes) > MOST:
        return
    origin = tuple(dict.fromkeys(name for op in chain for name in op.origin))
    source = x
    if len(axes) > 1:
        operand_order = sorted(range(len(axes)), key=lambda i: -axes[i][1])
        split = (1, *(axes[i][0] for i in operand_order))
        perm = (0, *(1 + operand_order.index(i) for i in range(len(axes))))
        for new in (
            Reshape(graph.fresh_name(f"{last.name}_split"), origin, shape=split),
            Transpose(graph.fresh_name(f"{last.name}_moved"), origin, perm=perm),
        ):
            (source,) = graph.append(new, [source], [new.name])
    graph.set_op(Reshape(last.name, origin, shape=y.shape))
    set_operand(graph, last, 0, source)


def _chain(graph: Graph, first: Transpose) -> list[Op]:
    """`first`, and the Transposes and Reshapes that only pass its result on."""
    x = graph.operands(first)[0]
    chain: list[Op] = [first]
    while True:
        value = graph.result(chain[-1])
        user = graph.only_user(value)
        if not isinstance(user, Transpose | Reshape) or not same_storage(x, graph.result(user)):
            return chain
        chain.append(user)


def _axes(order: Array) -> list[tuple[int, int]] | None:
    """The fewest axes along which the numbers `order` are equally spaced: sizes and steps,
    outermost first. None if they are no such grid that holds each number once."""
    axes: list[tuple[int, int]] = []
    while order.size > 1:
        step = int(order[1] - order[0])
        breaks = np.flatnonzero(np.diff(order) != step)
        size = int(breaks[0]) + 1 if breaks.size else order.size
        if step < 1 or order.size % size:
            return None
        runs = order.reshape(-1, size)
        if not np.array_equal(runs, runs[:, :1] + step * np.arange(size)):
            return None
        axes.insert(0, (size, step))
        order = runs[:, 0]
    sizes = [size for size, _ in sorted(axes, key=lambda axis: -axis[1])]
    steps = sorted((step for _, step in axes), reverse=True)
    dense = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return axes if steps == dense else None
