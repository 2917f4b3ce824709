"""BipolarQuant of QONNX: one of two numbers, by the sign. (That of weights is a constant.)"""

from __future__ import annotations

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QParams, Value
from mcucompile.ops.binarize import Bipolar
from mcucompile.ops.qdq import Dequantize, Quantize
from mcucompile.ops.unary import ScaleShift


@onnx_import("BipolarQuant")
def import_bipolar(node: OnnxNode) -> Value:
    """scale where x >= 0, else -scale: stored as 1 and -1, so that sums of products are exact."""
    scales = node.constant(1, "scale").reshape(-1)
    if scales.size != 1 or scales[0] <= 0:
        node.unsupported("its scale is not one positive number", "quantize activations per tensor")
    if scales[0] == 1.0:
        return node.add(Bipolar(*node.fresh()), node.operand(0))
    qparams = QParams((float(scales[0]),), 0)
    sign = node.add_inner(Bipolar(*node.fresh("sign")), node.operand(0))
    scaling = ScaleShift(*node.fresh("scaled"), scale=qparams.scale[0], offset=0.0)
    stored = Quantize(*node.fresh("stored"), qparams=qparams)
    two = node.add_inner(stored, node.add_inner(scaling, sign))
    return node.add(Dequantize(*node.fresh(), qparams=qparams), two)
