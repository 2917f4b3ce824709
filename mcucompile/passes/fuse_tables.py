"""What depends on one number only is one table."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.add import Add
from mcucompile.ops.div import Div
from mcucompile.ops.extremum import Max, Min
from mcucompile.ops.mul import Mul
from mcucompile.ops.table import Formula, Steps, Table
from mcucompile.ops.unary import BoundedUnary, ScaleShift, Unary
from mcucompile.passes.rewrite import erase_unused

FUSED: tuple[type[Op], ...] = (Unary, BoundedUnary, ScaleShift, Formula, Add, Mul, Div, Max, Min)


def fuse_tables(graph: Graph) -> Graph:
    """x -> f -> g -> y                             =>    x -> Formula -> y
    x -> f -> a, x -> g -> b, op(a, b) -> y    =>    x -> Formula -> y, where op is +, -, *, /, max
                                                     or min

    Exporters write x * sigmoid(x), 0.5 * x * (1 + erf(x / sqrt(2))), x * relu6(x + 3) / 6 and the
    like operator by operator. Each of them is a function of one number, a table of 256 bytes, which
    is faster than its parts, and rounds once. A value that a quantized model stores in between is
    part of what the model means, and ends a formula.
    """
    graph = graph.copy()
    formulas: dict[str, tuple[str, Steps]] = {}
    for op in graph.ops_of(*FUSED):
        formula = _formula(graph, op, formulas)
        if formula is None:
            continue
        root, steps = formula
        formulas[graph.result(op).name] = formula
        if len(steps) > 1 or not isinstance(op, Table):
            _replace(graph, op, graph.value(root), steps)
    return graph


def _formula(graph: Graph, op: Op, known: dict[str, tuple[str, Steps]]) -> tuple[str, Steps] | None:
    """The value that `op` is a function of, and the function; None if there are several."""
    operands = graph.operands(op)
    parts = [
        known[v.name] if v.name in known and v.qparams is None else (v.name, ()) for v in operands
    ]
    root = graph.value(parts[0][0])
    if any(name != root.name for name, _ in parts) or root.is_constant:
        return None
    steps: list[tuple[Op, tuple[int, ...]]] = []
    slots = tuple(_append(steps, part) for _, part in parts)
    steps.append((replace(op, name="", origin=()), slots))
    return root.name, tuple(steps)


def _append(steps: list[tuple[Op, tuple[int, ...]]], more: Steps) -> int:
    """Append those of `more` that are not there yet; returns where the last one's result is."""
    place = [0]
    for op, slots in more:
        step = (op, tuple(place[slot] for slot in slots))
        if step not in steps:
            steps.append(step)
        place.append(steps.index(step) + 1)
    return place[-1]


def _replace(graph: Graph, op: Op, root: Value, steps: Steps) -> None:
    origin = _origin(graph, op, root)
    old = graph.operands(op)
    graph.set_operands(op, [root])
    graph.set_op(Formula(op.name, origin, steps=steps))
    for value in old:
        erase_unused(graph, value)


def _origin(graph: Graph, op: Op, root: Value) -> tuple[str, ...]:
    """The ONNX nodes from `root` to `op`."""
    found: dict[str, None] = {}
    for value in graph.operands(op):
        source = graph.producer(value)
        if value.name != root.name and source is not None:
            found |= dict.fromkeys(source.origin)
    return tuple(dict.fromkeys((*found, *op.origin)))
