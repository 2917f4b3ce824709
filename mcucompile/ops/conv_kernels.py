"""Kernel choice, packing and scratch size of convolutions."""

from __future__ import annotations

from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.conv_thin import is_thin, thin_call
from mcucompile.ops.conv_winograd import winograd_call
from mcucompile.ops.dense import conv1x1_call, dense_call
from mcucompile.ops.depthwise import depthwise_call
from mcucompile.plan.program import Const, KernelCall, Target


def lower_conv(layer: gemm.Layer, geometry: Geometry, target: Target) -> KernelCall:
    """The kernel for the convolution `layer`."""
    g = geometry.lying()
    if g.is_one_window and layer.groups == 1:
        return dense_call(layer, "its one window is the whole input")
    if g.is_pointwise and layer.groups == 1:
        return conv1x1_call(layer, "1x1: a matrix product, pixel by pixel")
    if layer.groups == g.cin == g.cout and g.cin > 1:
        return depthwise_call(layer, g)
    winograd = winograd_call(layer, g, target)
    if winograd is not None:
        return winograd
    if is_thin(layer, g, target):
        return thin_call(layer, g, target)
    return _conv2d(layer, g)


def _conv2d(layer: gemm.Layer, g: Geometry) -> KernelCall:
    depth = g.cin // layer.groups
    elements = g.kh * g.kw * depth
    order = gemm.word_order(elements) if depth % 4 == 0 else gemm.natural_order(elements)
    wide = gemm.is_wide(layer)
    params: dict[str, int | Const] = {
        "in_h": g.in_h,
        "in_w": g.in_w,
        "cin": g.cin,
        "out_w": g.out_w,
        "cout": g.cout,
        "kh": g.kh,
        "kw": g.kw,
        "sh": g.sh,
        "sw": g.sw,
        "dh": g.dh,
        "dw": g.dw,
        "top": g.top,
        "left": g.left,
        "groups": layer.groups,
        "in_zp": layer.x.q.zero_point,
        "weights": Const("weights", gemm.pack_pairs(layer, order)),
        "wide": int(wide),
    }
    return layer.call(
        "mcuc_conv2d_s8" if layer.is_plain and not wide else "mcuc_conv2d_any_s8",
        "mcuc/conv2d.h",
        params,
        (g.in_h, g.out_h),
        scratch=gemm.tile_bytes(g.out_w, elements),
        band=1,
        why="windows gathered into the tiles of a matrix product",
    )
