"""The verifier: what must be true of a graph at each stage. It runs after every pass, always."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Literal

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir.dump import dump
from mcucompile.ir.graph import Graph
from mcucompile.ir.op import Op
from mcucompile.ir.storage import BIT, UNIT
from mcucompile.ir.types import QMAX, QMIN, Value

Stage = Literal["float", "normalized", "quantized"]

# Operators of the import that later stages do not know; a pass replaces each of them.
IMPORT_ONLY = frozenset({"BatchNorm", "Quantize", "Dequantize"})


def verify(graph: Graph, stage: Stage = "float", where: str = "") -> None:
    """Raise InternalError if `graph` breaks an invariant of `stage`.

    float: well-formed; shapes, types and constants consistent.
    normalized: besides, canonical operators only, batch 1 (but for outputs), nothing dead.
    quantized: besides, qparams and integers everywhere, sums within 32 bits.
    where: the pass that has just run, for the message.
    """
    checks: list[Callable[[Graph], Iterator[str]]] = [_structure, _names, _ports, _types]
    if stage != "float":
        checks.append(_normalized)
    if stage == "quantized":
        checks += [_quantized, _readers]
    for check in checks:
        broken = next(check(graph), None)
        if broken is not None:
            after = f"after {where}: " if where else ""
            raise InternalError(f"{after}{broken} (stage {stage})\n{dump(graph)}")


def _structure(graph: Graph) -> Iterator[str]:
    if not graph.is_acyclic():
        yield "the graph has a cycle"
        return
    for v in graph.values():
        given = v.name in graph.inputs
        if graph.definitions(v) + given + v.is_constant != 1:
            yield f"{v.name} has not exactly one definition"
    for op in graph.ops():
        for slots in graph.slots(op):
            if slots != list(range(len(slots))):
                yield f"{op.name} has the slots {slots}"


def _names(graph: Graph) -> Iterator[str]:
    for name in [v.name for v in graph.values()] + [op.name for op in graph.ops()]:
        if not (name.isidentifier() and name.isascii()):
            yield f"'{name}' is no C identifier"


def _ports(graph: Graph) -> Iterator[str]:
    for name in (*graph.inputs, *graph.outputs):
        if not graph.has_value(name):
            yield f"{name} is an input or output but no value"
    if len(set(graph.outputs)) != len(graph.outputs):
        yield "an output occurs twice"
    if set(graph.inputs) & set(graph.outputs):
        yield "an input is an output"
    sides = ((graph.inputs, graph.input_ports), (graph.outputs, graph.output_ports))
    for names, ports in sides:
        if len(names) != len(ports):
            yield f"{len(ports)} ports for {names}"
        for name, port in zip(names, ports, strict=False):
            if graph.value(name).shape != port.shape:
                yield f"port '{port.name}' has the shape {port.shape}, not that of {name}"


def _types(graph: Graph) -> Iterator[str]:
    for v in graph.values():
        if v.data is not None and (v.data.shape != v.shape or str(v.data.dtype) != v.dtype):
            yield f"{v.name} holds {v.data.dtype}{list(v.data.shape)}"
        if v.data is not None and (v.data.dtype.kind == "i") != (v.qparams is not None):
            yield f"constant {v.name} has integers without qparams or qparams without integers"
        yield from _qparams(v)
    for op in graph.ops():
        try:
            shapes = op.result_shapes(graph.operands(op))
        except ValueError as error:
            yield f"{op.name}: {error}"
            return
        if shapes != tuple(v.shape for v in graph.results(op)):
            yield f"{op.name} computes {shapes}, its results are otherwise"


def _qparams(v: Value) -> Iterator[str]:
    q = v.qparams
    if q is None:
        return
    if not (min(q.scale) > 0 and sum(q.scale) < math.inf):  # NaN makes the sum NaN
        yield f"{v.name} has a scale that is not positive"
    if not QMIN <= q.zero_point <= QMAX:
        yield f"{v.name} has the zero-point {q.zero_point}"
    channels = 1 if q.axis is None else (*v.shape, -1)[q.axis]
    if len(q.scale) != channels:
        yield f"{v.name} has {len(q.scale)} scales for {channels} channels"


def _normalized(graph: Graph) -> Iterator[str]:
    for op in graph.ops():
        if op.kind in IMPORT_ONLY:
            yield f"{op.name} is a {op.kind}"
        if all(v.is_constant for v in graph.operands(op)):
            yield f"{op.name} is constant"
    for v in graph.values():
        if not v.is_constant and v.shape[:1] != (1,) and v.name not in graph.outputs:
            yield f"{v.name} has a batch that is not 1: {v.shape}"
        if v.name not in (*graph.inputs, *graph.outputs) and not graph.users(v):
            source = graph.producer(v)
            if source is None or len(graph.results(source)) == 1:
                yield f"{v.name} is dead"


def _quantized(graph: Graph) -> Iterator[str]:
    for v in graph.values():
        if v.name in (*graph.inputs, *graph.outputs) and v.dtype in ("uint8", "float32"):
            continue  # an operator of ops/border.py is next to it
        if v.dtype == "float32" and (v.is_constant or (v.qparams and v.qparams.bits == 32)):
            continue  # who reads it is asked below
        if v.qparams is None or v.dtype not in ("int8", "int16", "int32", BIT):
            yield f"{v.name} is not quantized"
        elif not v.is_constant and (v.dtype == "int32" or v.qparams.axis is not None):
            yield f"activation {v.name} is not int8, int16 or bits with one scale"
        elif (v.dtype == "int16") != (v.qparams.bits == 16):
            yield f"{v.name} is {v.dtype}, its parameters are for {v.qparams.bits} bits"
        elif v.dtype == "int16" and (v.is_constant or v.qparams.zero_point != 0):
            yield f"{v.name} is int16, and no symmetric activation"
        elif v.dtype == BIT and v.qparams != UNIT:
            yield f"{v.name} has bits that are not -1 and +1"


def _readers(graph: Graph) -> Iterator[str]:
    """Operators of a quantized graph must know of the numbers that they are given."""
    for op in graph.ops():
        wide = [v.name for v in (*graph.operands(op), *graph.results(op)) if v.dtype == "int16"]
        if wide and not (op.takes_int16 or op.is_view):
            yield f"{op.name} knows nothing of int16, which {wide[0]} is"
        real = [v.name for v in graph.operands(op) if v.dtype == "float32"]
        if real and not (op.takes_float or op.is_view):
            yield f"{op.name} knows nothing of float32, which {real[0]} is"
        yield from _sum_of_products(graph, op)


def _sum_of_products(graph: Graph, op: Op) -> Iterator[str]:
    """The rules of an operator with an int32 bias: bias scale = input scale * weight scale, and no
    order of summation leaves 32 bits, in which the input zero-point is part of the bias."""
    operands = graph.operands(op)
    if len(operands) != 3 or operands[2].dtype != "int32":
        return
    x, w, b = operands
    if w.data is None or b.data is None:
        yield f"{op.name} has weights that are no constants"
        return
    if w.q.zero_point != 0 or w.q.axis not in (None, 0):
        yield f"{op.name} has weights that are not symmetric per output channel"
    scales = x.q.scale[0] * np.broadcast_to(np.asarray(w.q.scale), (w.shape[0],))
    if not np.allclose(np.broadcast_to(np.asarray(b.q.scale), scales.shape), scales, rtol=1e-5):
        yield f"{op.name} has a bias scale that is not input scale times weight scale"
    if "int16" in (x.dtype, graph.result(op).dtype):
        return  # summed in 64 bits
    flat = w.data.astype(np.int64).reshape(w.shape[0], -1)
    bias = np.abs(b.data.astype(np.int64) - x.q.zero_point * flat.sum(axis=1))
    if np.any(bias + 128 * np.abs(flat).sum(axis=1) >= 2**31):
        yield f"{op.name} may leave 32 bits while it sums"
