"""A 1x1 convolution computes its result where a depthwise one needs it, again and again."""

from __future__ import annotations

from collections.abc import Iterator

from mcucompile.ir import Graph
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.expand_depthwise import ExpandDepthwise, is_fusable


def fusable_depthwise(graph: Graph) -> Iterator[Conv2d]:
    """The depthwise convolutions of the quantized `graph` that a 1x1 can be fused with."""
    for op in graph.ops_of(Conv2d):
        if _expand_before(graph, op) is not None:
            yield op


def fuse_expand_depthwise(graph: Graph, depthwise: Conv2d) -> Graph:
    """1x1 -> depthwise    =>    both in one, with the same bits and without the value between.

    It costs time and saves memory, so that the planner says where it is worth it.
    """
    graph = graph.copy()
    expand = _expand_before(graph, depthwise)
    assert expand is not None
    between, operands = graph.result(expand), graph.operands(expand)
    constants = graph.operands(depthwise)[1:]
    origin = tuple(dict.fromkeys((*expand.origin, *depthwise.origin)))
    graph.merge_into(expand, depthwise)
    graph.set_operands(expand, [*operands, *constants])
    graph.set_op(ExpandDepthwise(expand.name, origin, expand, depthwise, between))
    return graph


def _expand_before(graph: Graph, depthwise: Conv2d) -> Conv2d | None:
    """The 1x1 whose result only `depthwise` reads."""
    x = graph.operands(depthwise)[0]
    g = depthwise.geometry(graph.operands(depthwise), graph.result(depthwise))
    expand = graph.producer(x)
    if not isinstance(expand, Conv2d) or graph.only_user(x) != depthwise:
        return None
    if depthwise.rounding != "once":  # the fused kernel knows no other rule
        return None
    if not (depthwise.groups == g.cin == g.cout > 1 and is_fusable(g)):
        return None
    if "tflite" in (expand.rounding, depthwise.rounding):  # which has kernels of its own
        return None
    pointwise = expand.geometry(graph.operands(expand), x).is_pointwise and expand.groups == 1
    return expand if pointwise else None
