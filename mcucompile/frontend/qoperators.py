"""Operators on quantized tensors: QuantizeLinear and DequantizeLinear around one on reals.

ONNX and onnxruntime's quantizer ("QOperator format") have one such operator for each of the usual
operators. Its inputs are tensors with scale and zero-point each, then those of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from onnx import helper

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


def _channel_axis(op_type: str, attributes: dict[str, Any]) -> int:
    """The axis of the weights on which scales may differ."""
    return 0 if op_type == "QLinearConv" or attributes.get("transB") else 1
