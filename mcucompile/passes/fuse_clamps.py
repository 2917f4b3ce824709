"""Relu and Clip cost nothing in the operator before them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mcucompile.ir import Graph, Op
from mcucompile.ops.global_pool import GlobalMaxPool
from mcucompile.ops.pool import MaxPool
from mcucompile.ops.unary import Unary
from mcucompile.passes.rewrite import fusable, fuse

Range = tuple[float, float]


def fuse_clamps(graph: Graph) -> Graph:
    """op -> Relu           =>    op(clamp=(0, inf)), and likewise for Clip
    op -> max -> Relu    =>    op(clamp=(0, inf)) -> max

    Every operator that requantizes its result saturates it to 8 bits anyway; other bounds for
    that come for free. A maximum does not requantize: what goes into it is stored with the range
    of what comes out, so the operator before it should clamp already.
    """
    graph = graph.copy()
    for unary in graph.ops_of(Unary):
        bounds = unary.clamp_bounds()
        op = graph.producer(graph.operands(unary)[0])
        if bounds is None or op is None or not fusable(graph, op, unary, stored_alike=True):
            continue
        target: Any = _clamping(graph, op)
        if target is None:
            continue
        target = replace(target, clamp=_both(target.clamp, bounds))
        if target.name == op.name:
            fuse(graph, target, unary)
        else:
            graph.set_op(target)
            _forget_names(graph, target, op)
            fuse(graph, op, unary)
    return graph


def _clamping(graph: Graph, op: Op) -> Op | None:
    """The operator that can clamp the result of `op`: itself, or one before maxima."""
    if isinstance(op, MaxPool | GlobalMaxPool) and op.clamp is None:
        before = graph.producer(graph.operands(op)[0])
        if before is not None and fusable(graph, before, op, stored_alike=True):
            return _clamping(graph, before) or op
    return op if hasattr(op, "clamp") else None


def _forget_names(graph: Graph, first: Op, last: Op) -> None:
    """From the result of `first` to the operand of `last` no value is an ONNX tensor any more."""
    op = first
    while op.name != last.name:
        value = graph.set_value(replace(graph.result(op), onnx_name=""))
        op = graph.users(value)[0]


def _both(first: Range | None, then: Range) -> Range:
    """The clamp that does what `first` and `then` do one after the other."""
    if first is None:
        return then
    lo, hi = then
    return min(max(first[0], lo), hi), min(max(first[1], lo), hi)
