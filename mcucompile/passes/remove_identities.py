"""Operators that change nothing are removed."""

from __future__ import annotations

import math

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.pad import Pad
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import ScaleShift, Unary
from mcucompile.passes.rewrite import bypass


def remove_identities(graph: Graph) -> Graph:
    """x -> identity -> y    =>    x

    Exporters leave them behind, and other passes do. One that joins a model input to a model
    output stays: the output needs bytes of its own name.
    """
    graph = graph.copy()
    for op in graph.ops():
        if _is_identity(op, graph.operands(op)[0]):
            bypass(graph, op)
    return graph


def _is_identity(op: Op, operand: Value) -> bool:
    match op:
        case Reshape():
            return op.shape == operand.shape
        case Transpose():
            return op.perm == tuple(range(len(op.perm)))
        case Pad():
            return not any(before or after for before, after in op.pads)
        case Unary(function="identity"):
            return True
        case Unary():
            return op.clamp_bounds() == (-math.inf, math.inf)
        case ScaleShift():
            return op.scale == 1.0 and op.offset == 0.0
    return False
