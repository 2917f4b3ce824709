"""A quantized graph as an ONNX model that any tool can run.

Inputs and outputs are those of the original model: names, shapes (batch 1), types, layout. What is
stored in between is int8 with the graph's own parameters, and every constant has the integers of
the compiled model. Compiling the file gives these integers again.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from mcucompile import __version__
from mcucompile.errors import ErrorGroup, McuCompileError, UnsupportedModelError
from mcucompile.export.writer import OPSET, NodeWriter
from mcucompile.ir import Graph, Port, Value

IR_VERSION = 8
INTEGERS = ("int8", "uint8")


def qdq_model(graph: Graph) -> onnx.ModelProto:
    """The quantized `graph`, legalized and without a border (see set_border), as QDQ ONNX.

    Raises UnsupportedModelError MC109 (an ErrorGroup where there are several) for operators that
    ONNX cannot say.
    """
    ports = (*graph.input_ports, *graph.output_ports)
    out = NodeWriter(port.name for port in ports)
    for name, port in zip(graph.inputs, graph.input_ports, strict=True):
        _read_input(out, graph.value(name), port)
    _write_operators(out, graph)
    for name, port in zip(graph.outputs, graph.output_ports, strict=True):
        _write_output(out, graph.value(name), port)
    proto = helper.make_graph(
        out.nodes,
        graph.name,
        [_info(port) for port in graph.input_ports],
        [_info(port) for port in graph.output_ports],
        out.initializers,
    )
    return helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="mcucompile",
        producer_version=__version__,
    )


def _write_operators(out: NodeWriter, graph: Graph) -> None:
    integers = {
        name: port
        for name, port in zip(graph.outputs, graph.output_ports, strict=True)
        if port.dtype in INTEGERS
    }
    errors: dict[str, McuCompileError] = {}  # a node that became several operators is named once
    for op in graph.ops():
        results = graph.results(op)
        out.scope = results[0].name
        try:
            real = op.to_onnx(out, graph.operands(op), results)
        except UnsupportedModelError as error:
            errors[str(error)] = error
            for value in results:  # a stand-in, so that all refusals are found
                out.stored(value, value.name)
            continue
        port = integers.get(results[0].name)
        out.quantize(results[0], real, *((port.name, port.dtype) if port else ()))
    if errors:
        raise ErrorGroup.of(list(errors.values()))


def _read_input(out: NodeWriter, value: Value, port: Port) -> None:
    if port.dtype in INTEGERS:
        out.stored(value, port.name, port.dtype)
    else:
        out.quantize(value, port.name)


def _write_output(out: NodeWriter, value: Value, port: Port) -> None:
    if port.dtype == "float32":
        out.dequantize(value, port.name)
    elif port.dtype not in INTEGERS:
        out.add("Cast", out.real(value), result=port.name, to=_element(port))


def _info(port: Port) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(port.name, _element(port), port.model_shape)


def _element(port: Port) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(port.dtype))
