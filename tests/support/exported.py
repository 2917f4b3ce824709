"""QDQ ONNX as it is written, against the integer reference, operator by operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from mcucompile.compiler import Compilation
from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ops.table import Table
from mcucompile.plan.program import Const
from mcucompile.quant.samples import to_model_int8
from mcucompile.reference.onnx_session import OnnxSession


def stored_inputs(graph: Graph, arrays: Sequence[Array]) -> list[Array]:
    """Samples in the model's own types as the integers of the inputs of `graph`."""
    ports = zip(graph.inputs, graph.input_ports, arrays, strict=True)
    return [to_model_int8(a, port, graph.value(name).q) for name, port, a in ports]


def steps_by_operator(
    graph: Graph, model: onnx.ModelProto, arrays: Sequence[Array]
) -> dict[str, int]:
    """By how much each operator of `graph` differs from what onnxruntime makes of the same
    integers in `model`, the file written from it; in steps of its result, for samples `arrays`."""
    values = [graph.value(name) for name in graph.inputs]
    values += [v for op in graph.ops() for v in graph.results(op)]
    tensors = {value.name: _tensor(graph, value) for value in values}
    session = OnnxSession(model, [t for t in tensors.values() if t not in _ports(graph)])
    seen = dict(zip(session.output_names, session.run(arrays), strict=True))
    given = zip(graph.inputs, graph.input_ports, arrays, strict=True)
    seen |= {port.name: array for _, port, array in given}
    found = {}
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        stored = [
            v.data if v.data is not None else _int8(v, seen[tensors[v.name]]) for v in operands
        ]
        (have,) = op.evaluate_int(operands, results, stored)
        want = _int8(results[0], seen[tensors[results[0].name]])
        difference = have.astype(int).reshape(want.shape) - want
        found[op.name] = int(np.abs(difference).max(initial=0))
    return found


def _ports(graph: Graph) -> set[str]:
    return {port.name for port in (*graph.input_ports, *graph.output_ports)}


def _tensor(graph: Graph, value: Value) -> str:
    """The tensor that holds the integers of `value`."""
    ports = {
        name: port.name
        for names, of in ((graph.inputs, graph.input_ports), (graph.outputs, graph.output_ports))
        for name, port in zip(names, of, strict=True)
        if port.dtype in ("int8", "uint8")
    }
    return ports.get(value.name, f"{value.name}_stored")


def _int8(value: Value, array: Array) -> Array:
    """The integers of `value`, samples on axis 0, as the compiler stores them."""
    if array.dtype == np.uint8:
        array = (array.astype(np.int16) - 128).astype(np.int8)
    return array.reshape(value.shape if array.size == value.elements else (-1, *value.shape[1:]))


def computations(graph: Graph) -> list[tuple[Any, ...]]:
    """What `graph` computes, whatever its operators and values are called."""
    return [
        (
            _rule(graph, op),
            [_content(v) for v in (*graph.operands(op), *graph.results(op))],
        )
        for op in graph.ops()
    ]


def _rule(graph: Graph, op: Op) -> Any:
    if isinstance(op, Table):
        return op.table(graph.operands(op)[0].q, graph.result(op).q).tobytes()
    return replace(op, name="", origin=())


def _content(value: Value) -> tuple[Any, ...]:
    """The scale of a bias says nothing that those of input and weights do not say."""
    stored = () if value.dtype == "int32" else (value.q.scale, value.q.zero_point)
    data = None if value.data is None else value.data.tobytes()
    return value.shape, value.dtype, *stored, data


def calls(compilation: Compilation) -> list[tuple[Any, ...]]:
    """The kernel calls of a compiled model with all of their numbers, without any names."""
    return [
        (
            call.kernel,
            [
                (name, p.data.tobytes() if isinstance(p, Const) else p)
                for name, p in call.params.items()
            ],
        )
        for call in compilation.plan.program.calls
    ]
