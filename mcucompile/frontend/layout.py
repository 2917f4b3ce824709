"""The layout of the model's inputs and outputs, which the C API keeps.

Inside, images are NHWC; importers say so with Transposes. The first Transpose that an input meets,
or the last one before an output, therefore tells how the model itself sees that tensor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from mcucompile.errors import UsageError
from mcucompile.ir import Graph, Op, Port, Value
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose

# Permutations to channels last and back, by rank.
TO_LAST = {3: (0, 2, 1), 4: (0, 2, 3, 1)}
TO_FIRST = {3: (0, 2, 1), 4: (0, 3, 1, 2)}


def input_layout(graph: Graph, value: Value) -> str:
    """Layout of the graph input `value`: "NCHW" if it goes to channels last first of all, else
    "NHWC" if it has four axes, else ""."""
    return _layout(value, _first_transpose(graph, value), TO_LAST)


def output_layout(graph: Graph, value: Value) -> str:
    """Layout of the graph output `value`: "NCHW" if it comes from channels last in the end."""
    return _layout(value, _last_transpose(graph, value), TO_FIRST)


def set_input_layout(graph: Graph, layout: Literal["", "nhwc", "nchw"]) -> Graph:
    """The imported graph with its image inputs in `layout`; "" leaves the model's own.

    Each input of the other layout is followed by a Transpose to what the model expects. To be
    called before the passes, which cancel it against the model's own. Raises UsageError MC003 if no
    input is an image.
    """
    if not layout:
        return graph
    if not any(port.layout for port in graph.input_ports):
        raise UsageError(
            "MC003",
            f"--input-layout {layout}",
            "does not apply",
            "the model has no image input",
            "leave the option out",
        )
    graph = graph.copy()
    ports = zip(graph.inputs, graph.input_ports, strict=True)
    graph.input_ports = tuple(_change_layout(graph, name, p, layout.upper()) for name, p in ports)
    return graph


def _change_layout(graph: Graph, name: str, port: Port, layout: str) -> Port:
    if port.layout in ("", layout):
        return port
    value = graph.value(name)
    rank = len(value.shape)
    to_new, back = (TO_LAST, TO_FIRST) if layout == "NHWC" else (TO_FIRST, TO_LAST)
    shape = tuple(value.shape[axis] for axis in to_new[rank])
    given = graph.set_value(replace(value, shape=shape))
    graph.insert_after(given, Transpose(graph.fresh_name(f"{name}_layout"), (), perm=back[rank]))
    return replace(port, shape=shape, layout=layout, model_layout=port.layout)


def _layout(value: Value, op: Transpose | None, perms: dict[int, tuple[int, ...]]) -> str:
    rank = len(value.shape)
    if op is not None and op.perm == perms.get(rank):
        return "NCHW"
    return "NHWC" if rank == 4 else ""


def _first_transpose(graph: Graph, value: Value) -> Transpose | None:
    """The first Transpose that `value` meets on its way through operators that keep its axes.

    With three axes, channels first and last are the same permutation: only the Transpose of an
    importer counts, which is followed by the Reshape that adds a height.
    """
    for op in graph.users(value):
        if isinstance(op, Transpose):
            after = [user for user in graph.users(graph.result(op)) if isinstance(user, Reshape)]
            return op if len(value.shape) == 4 or after else None
    for op in graph.users(value):
        if _keeps_axes(graph, op) and (found := _first_transpose(graph, graph.result(op))):
            return found
    return None


def _last_transpose(graph: Graph, value: Value) -> Transpose | None:
    """The last Transpose before `value`, as _first_transpose."""
    op = graph.producer(value)
    if isinstance(op, Transpose):
        before = isinstance(graph.producer(graph.operands(op)[0]), Reshape)
        return op if len(value.shape) == 4 or before else None
    if op is None or not _keeps_axes(graph, op):
        return None
    found = (_last_transpose(graph, v) for v in graph.operands(op) if not v.is_constant)
    return next((f for f in found if f), None)


def _keeps_axes(graph: Graph, op: Op) -> bool:
    """Is every axis of the result the same axis of the operands? Transposes and Reshapes apart, an
    operator that changes the meaning of axes changes their number."""
    if isinstance(op, Reshape) or len(graph.results(op)) != 1:
        return False
    rank = len(graph.result(op).shape)
    return all(len(v.shape) == rank for v in graph.operands(op) if not v.is_constant)
