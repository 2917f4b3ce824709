"""Operators on quantized tensors: QuantizeLinear and DequantizeLinear around one on reals.

ONNX and onnxruntime's quantizer ("QOperator format") have one such operator for each of the usual
operators. Its inputs are tensors with scale and zero-point each, then those of the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mcucompile.frontend.inline import within

DOMAINS = ("", "ai.onnx", "com.microsoft")

# The operator on reals, and how many tensors it reads.
OPERATORS = {
    "QLinearAdd": ("Add", 2),
    "QLinearAveragePool": ("AveragePool", 1),
    "QLinearConcat": ("Concat", 0),  # as many as there are
    "QLinearConv": ("Conv", 2),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", 1),
    "QLinearLeakyRelu": ("LeakyRelu", 1),
    "QLinearMatMul": ("MatMul", 2),
    "QLinearMul": ("Mul", 2),
    "QLinearSigmoid": ("Sigmoid", 1),
    "QLinearSoftmax": ("Softmax", 1),
    "QGemm": ("Gemm", 2),
}


# Sums of products of integers, from which zero-points are subtracted first.
INTEGER_OPERATORS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}


def qoperator_body(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes that compute what `node` does; none if it is no such operator."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type not in OPERATORS or node.domain not in DOMAINS:
        return []
    if attributes.pop("channels_last", 0):
        return []
    attributes.pop("opset", None)  # of a Softmax: that of the model
    return within(node, _body(node, attributes))


def _body(node: onnx.NodeProto, attributes: dict[str, Any]) -> Iterator[onnx.NodeProto]:
    op_type, count = OPERATORS[node.op_type]
    inputs = list(node.input)
    if node.op_type == "QLinearConcat":  # the result comes first
        inputs, count = inputs[2:] + inputs[:2], (len(inputs) - 2) // 3
    reals = [f"real{i}" for i in range(count)]
    for i, real in enumerate(reals):
        axis = _channel_axis(node.op_type, attributes) if i == 1 else 1
        tensor = inputs[3 * i : 3 * i + 3]
        yield helper.make_node("DequantizeLinear", tensor, [real], axis=axis)
    result, bias = inputs[3 * count :], ""
    if op_type == "Gemm":
        bias, *result = result
    elif op_type == "Conv" and len(result) > 2:
        *result, bias = result
    if bias:  # int32, with the product of both scales
        yield helper.make_node("Mul", [inputs[1], inputs[4]], ["bias_scale"])
        yield helper.make_node("DequantizeLinear", [bias, "bias_scale"], ["bias"], axis=0)
        reals.append("bias")
    if not any(result):  # a Gemm may leave its result as it is
        yield helper.make_node(op_type, reals, [node.output[0]], **attributes)
        return
    yield helper.make_node(op_type, reals, ["real"], **attributes)
    yield helper.make_node("QuantizeLinear", ["real", *result], [node.output[0]])


def integer_body(
    node: onnx.NodeProto, scales: Sequence[float], is_signed: Sequence[bool], is_layer: bool
) -> list[onnx.NodeProto]:
    """The nodes that compute what a ConvInteger or MatMulInteger does.

    The integers of a tensor that a QuantizeLinear stored with the scale s are its numbers / s.
    scales, is_signed (int8, or uint8): of both tensors; the scale is 1 where the integers are
    numbers. is_layer: the second one is constant; its scale then is chosen so that the result is
    whole.
    """
    return within(node, _integer_body(node, scales, is_signed, is_layer))


def _integer_body(
    node: onnx.NodeProto, scales: Sequence[float], is_signed: Sequence[bool], is_layer: bool
) -> Iterator[onnx.NodeProto]:
    zeros = [*node.input[2:], "", ""]
    scales = [scales[0], 1.0 / scales[0]] if is_layer else scales
    for i, scale in enumerate(scales):
        yield _constant(f"scale{i}", np.float32(scale))
        yield _constant(f"zero{i}", np.int8(0) if is_signed[i] else np.uint8(0))
        inputs = [node.input[i], f"scale{i}", zeros[i] or f"zero{i}"]
        yield helper.make_node("DequantizeLinear", inputs, [f"real{i}"])
    op_type = INTEGER_OPERATORS[node.op_type]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    product = node.output[0] if is_layer else "product"
    yield helper.make_node(op_type, ["real0", "real1"], [product], **attributes)
    if not is_layer:
        yield _constant("step", np.float32(1.0 / (scales[0] * scales[1])))
        yield helper.make_node("Mul", ["product", "step"], [node.output[0]])


def _constant(name: str, data: Any) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(data)))


def _channel_axis(op_type: str, attributes: dict[str, Any]) -> int:
    """The axis of the weights on which scales may differ."""
    return 0 if op_type == "QLinearConv" or attributes.get("transB") else 1
