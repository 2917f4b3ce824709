"""Transposes with nothing but a Reshape between them are one, or none."""

from __future__ import annotations

from mcucompile.ir import Graph, Shape
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.rewrite import fusable, set_operand


def join_transposes(graph: Graph) -> Graph:
    """x -> T -> Reshape -> T -> y    =>    x -> T -> Reshape -> y, or x -> Reshape -> y

    if the Reshape only adds or removes axes of length 1, as a squeeze between two means over an
    axis each, or between image and sequence. Whether a Transpose is left, the other axes say.
    """
    graph = graph.copy()
    for last in graph.ops_of(Transpose):
        view = graph.producer(graph.operands(last)[0])
        first = None if view is None else graph.producer(graph.operands(view)[0])
        if not isinstance(view, Reshape) or not isinstance(first, Transpose):
            continue
        if fusable(graph, first, view, stored_alike=True) and fusable(
            graph, view, last, stored_alike=True
        ):
            _join(graph, first, view, last)
    return graph


def _join(graph: Graph, first: Transpose, view: Reshape, last: Transpose) -> None:
    """Let `first` do what `last` does, where only axes of length 1 come between them."""
    x = graph.operands(first)[0]
    before, after = graph.result(first).shape, view.shape
    if _longer(before) != _longer(after):
        return
    axes = [axis for axis in first.perm if x.shape[axis] > 1]
    place = {axis: at for at, axis in enumerate(a for a, d in enumerate(after) if d > 1)}
    order = [axes[place[axis]] for axis in last.perm if after[axis] > 1]
    ones = [axis for axis, d in enumerate(x.shape) if d == 1]
    moved = x
    if order != sorted(order):
        name = graph.fresh_name(f"{first.name}_joined")
        op = Transpose(name, first.origin, perm=(*ones, *order))
        (moved,) = graph.append(op, [x], [name])
    graph.set_op(Reshape(last.name, last.origin, shape=graph.result(last).shape))
    set_operand(graph, last, 0, moved)


def _longer(shape: Shape) -> list[int]:
    return [d for d in shape if d > 1]
