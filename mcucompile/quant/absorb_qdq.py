"""QuantizeLinear and DequantizeLinear become quantization parameters of values."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, QParams, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.qdq import UINT8_SHIFT, Dequantize, Quantize, stored_source
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.unary import Unary
from mcucompile.quant.propagate import propagate


def absorb_qdq(graph: Graph) -> Graph:
    """x -> Dequantize(q) -> op -> y -> Quantize(q')    =>    x: q -> op -> y: q'

    Both are identities on real numbers, so all they say is how a value is stored. A Quantize of a
    value that is already stored otherwise stays, as a Requantize. A graph output that was integer
    is then the value whose stored integers it was. Raises QuantizationError MC205 if a tensor is
    dequantized with other parameters than it was quantized with.
    """
    graph = graph.copy()
    _check_consistent(graph)
    for op in graph.ops_of(Quantize, Dequantize):
        assert isinstance(op, Quantize | Dequantize)
        value = graph.operands(op)[0]
        if value.qparams is None:
            value = graph.set_value(replace(value, qparams=op.qparams))
        if value.qparams != op.qparams:
            graph.set_value(replace(graph.result(op), qparams=op.qparams))
            graph.set_op(Unary(op.name, op.origin, function="identity"))
        elif _are_both_ports(graph, value, graph.result(op)):
            graph.set_value(replace(graph.result(op), qparams=op.qparams))
            graph.set_op(Reshape(op.name, op.origin, shape=value.shape))
        else:
            graph.bypass(op)
    propagate(graph)
    _store_plain_numbers(graph)
    verify(graph, "float", "absorb_qdq")
    return graph


def _store_plain_numbers(graph: Graph) -> None:
    """Integers that the caller gives or gets without any parameters are the numbers themselves."""
    ports = [
        *zip(graph.inputs, graph.input_ports, strict=True),
        *zip(graph.outputs, graph.output_ports, strict=True),
    ]
    for name, port in ports:
        value = graph.value(name)
        if port.dtype in ("int8", "uint8") and value.qparams is None:
            zero_point = -UINT8_SHIFT if port.dtype == "uint8" else 0
            graph.set_value(replace(value, qparams=QParams((1.0,), zero_point)))
    propagate(graph)


def _are_both_ports(graph: Graph, value: Value, result: Value) -> bool:
    """Is `result` a model output whose bytes would have to be another port's too?"""
    return result.name in graph.outputs and value.name in (*graph.inputs, *graph.outputs)


def _check_consistent(graph: Graph) -> None:
    """The integers of a tensor must mean the same to everyone, also after they were moved."""
    stored: dict[str, QParams] = {}
    for op in graph.ops_of(Quantize, Dequantize):
        assert isinstance(op, Quantize | Dequantize)
        quantizes = isinstance(op, Quantize)
        value = graph.result(op) if quantizes else stored_source(graph, graph.operands(op)[0])
        if stored.setdefault(value.name, op.qparams) != op.qparams:
            raise QuantizationError(
                "MC205",
                f"node '{op.origin[0]}' (DequantizeLinear)",
                "cannot be compiled",
                "its scale or zero-point is not the one its input was quantized with",
                "export the model with equal parameters in both nodes",
            )
