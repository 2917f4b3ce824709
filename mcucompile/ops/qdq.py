"""QuantizeLinear and DequantizeLinear: how a pre-quantized model states its parameters.

Both stand for the numbers they are given: what counts is the parameters they carry, which
`mcucompile.quant.absorb_qdq` moves to the values around them. uint8 becomes int8 by subtracting
128 from stored numbers and zero-points alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from mcucompile.errors import InternalError
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Graph, Op, QParams, QuantRule, Shape, Value
from mcucompile.plan.program import KernelCall, Target

UINT8_SHIFT = 128
_FIX = "quantize to int8 or uint8 (int32 for biases)"


@dataclass(frozen=True)
class _Marker(Op):
    """An identity on real numbers that says how they are stored."""

    qparams: QParams

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (operands[0],)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        raise InternalError(f"lower: {self.kind} must have been absorbed")


class Quantize(_Marker):
    """The result is stored with `qparams`."""


class Dequantize(_Marker):
    """The operand is stored with `qparams`."""


def _stored_type(node: OnnxNode) -> str:
    """What the node's activation is stored as: "int8" or "uint8"."""
    zero = node.optional(2)
    if zero is not None:
        dtype = str(node.constant(2, "zero point").dtype)
    elif node.op_type == "QuantizeLinear":
        wish = int(node.attrs.get("output_dtype", 0)) or onnx.TensorProto.UINT8
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(wish))
    else:
        node.unsupported("it has no zero point, whose type tells what it reads", "write it out")
    if dtype not in ("int8", "uint8"):
        node.unsupported(f"its integers are {dtype}", _FIX)
    return dtype


def _qparams(node: OnnxNode, shape: Shape, dtype: str) -> QParams:
    """Parameters from inputs 1 and 2 of `node` for a tensor of `shape` stored as `dtype`."""
    scales = tuple(float(s) for s in node.constant(1, "scale").reshape(-1))
    zeros = {0} if node.optional(2) is None else set(node.constant(2, "zero point").reshape(-1))
    if len(zeros) != 1:
        node.unsupported("its zero points differ by channel", "quantize weights symmetrically")
    if node.attrs.get("block_size", 0):
        node.unsupported("it quantizes by blocks", "quantize per tensor or per channel")
    zero_point = int(zeros.pop()) - (UINT8_SHIFT if dtype == "uint8" else 0)
    if len(scales) == 1:
        return QParams(scales, zero_point)
    axis = int(node.attrs.get("axis", 1))
    axis += len(shape) if axis < 0 else 0
    if not 0 <= axis < len(shape) or shape[axis] != len(scales):
        node.unsupported(f"{len(scales)} scales do not fit the shape {list(shape)}", _FIX)
    return QParams(scales, zero_point, axis)


def stored_constant(node: OnnxNode, data: Array, qparams: QParams) -> Value:
    """A constant of integers, uint8 shifted to int8."""
    if data.dtype == np.uint8:
        data = (data.astype(np.int16) - UINT8_SHIFT).astype(np.int8)
    name = node.graph.fresh_name(node.outputs[0])
    return node.graph.add_value(Value(name, data.shape, str(data.dtype), qparams, data))


@onnx_import("QuantizeLinear")
def import_quantize(node: OnnxNode) -> Value:
    x = node.operand(0)
    qparams = _qparams(node, x.shape, _stored_type(node))
    if x.is_constant:
        return stored_constant(node, qparams.quantize(x.real), qparams)
    return node.add(Quantize(*node.fresh(), qparams=qparams), x)


@onnx_import("DequantizeLinear")
def import_dequantize(node: OnnxNode) -> Value:
    x = node.operand(0)
    if x.data is not None:
        if x.qparams is not None:  # quantized by a QuantizeLinear of a constant
            return stored_constant(node, x.data, x.qparams)
        if x.dtype not in ("int8", "uint8", "int32"):
            node.unsupported(f"its constant is {x.dtype}", _FIX)
        return stored_constant(node, x.data, _qparams(node, x.shape, x.dtype))
    if node.optional(2) is None and (source := quantized_by(node.graph, x)) is not None:
        return node.add(Dequantize(*node.fresh(), qparams=source.qparams), x)
    return node.add(
        Dequantize(*node.fresh(), qparams=_qparams(node, x.shape, _stored_type(node))), x
    )


def stored_integer(number: Array) -> int:
    """A single integer as int8 stores it."""
    return int(number.reshape(())) - (UINT8_SHIFT if number.dtype == np.uint8 else 0)


def stored_number(graph: Graph, x: Value, number: Array) -> float:
    """The real number that the constant `number` means beside `x`: an integer is stored as those
    of `x` are, if a Quantize stored them."""
    source = quantized_by(graph, x)
    if source is None or number.dtype.kind == "f":
        return float(number.reshape(()))
    return float(source.qparams.dequantize(np.array(stored_integer(number))))


def stored_source(graph: Graph, value: Value) -> Value:
    """The value whose stored integers `value` holds, moved."""
    op = graph.producer(value)
    while op is not None and op.quant_rule is QuantRule.SAME:
        value = graph.operands(op)[0]
        op = graph.producer(value)
    return value


def quantized_by(graph: Graph, value: Value) -> Quantize | None:
    """The Quantize whose integers `value` holds, perhaps moved."""
    op = graph.producer(stored_source(graph, value))
    return op if isinstance(op, Quantize) else None
