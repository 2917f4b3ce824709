"""Operators that change nothing are removed."""

from __future__ import annotations

import math

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.compare import Compare
from mcucompile.ops.extremum import Extremum
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
        operand = graph.operands(op)[0]
        if _is_identity(op, operand) or (_asks(op) and _answers(graph, operand)):
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
        case Unary(function="trunc"):
            return operand.qparams is not None and operand.qparams.scale == (1.0,)
        case Unary():
            return op.clamp_bounds() == (-math.inf, math.inf)
        case ScaleShift():
            return op.scale == 1.0 and op.offset == 0.0
    return False


def _asks(op: Op) -> bool:
    """Does `op` make 0 and 1 of numbers?"""
    return isinstance(op, Unary) and op.function == "nonzero"


def _answers(graph: Graph, value: Value) -> bool:
    """Are the numbers of `value` 0 and 1, as answers of comparisons are?"""
    match graph.producer(value):
        case Compare() | Unary(function="not" | "nonzero"):
            return True
        case Extremum() | Reshape() | Transpose() as op:
            return all(_answers(graph, v) for v in graph.operands(op))
    return False
