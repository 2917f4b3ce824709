"""BipolarQuant of QONNX: one of two numbers, by the sign. (That of weights is a constant.)"""

from __future__ import annotations

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QParams, Value
from mcucompile.ops.qdq import Dequantize, Quantize
from mcucompile.ops.unary import unary


@onnx_import("BipolarQuant")
def import_bipolar(node: OnnxNode) -> Value:
    """scale where x >= 0, else -scale: stored as 1 and -1, so that sums of products are exact."""
    scales = node.constant(1, "scale").reshape(-1)
    if scales.size != 1 or scales[0] <= 0:
        node.unsupported("its scale is not one positive number", "quantize activations per tensor")
    qparams = QParams((float(scales[0]),), 0)
    two = node.add_inner(unary(node, "bipolar", qparams.scale), node.operand(0))
    stored = node.add_inner(Quantize(*node.fresh("stored"), qparams=qparams), two)
    return node.add(Dequantize(*node.fresh(), qparams=qparams), stored)
