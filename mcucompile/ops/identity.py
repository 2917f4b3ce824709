"""Nodes that compute nothing at inference: their result is their operand."""

from __future__ import annotations

import numpy as np
import onnx

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Value
from mcucompile.ops.arg_extremum import ArgExtremum
from mcucompile.ops.compare import EQUAL, GREATER, LESS, Compare
from mcucompile.ops.unary import unary


@onnx_import("Identity")
def import_identity(node: OnnxNode) -> Value:
    return node.operand(0)


@onnx_import("Dropout")
def import_dropout(node: OnnxNode) -> tuple[Value, ...]:
    """Nothing at inference, which the model may have to say itself; the mask lets all pass."""
    data = [v.data if v is not None else None for v in (node.optional(1), node.optional(2))]
    ratio, training = data
    if training is not None and training.any() and (ratio is None or ratio.any()):
        node.unsupported("it is in training mode", "export the model with model.eval()")
    x = node.operand(0)
    if not any(node.outputs[1:]):
        return (x,)
    always = Compare(*node.fresh("mask"), answers=LESS | EQUAL | GREATER)
    return x, node.add(always, x, x, output=1)


@onnx_import("Cast")
def import_cast(node: OnnxNode) -> Value:
    """All activations are real numbers here, whatever type the model gives them; only to make
    them whole, or answers, changes them."""
    x = node.operand(0)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attrs["to"]))
    if dtype.kind == "f" or isinstance(node.graph.producer(x), ArgExtremum | Compare):
        return x
    if dtype.kind == "b":
        return node.add(unary(node, "nonzero"), x)
    if dtype.kind not in "iu":
        node.unsupported(f"it turns numbers into {dtype}", "remove the Cast")
    return node.add(unary(node, "trunc"), x)
