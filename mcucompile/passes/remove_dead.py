"""What no output depends on is removed."""

from __future__ import annotations

from mcucompile.ir import Graph
from mcucompile.passes.rewrite import erase_unused


def remove_dead(graph: Graph) -> Graph:
    """op whose results nobody reads    =>    nothing

    Branches for training, second outputs; unused constants too. Model inputs stay.
    """
    graph = graph.copy()
    for op in reversed(graph.ops()):
        for value in graph.results(op):
            if graph.has_value(value.name):
                erase_unused(graph, value)
    for value in graph.values():
        if value.is_constant:
            erase_unused(graph, value)
    return graph
