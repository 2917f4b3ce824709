"""A graph as text, for people who look for the bug in a pass."""

from __future__ import annotations

from dataclasses import fields

from mcucompile.ir.graph import Graph
from mcucompile.ir.op import Op
from mcucompile.ir.types import Port, QParams, Value


def dump(graph: Graph) -> str:
    """One line per input, operator and output, in topological order; constants where used."""
    if not graph.is_acyclic():
        return f"graph {graph.name}: cyclic\n"
    inputs = zip(graph.inputs, graph.input_ports, strict=False)
    outputs = zip(graph.outputs, graph.output_ports, strict=False)
    lines = [
        f"graph {graph.name}",
        *(f"  input {_port(graph, name, port)}" for name, port in inputs),
        *(_op_line(graph, op) for op in graph.ops()),
        *(f"  output {_port(graph, name, port)}" for name, port in outputs),
    ]
    return "\n".join(lines) + "\n"


def _port(graph: Graph, name: str, port: Port) -> str:
    value = _typed(graph.value(name)) if graph.has_value(name) else f"{name}: missing"
    return f"{value}{' ' if port.layout else ''}{port.layout}  # '{port.name}'"


def _op_line(graph: Graph, op: Op) -> str:
    results = ", ".join(_typed(v) for v in graph.results(op))
    operands = [_typed(v) if v.is_constant else v.name for v in graph.operands(op)]
    attributes = [
        f"{f.name}={_short(getattr(op, f.name))}"
        for f in fields(op)
        if f.repr and f.name not in ("name", "origin") and getattr(op, f.name) is not None
    ]
    origin = f"  # {', '.join(repr(o) for o in op.origin)}" if op.origin else ""
    return f"  {results} = {op.kind}({', '.join(operands + attributes)}){origin}"


def _typed(value: Value) -> str:
    """`name: float32[1,4] q(0.5, -3)`"""
    shape = ",".join(str(d) for d in value.shape)
    qparams = "" if value.qparams is None else f" {_short(value.qparams)}"
    return f"{value.name}: {'const ' if value.is_constant else ''}{value.dtype}[{shape}]{qparams}"


def _short(item: object) -> str:
    if isinstance(item, QParams):
        axis = "" if item.axis is None else f" on axis {item.axis}"
        scale = f"{item.scale[0]:.6g}" if item.axis is None else f"{len(item.scale)} scales"
        return f"q({scale}, {item.zero_point}){axis}"
    return str(item)
