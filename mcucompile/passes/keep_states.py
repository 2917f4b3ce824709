"""Recurrent layers that go on where they ended, for sequences that come in pieces."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.errors import UnsupportedModelError, UsageError
from mcucompile.ir import Graph
from mcucompile.ops.recurrent import Recurrent


def keep_states(graph: Graph) -> Graph:
    """recurrent    =>    the same, stateful

    Raises UsageError MC034 if there is none, UnsupportedModelError MC108 where one begins at the
    end of a sequence, of which no more is known than the piece that has come.
    """
    graph = graph.copy()
    layers = [op for op in graph.ops() if isinstance(op, Recurrent)]
    if not layers:
        raise UsageError(
            "MC034",
            f"model '{graph.name}'",
            "has no state to keep",
            "it has no LSTM, GRU or RNN",
            "leave --stateful out",
        )
    for op in layers:
        if op.reverse:
            raise UnsupportedModelError(
                "MC108",
                f"node '{op.origin[0]}' ({op.kind})",
                "cannot keep its state",
                "it walks backwards, from the end of the whole sequence",
                "leave --stateful out, or use layers of direction 'forward'",
            )
        graph.set_op(replace(op, stateful=True))
    return graph
