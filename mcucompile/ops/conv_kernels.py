"""Kernel choice, packing and scratch size of convolutions."""

from __future__ import annotations

from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.conv_thin import is_thin, thin_call
from mcucompile.ops.conv_winograd import winograd_call
from mcucompile.ops.dense import conv1x1_call, dense_call
from mcucompile.ops.depthwise import depthwise_call
from mcucompile.ops.gemm_packed import or_packed
from mcucompile.ops.gemm_sparse import or_sparse
from mcucompile.plan.program import Const, KernelCall, Target


def lower_conv(layer: gemm.Layer, geometry: Geometry, target: Target) -> KernelCall:
    """The kernel for the convolution `layer`."""
    g = geometry.lying()
    if g.is_one_window and layer.groups == 1:
        return dense_call(layer, target, "its one window is the whole input")
    if g.is_pointwise and layer.groups == 1:
        return conv1x1_call(layer, target, "1x1: a matrix product, pixel by pixel")
    if layer.groups == g.cin == g.cout and g.cin > 1:
        return depthwise_call(layer, g)
    order = _order(layer, g)
    direct = _conv2d(layer, g, order, target)
    dense = winograd_call(layer, g, target)
    if dense is None:
        dense = thin_call(layer, g, target) if is_thin(layer, g, target) else direct
    return or_packed(or_sparse(dense, direct, layer, target), direct, layer, order, target)


def _order(layer: gemm.Layer, g: Geometry) -> Array:
    """The elements of windows as mcuc/conv2d.h gathers them."""
    depth = g.cin // layer.groups
    elements = g.kh * g.kw * depth
    return gemm.word_order(elements) if depth % 4 == 0 else gemm.natural_order(elements)


def _conv2d(layer: gemm.Layer, g: Geometry, order: Array, target: Target) -> KernelCall:
    elements = g.kh * g.kw * (g.cin // layer.groups)
    wide = gemm.is_wide(layer)
    small = gemm.wants_small_tile(g.out_w, elements, target)
    params: dict[str, int | Const] = {
        **g.params("in_h in_w cin out_w cout kh kw sh sw dh dw top left"),
        "groups": layer.groups,
        "in_zp": layer.x.q.zero_point,
        "weights": Const("weights", gemm.pack_pairs(layer, order)),
        "small": int(small),
        "wide": int(wide),
    }
    return layer.call(
        "mcuc_conv2d_s8" if layer.is_plain and not wide else "mcuc_conv2d_any_s8",
        "mcuc/conv2d.h",
        params,
        (g.in_h, g.out_h),
        scratch=gemm.tile_bytes(g.out_w, elements, small),
        band=1,
        takes_top=_takes_top(g, layer.groups, small),
        why="windows gathered into the tiles of a matrix product",
    )


def _takes_top(g: Geometry, groups: int, small: bool) -> bool:
    """May a row of the result take the place of the first row that its windows see?

    The results of each tile must then end where the next one has nothing to read.
    """
    tiles = [*range(2 if small else 4, g.out_w, 2 if small else 4), g.out_w // 2 * 2]
    ends = [end for end in tiles if end < g.out_w]
    return groups == 1 and all(e * g.cout <= (e * g.sw - g.left) * g.cin for e in ends)
