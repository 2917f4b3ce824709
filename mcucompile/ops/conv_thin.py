"""Packing and scratch size of convolutions of few input channels (`mcuc/conv_thin.h`)."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import Const, KernelCall

MAX_ROWS = 16  # MCUC_THIN_ROWS


def is_thin(layer: gemm.Layer, g: Geometry) -> bool:
    """Does `mcuc/conv_thin.h` compute the layer, and better than gathering windows would?"""
    return g.cin % 4 != 0 and layer.groups == 1 and g.dw == 1 and g.kh <= MAX_ROWS


def thin_call(layer: gemm.Layer, g: Geometry) -> KernelCall:
    """The call for the convolution `layer`, for which `is_thin` holds."""
    wide = gemm.is_wide(layer)
    pitch = _pitch(g)
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
        "top": g.top,
        "left": g.left,
        "pitch": pitch,
        "in_zp": layer.x.q.zero_point,
        "weights": Const("weights", gemm.pack_pairs(layer, _row_order(g))),
        "wide": int(wide),
    }
    return layer.call(
        "mcuc_conv_thin_s8" if layer.is_plain and not wide else "mcuc_conv_thin_any_s8",
        "mcuc/conv_thin.h",
        params,
        (g.in_h, g.out_h),
        scratch=4 * ((g.kh - 1) * g.dh + 1) * pitch,
        why=f"{g.cin} channels in: windows are runs of rows expanded once",
    )


def _pitch(g: Geometry) -> int:
    """Words of an expanded row: what windows see of it, and the input."""
    step, run = g.sw * g.cin, (g.kw * g.cin + 1) // 2 * 2
    written = (g.left + g.in_w) * g.cin
    elements = max((g.out_w - 1) * step + run, written)
    return (elements + 1) // 2 * (2 if step % 2 else 1)


def _row_order(g: Geometry) -> Array:
    """Elements (ky, kx, k) with every kernel row padded to an even number of them."""
    run = g.kw * g.cin
    rows = np.arange(g.kh * run).reshape(g.kh, run)
    return np.pad(rows, ((0, 0), (0, run % 2)), constant_values=-1).reshape(-1)
