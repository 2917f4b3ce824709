"""Nodes that compute nothing at inference: their result is their operand."""

from __future__ import annotations

import numpy as np
import onnx

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Value


@onnx_import("Identity", "Dropout")
def import_identity(node: OnnxNode) -> Value:
    return node.operand(0)


@onnx_import("Cast")
def import_cast(node: OnnxNode) -> Value:
    """All activations are real numbers here, whatever float type the model gives them."""
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(node.attrs["to"]))
    if dtype.kind != "f":
        node.unsupported(f"it turns numbers into {dtype}", "remove the Cast; use float activations")
    return node.operand(0)
