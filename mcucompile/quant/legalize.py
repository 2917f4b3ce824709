"""Requantization where an operator cannot do it itself."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph, QParams
from mcucompile.ir.verify import verify
from mcucompile.ops.unary import Unary
from mcucompile.quant.propagate import same_ops


def legalize(graph: Graph) -> Graph:
    """x: q -> move -> y: q'    =>    x: q -> Requantize -> x': q' -> move -> y: q'

    Moves and selections copy bytes, so both sides must store numbers alike. Operators that compute
    rescale on their own and are left alone. Operators with the same need share one Requantize.
    """
    graph = graph.copy()
    made: dict[tuple[str, QParams], str] = {}
    for op, _, result in list(same_ops(graph)):
        for slot, value in enumerate(graph.operands(op)):
            if value.is_constant or value.q == result.q:
                continue
            key = (value.name, result.q)
            if key not in made:
                name = graph.fresh_name(f"{op.name}_requantize")
                (new,) = graph.append(Unary(name, op.origin, function="identity"), [value], [name])
                graph.set_value(replace(new, dtype="int8", qparams=result.q))
                made[key] = new.name
            graph.set_operand(op, slot, graph.value(made[key]))
    verify(graph, "quantized", "legalize")
    return graph
