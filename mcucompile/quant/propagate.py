"""Operators that move or select stored numbers have the same parameters on both sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mcucompile.ir import Graph, Op, QuantRule, Value


def same_ops(graph: Graph) -> Iterator[tuple[Op, tuple[Value, ...], Value]]:
    """Each operator that keeps qparams, with its activation operands and its result."""
    for op in graph.ops():
        if op.quant_rule is QuantRule.SAME:
            operands = tuple(v for v in graph.operands(op) if not v.is_constant)
            yield op, operands, graph.result(op)


def propagate(graph: Graph) -> None:
    """Carry known qparams across such operators to values that have none, in place.

    First towards the results, then towards the operands, until nothing changes.
    """
    while _forward(graph) or _backward(graph):
        pass


def _forward(graph: Graph) -> bool:
    changed = False
    for op, operands, result in same_ops(graph):
        known = {v.qparams for v in graph.operands(op) if not v.is_constant}
        if graph.value(result.name).qparams is None and len(known) == 1 and None not in known:
            graph.set_value(replace(result, qparams=operands[0].qparams))
            changed = True
    return changed


def _backward(graph: Graph) -> bool:
    changed = False
    for _, operands, result in reversed(list(same_ops(graph))):
        qparams = graph.value(result.name).qparams
        for value in operands:
            if qparams is not None and graph.value(value.name).qparams is None:
                graph.set_value(replace(value, qparams=qparams))
                changed = True
    return changed
