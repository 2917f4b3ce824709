"""Tensors that have no batch in front get one, of length 1."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph, Op, Shape, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.dense import Dense
from mcucompile.ops.gather import Gather
from mcucompile.ops.matmul import MatMul
from mcucompile.ops.pad import Pad
from mcucompile.ops.pairwise import Pairwise
from mcucompile.ops.reduction import Reduction
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.slice import Slice
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.table import Table
from mcucompile.ops.tile import Tile
from mcucompile.ops.transpose import Transpose

ANY_RANK = (Dense, MatMul, Pairwise, Softmax, Table)


def lead_with_batch(graph: Graph) -> Graph:
    """Reshape(n, ...) -> op -> (m, ...)    =>    Reshape(1, n, ...) -> op -> (1, m, ...)

    Attention swaps the batch with time, or joins it with heads, and means all of it by the first
    axis. Batch 1 is what the model is compiled for, so these axes are inner ones, which an operator
    with its attributes moved by one axis treats as before. What knows of no other axes than those
    of a batch of images stays, with Reshapes around it.
    """
    graph = graph.copy()
    led: set[str] = set()
    for op in graph.ops():
        values = [v for v in graph.operands(op) if not v.is_constant]
        lacks = [v for v in (*values, *graph.results(op)) if v.shape[:1] != (1,)]
        if not lacks and not any(v.name in led for v in values):
            continue
        if isinstance(op, Reshape):
            if lacks and graph.result(op) in lacks:
                _lead_view(graph, op, led)
            continue
        moved = _moved(op)
        if moved is None:
            _restore(graph, op, led)
        else:
            _lead(graph, op, moved, led)
    given = [graph.value(name) for name in graph.outputs]
    graph.outputs = tuple(
        _give_as(graph, v, v.shape[1:]) if v.name in led else v.name for v in given
    )
    return graph


def _moved(op: Op) -> Op | None:
    """`op` for operands with one more axis in front; None if there is no such operator."""
    if isinstance(op, ANY_RANK):
        return op
    if isinstance(op, Transpose):
        return replace(op, perm=(0, *(axis + 1 for axis in op.perm)))
    if isinstance(op, Slice):
        return replace(op, parts=(None, *op.parts))
    if isinstance(op, Tile):
        return replace(op, repeats=(1, *op.repeats))
    if isinstance(op, Pad):
        return replace(op, pads=((0, 0), *op.pads))
    if isinstance(op, Concat | Gather):
        return replace(op, axis=op.axis + (op.axis >= 0))
    if isinstance(op, Reduction):
        return replace(op, axes=tuple(axis + (axis >= 0) for axis in op.axes))
    return None


def _lead(graph: Graph, op: Op, moved: Op, led: set[str]) -> None:
    """Put `moved` in the place of `op`, with an axis of 1 before all its operands and results."""
    for slot, value in enumerate(graph.operands(op)):
        if value.name in led or (value.is_constant and isinstance(op, Dense | Pairwise)):
            continue
        _view(graph, op, slot, value, (1, *value.shape))
    graph.set_op(moved)
    for value in graph.results(op):
        new = graph.set_value(replace(value, shape=(1, *value.shape)))
        if value.shape[:1] == (1,):
            name = graph.fresh_name(f"{value.name}_shaped")
            graph.insert_after(new, Reshape(name, op.origin, shape=value.shape))
        else:
            led.add(value.name)


def _lead_view(graph: Graph, op: Reshape, led: set[str]) -> None:
    value = graph.result(op)
    graph.set_op(replace(op, shape=(1, *value.shape)))
    graph.set_value(replace(value, shape=(1, *value.shape)))
    led.add(value.name)


def _restore(graph: Graph, op: Op, led: set[str]) -> None:
    """Let `op` read its operands as they were."""
    for slot, value in enumerate(graph.operands(op)):
        if value.name in led:
            _view(graph, op, slot, value, value.shape[1:])


def _view(graph: Graph, op: Op, slot: int, value: Value, shape: Shape) -> None:
    """Let operand `slot` of `op` be `value` in another shape."""
    view = Reshape(graph.fresh_name(f"{value.name}_shaped"), op.origin, shape=shape)
    (new,) = graph.append(view, [value], [view.name])
    if not value.is_constant:
        new = graph.set_value(replace(new, qparams=value.qparams))
    graph.set_operand(op, slot, new)


def _give_as(graph: Graph, value: Value, shape: Shape) -> str:
    """A view of `value` for the caller, in another shape; its name."""
    source = graph.producer(value)
    assert source is not None
    view = Reshape(graph.fresh_name(f"{value.name}_shaped"), source.origin, shape=shape)
    (result,) = graph.append(view, [value], [view.name])
    graph.set_value(replace(value, name=result.name, shape=shape))
    return result.name
