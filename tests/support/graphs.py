"""Small quantized graphs for tests of single operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mcucompile.ir import Graph, Op, Port, QParams, Value
from mcucompile.ops.floated import floated
from mcucompile.quant.float32 import REAL


def op_graph(op: Op, operands: Sequence[Value], result_qparams: QParams, dtype: str = "") -> Graph:
    """A quantized graph of the single operator `op`; operands without data are its inputs."""
    graph = Graph("case")
    for value in operands:
        if not graph.has_value(value.name):
            graph.add_value(value)
    (result,) = graph.append(op, operands, ("y",))
    stored = dtype or op.result_dtype(operands)
    graph.set_value(replace(result, dtype=stored, qparams=result_qparams))
    names = dict.fromkeys(v.name for v in operands if not v.is_constant)
    graph.inputs, graph.outputs = tuple(names), (result.name,)
    graph.input_ports = tuple(Port(n, graph.value(n).shape, "int8") for n in graph.inputs)
    graph.output_ports = (Port("y", result.shape, "int8"),)
    return graph


def as_int16(value: Value) -> Value:
    """An int8 `value` with the same range as int16."""
    q = QParams((value.q.scale[0] / 256,), bits=16)
    return replace(value, dtype="int16", qparams=q)


def as_float(graph: Graph) -> Graph:
    """The operator of `graph` on float32 numbers, with constants of the same meaning."""
    (op,) = graph.ops()
    operands = [
        replace(v, dtype="float32", qparams=None, data=v.real)
        if v.is_constant
        else replace(v, dtype="float32", qparams=REAL)
        for v in graph.operands(op)
    ]
    return op_graph(floated(op), operands, REAL)


def merged(graphs: Sequence[Graph]) -> Graph:
    """All `graphs` side by side in one: their names get the graph's number."""
    whole = Graph("cases")
    for i, graph in enumerate(graphs):
        for v in graph.values():
            whole.add_value(replace(v, name=f"{v.name}_{i}"))
        for op in graph.ops():
            operands = [f"{v.name}_{i}" for v in graph.operands(op)]
            results = [f"{v.name}_{i}" for v in graph.results(op)]
            whole.add_op(replace(op, name=f"{op.name}_{i}"), operands, results)
        whole.inputs += tuple(f"{n}_{i}" for n in graph.inputs)
        whole.outputs += tuple(f"{n}_{i}" for n in graph.outputs)
        whole.input_ports += graph.input_ports
        whole.output_ports += graph.output_ports
    return whole
