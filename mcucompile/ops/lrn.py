"""LRN, local response normalization: x / (bias + alpha * mean of squares of near channels)^beta."""

from __future__ import annotations

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Value
from mcucompile.ops.mul import Mul
from mcucompile.ops.pool import AveragePool
from mcucompile.ops.reshape import view
from mcucompile.ops.table import Formula
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.ops.unary import ScaleShift, Unary


@onnx_import("LRN")
def import_lrn(node: OnnxNode) -> Value:
    """The mean is an AveragePool along the channels, where zeros count; the power is a table."""
    x = to_nhwc(node, node.operand(0))
    n, height, width, channels = x.shape
    size = int(node.attrs["size"])
    before = (size - 1) // 2
    squares = node.add_inner(Mul(*node.fresh("squares")), x, x)
    rows = view(node, squares, (n, height * width, channels, 1))
    pool = AveragePool(
        *node.fresh("mean"),
        kernel=(1, size),
        strides=(1, 1),
        pads=(0, before, 0, size - 1 - before),
        count_include_pad=True,
    )
    mean = view(node, node.add_inner(pool, rows), x.shape)
    alpha, beta = (float(node.attrs.get(*a)) for a in (("alpha", 1e-4), ("beta", 0.75)))
    steps = (
        (ScaleShift("", (), scale=alpha, offset=float(node.attrs.get("bias", 1.0))), (0,)),
        (Unary("", (), "pow", (-beta,)), (1,)),
    )
    factor = node.add_inner(Formula(*node.fresh("factor"), steps=steps), mean)
    y = node.add(Mul(*node.fresh()), x, factor)
    return to_nchw(node, y, len(node.operand(0).shape))
