"""Recurrent layers compute what is read of them."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.recurrent import Recurrent
from mcucompile.ops.slice import Slice
from mcucompile.passes.rewrite import bypass


def trim_recurrent(graph: Graph) -> Graph:
    """recurrent -> (B, T, H) -> Slice of the last step    =>    recurrent -> (B, 1, H)
    Lstm -> h, cell that nobody reads                  =>    Lstm -> h

    The results of all steps are T times as large as the one that a classifier asks for.
    """
    graph = graph.copy()
    for op in graph.ops():
        if isinstance(op, Recurrent):
            _trim_sequence(graph, op)
    for op in graph.ops_of(Lstm):
        cells = graph.results(op)[1:]
        if cells and not graph.users(cells[0]) and cells[0].name not in graph.outputs:
            graph.erase_value(cells[0])
            graph.set_op(replace(op, with_cell=False))
    return graph


def _trim_sequence(graph: Graph, op: Recurrent) -> None:
    y = graph.results(op)[0]
    user = graph.only_user(y)
    last = 0 if op.reverse else y.shape[1] - 1
    if not isinstance(user, Slice) or user.parts != (None, range(last, last + 1), None):
        return
    graph.set_op(replace(op, sequence=False))
    # The range of its numbers is still that of all steps, not that of the tensor.
    graph.set_value(replace(y, shape=(y.shape[0], 1, op.hidden), onnx_name=""))
    bypass(graph, user)
