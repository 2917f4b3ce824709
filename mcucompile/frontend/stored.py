"""Stored integers: what lies between QuantizeLinear and DequantizeLinear stands for real numbers.

Operators may move such integers, select and clamp them; what they would compute from them
otherwise is something else than from the numbers that they stand for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir import Graph, Op, QuantRule, Value
from mcucompile.ops.pad import Pad
from mcucompile.ops.qdq import Dequantize, Quantize


def misuses(graph: Graph, integer_inputs: Collection[str]) -> Iterator[UnsupportedModelError]:
    """An error MC101 for each operator that takes stored integers for numbers, or the opposite.

    integer_inputs: graph inputs that are int8 or uint8. One that a DequantizeLinear reads is
    stored, any other holds numbers.
    """
    stored = [graph.result(op) for op in graph.ops_of(Quantize)]
    for op in graph.ops_of(Dequantize):
        moves, sources = _origins(graph, graph.operands(op)[0])
        given = [source for source in sources if source.name in integer_inputs]
        stored += given
        if any(not _is_stored(graph, source) for source in sources if source not in given):
            why = "its input holds numbers, which no QuantizeLinear has stored"
            yield _error(op, why, "quantize the tensor with a QuantizeLinear")
        for move in moves:
            if given and isinstance(move, Pad) and move.mode == "constant":
                why = "only a DequantizeLinear after it says what the integers that it adds mean"
                yield _error(move, why, "put the DequantizeLinear before the Pad")
    seen: set[str] = set()
    for value in stored:
        for reader in _readers(graph, value):
            if not isinstance(reader, Dequantize) and reader.name not in seen:
                seen.add(reader.name)
                why = "it computes with the integers of a quantized tensor"
                yield _error(reader, why, "dequantize the tensor first")


def _origins(graph: Graph, value: Value) -> tuple[list[Op], list[Value]]:
    """The operators that have moved the integers of `value` to where they are, and what from."""
    op = graph.producer(value)
    if op is None or op.quant_rule is not QuantRule.SAME:
        return [], [value]
    parts = [_origins(graph, operand) for operand in graph.operands(op)]
    return [op, *(m for moves, _ in parts for m in moves)], [s for _, found in parts for s in found]


def _is_stored(graph: Graph, value: Value) -> bool:
    """Did a QuantizeLinear make it, of a constant or at run time?"""
    return value.qparams is not None or isinstance(graph.producer(value), Quantize)


def _readers(graph: Graph, value: Value) -> Iterator[Op]:
    """The operators that use the integers of `value`, moved or as they are."""
    for op in graph.users(value):
        if op.quant_rule is QuantRule.SAME:
            yield from _readers(graph, graph.result(op))
        else:
            yield op


def _error(op: Op, why: str, fix: str) -> UnsupportedModelError:
    where = f"node '{op.origin[0]}' ({op.kind})"
    return UnsupportedModelError("MC101", where, "cannot be compiled", why, fix)
