"""Operators of constants become constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mcucompile.ir import Array, Graph, Op, QParams, Value
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.rewrite import constant_like, erase_unused


def fold_constants(graph: Graph) -> Graph:
    """op(constants)    =>    constant

    Models compute with constants where their exporter did not, and passes leave such operators
    behind. Moved integers stay the integers they are.
    """
    graph = graph.copy()
    for op in graph.ops():
        if all(v.is_constant for v in graph.operands(op)):
            fold(graph, op)
    return graph


def fold(graph: Graph, op: Op) -> tuple[Value, ...]:
    """Replace `op`, whose operands are constants, by its results as constants; returns them."""
    operands, results = graph.operands(op), graph.results(op)
    constants = tuple(_constants(graph, op, operands, results))
    for old, new in zip(results, constants, strict=True):
        graph.redirect(old, new)
    graph.erase_op(op)
    for value in operands:
        erase_unused(graph, value)
    return constants


def _constants(
    graph: Graph, op: Op, operands: Sequence[Value], results: Sequence[Value]
) -> list[Value]:
    if isinstance(op, Transpose | Reshape):
        return [_moved(graph, op, operands[0])]
    arrays = op.evaluate([v.real for v in operands])
    return [_stored(graph, v, a) for v, a in zip(results, arrays, strict=True)]


def _stored(graph: Graph, value: Value, real: Array) -> Value:
    """A constant of the numbers `real`, stored as `value` is known to be."""
    if value.qparams is None:
        return graph.constant(value.name, real)
    integers = replace(value, dtype="int8")
    return constant_like(graph, integers, value.qparams.quantize(real), value.qparams)


def _moved(graph: Graph, op: Transpose | Reshape, operand: Value) -> Value:
    """The constant `operand` transposed or reshaped, with its integers if it has any."""
    assert operand.data is not None
    q = operand.qparams
    if q is None or q.axis is None:
        (data,) = op.evaluate([operand.data])
        return constant_like(graph, operand, data, q)
    moved = _moved_qparams(op, operand.shape, q)
    (data,) = op.evaluate([operand.data if moved else operand.real])
    return constant_like(graph, operand, data, moved)


def _moved_qparams(op: Transpose | Reshape, shape: Sequence[int], q: QParams) -> QParams | None:
    """`q` with its axis where `op` puts it; None if a Reshape tears the axis apart."""
    assert q.axis is not None
    if isinstance(op, Transpose):
        return replace(q, axis=op.perm.index(q.axis))
    before = math.prod(shape[: q.axis])
    for axis, d in enumerate(op.shape):
        if math.prod(op.shape[:axis]) == before and d == shape[q.axis]:
            return replace(q, axis=axis)
    return None
