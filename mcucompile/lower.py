"""Lowering: a quantized graph becomes an ordered list of kernel calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcucompile.errors import InternalError
from mcucompile.ir import Graph
from mcucompile.plan.insets import set_in
from mcucompile.plan.program import Inset, KernelCall, Program, Target, height

CODE_RESERVE = 48 * 1024  # bytes of flash for the code of a large model


def lower(graph: Graph, target: Target) -> Program:
    """The program that computes the quantized `graph`, in its topological order.

    Views become aliases; every other operator chooses its kernel, and may spend the flash that
    those before it left beyond the graph's own constants. Raises QuantizationError where
    an operator's integers cannot keep the number contract.
    """
    calls: list[KernelCall] = []
    stored: set[bytes] = set()  # what several calls read is there once
    wishes: dict[str, Mapping[str, Inset]] = {}
    aliases: dict[str, str] = {}
    constants = {v.name: v.data.nbytes for v in graph.values() if v.data is not None}
    if target.flash is not None:
        target = replace(target, flash=target.flash - CODE_RESERVE - sum(constants.values()))
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        if op.is_view:
            root = operands[0].name
            aliases[results[0].name] = aliases.get(root, root)
            continue
        call = op.lower(operands, results, target)
        names = [v.name for v in operands]
        windows = []
        for o in call.reads:
            slot = names.index(o.value)
            rows = height(operands[slot].shape)  # a single one may be the result of a fold
            sees_rows = rows > 1 and (call.row_unit or o.rows == rows)
            windows.append(op.row_window(slot, operands, results) if sees_rows else None)
        call = replace(call, windows=tuple(windows))
        if [o.value for o in call.writes] != [v.name for v in results]:
            raise InternalError(f"lowering of {op.name} does not write the operator's results")
        calls.append(call)
        wishes[op.name] = op.insets(operands, results)
        if target.flash is not None:
            fresh = [c for c in call.consts if c.data.tobytes() not in stored]
            stored |= {c.data.tobytes() for c in fresh}
            spent = sum(c.data.nbytes for c in fresh)
            own = sum(constants.pop(v.name, 0) for v in operands)
            target = replace(target, flash=target.flash - max(0, spent - own))
    values = {v.name: v for v in graph.values()}
    program = Program(tuple(calls), values, aliases, graph.inputs, graph.outputs)
    return set_in(program, wishes)
