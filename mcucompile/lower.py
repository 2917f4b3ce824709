"""Lowering: a quantized graph becomes an ordered list of kernel calls."""

from __future__ import annotations

from mcucompile.errors import InternalError
from mcucompile.ir import Graph
from mcucompile.plan.program import KernelCall, Program, Target


def lower(graph: Graph, target: Target) -> Program:
    """The program that computes the quantized `graph`, in its topological order.

    Views become aliases; every other operator chooses its kernel. Raises QuantizationError where
    an operator's integers cannot keep the number contract.
    """
    calls: list[KernelCall] = []
    aliases: dict[str, str] = {}
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        if op.is_view:
            root = operands[0].name
            aliases[results[0].name] = aliases.get(root, root)
            continue
        call = op.lower(operands, results, target)
        if [o.value for o in call.writes] != [v.name for v in results]:
            raise InternalError(f"lowering of {op.name} does not write the operator's results")
        calls.append(call)
    values = {v.name: v for v in graph.values()}
    return Program(tuple(calls), values, aliases, graph.inputs, graph.outputs)
