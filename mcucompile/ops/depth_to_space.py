"""DepthToSpace and SpaceToDepth: pixels become channels and channels pixels, by a Transpose."""

from __future__ import annotations

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Shape, Value
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose, to_nchw, to_nhwc


@onnx_import("DepthToSpace")
def import_depth_to_space(node: OnnxNode) -> Value:
    """Of the channels of a pixel, which are (row, column, channel) of a block in mode "DCR" and
    (channel, row, column) in mode "CRD", each becomes a pixel of its own."""
    block, x = _block(node)
    n, h, w, c = x.shape
    depth = c // block**2
    if c % block**2:
        node.unsupported(f"{c} channels are no blocks of {block}x{block}", "repair the model")
    result = (n, h * block, w * block, depth)
    if node.attrs.get("mode", "DCR") == "CRD":
        return _permuted(node, x, (n, h, w, depth, block, block), (0, 1, 4, 2, 5, 3), result)
    return _permuted(node, x, (n, h, w, block, block, depth), (0, 1, 3, 2, 4, 5), result)


@onnx_import("SpaceToDepth")
def import_space_to_depth(node: OnnxNode) -> Value:
    """Of a block of pixels one; its channels are ordered as DepthToSpace reads them."""
    block, x = _block(node)
    n, h, w, c = x.shape
    if h % block or w % block:
        node.unsupported(f"{h}x{w} pixels are no blocks of {block}x{block}", "repair the model")
    result = (n, h // block, w // block, block**2 * c)
    split = (n, h // block, block, w // block, block, c)
    crd = node.attrs.get("mode", "DCR") == "CRD"
    return _permuted(node, x, split, (0, 1, 3, 5, 2, 4) if crd else (0, 1, 3, 2, 4, 5), result)


def _block(node: OnnxNode) -> tuple[int, Value]:
    """The size of a block, and the image in NHWC."""
    return int(node.attrs["blocksize"]), to_nhwc(node, node.operand(0))


def _permuted(
    node: OnnxNode, x: Value, split: Shape, perm: tuple[int, ...], result: Shape
) -> Value:
    parts = node.add_inner(Reshape(*node.fresh("split"), shape=split), x)
    moved = node.add_inner(Transpose(*node.fresh(), perm=perm), parts)
    return to_nchw(node, node.add(Reshape(*node.fresh("joined"), shape=result), moved))
