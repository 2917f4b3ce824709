"""Results of layers as int16, where 8 bits are too few."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mcucompile.ir import Graph, Op, QuantRule, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.wide import Narrow
from mcucompile.ops.widened import can_be_wide, widened
from mcucompile.quant.quantize import uncalibrated


def widen(graph: Graph, layers: Collection[str]) -> Graph:
    """layer -> x -> reader, other    =>    Wide -> x: int16 -> Wide reader, Narrow -> other

    graph: float, normalized. layers: names of operators without `obstacles`. Who can read int16
    does, and stores its own result in 8 bits unless it is one of `layers`, too; maxima and views
    pass int16 on. The rest share one Narrow, as outputs of the model do.
    """
    graph = graph.copy()
    wide: list[str] = []
    for op in graph.ops():
        if op.name in layers:
            graph.set_op(widened(op, 16))
        elif not any(v.name in wide for v in graph.operands(op)):
            continue
        elif can_be_wide(op):
            graph.set_op(widened(op, 16 if _passes_on(op) else 8))
        if op.name in layers or _passes_on(op):
            wide.append(graph.result(op).name)
    for name in wide:
        _narrow(graph, graph.value(name))
    verify(graph, "normalized", "widen")
    return graph


def narrowed(graph: Graph) -> dict[str, str]:
    """The int8 values that stand for int16 ones in a widened `graph`, each with that one's name."""
    return {graph.result(op).name: graph.operands(op)[0].name for op in graph.ops_of(Narrow)}


def _passes_on(op: Op) -> bool:
    """Is the result of `op` int16 where its operand is?"""
    return op.is_view or (can_be_wide(op) and op.quant_rule is QuantRule.SAME)


def _narrow(graph: Graph, value: Value) -> None:
    """Let those who cannot read the int16 `value` read it as int8, in place."""
    others = [op for op in graph.users(value) if not (op.is_view or op.takes_int16)]
    if not others and value.name not in graph.outputs:
        return
    producer = graph.producer(value)
    assert producer is not None
    name = graph.fresh_name(f"{value.name}_narrow")
    (narrow,) = graph.append(Narrow(name, producer.origin), [value], [name])
    narrow = graph.set_value(replace(narrow, onnx_name=value.onnx_name))
    for op in others:
        for slot, operand in enumerate(graph.operands(op)):
            if operand.name == value.name:
                graph.set_operand(op, slot, narrow)
    graph.outputs = tuple(narrow.name if o == value.name else o for o in graph.outputs)


def obstacles(graph: Graph) -> dict[str, str]:
    """Why the result of an operator cannot be int16, or would gain nothing; "" where it can."""
    free = {v.name for v in uncalibrated(graph)}
    return {op.name: _obstacle(graph, op, free) for op in graph.ops()}


def _obstacle(graph: Graph, op: Op, free: Collection[str]) -> str:
    if op.quant_rule is QuantRule.SAME:
        return f"a {op.kind} hands on the numbers that it is given: name the layer before it"
    if op.takes_float:
        return "it is computed in float32"
    if not can_be_wide(op):
        return f"a {op.kind} has int8 results only"
    if graph.result(op).name not in free:
        return "the model itself says that its result has 8 bits"
    if not _is_read_wide(graph, graph.result(op)):
        return "nobody who reads its result can read int16"
    return ""


def _is_read_wide(graph: Graph, value: Value) -> bool:
    return any(
        _is_read_wide(graph, graph.result(op))
        if _passes_on(op)
        else can_be_wide(op) or op.takes_int16
        for op in graph.users(value)
    )
