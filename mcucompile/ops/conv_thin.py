"""Packing and scratch size of convolutions of few input channels (`mcuc/conv_thin.h`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import Const, KernelCall, Target

MAX_ROWS = 16  # MCUC_THIN_ROWS
MAX_RING = 8192  # bytes of scratch at most
MAX_PAIRS = 4096  # bytes of scratch that are worth one instruction of eight


def is_thin(layer: gemm.Layer, g: Geometry, target: Target) -> bool:
    """Does `mcuc/conv_thin.h` compute the layer, and is there memory for its rows?

    Where pixels are whole words, gathering windows costs no more than expanding rows.
    """
    runs = g.cin % 4 != 0 and layer.groups == 1 and g.dw == 1 and g.kh <= MAX_ROWS
    return runs and _rows(g, target).ring_bytes(g) <= MAX_RING


def thin_call(layer: gemm.Layer, g: Geometry, target: Target) -> KernelCall:
    """The call for the convolution `layer`, for which `is_thin` holds."""
    wide = gemm.is_wide(layer)
    rows = _rows(g, target)
    params: dict[str, int | Const] = {
        **g.params("in_h in_w cin out_w cout kh kw sh sw dh top left"),
        "copies": rows.copies,
        "lead": rows.lead,
        "pitch": rows.pitch,
        "in_zp": layer.x.q.zero_point,
        "weights": Const("weights", gemm.pack_pairs(layer, _row_order(g))),
        "wide": int(wide),
    }
    return layer.call(
        "mcuc_conv_thin_s8" if layer.is_plain and not wide else "mcuc_conv_thin_any_s8",
        "mcuc/conv_thin.h",
        params,
        (g.in_h, g.out_h),
        scratch=rows.ring_bytes(g),
        band=1,
        reads_once=True,
        takes_top=True,
        why=f"{g.cin} channels in: windows are runs of rows expanded once",
    )


@dataclass(frozen=True)
class _Rows:
    """Expanded rows: how many copies, words written before each, words of each in all."""

    copies: int
    lead: int
    pitch: int

    def ring_bytes(self, g: Geometry) -> int:
        return 4 * ((g.kh - 1) * g.dh + 1) * self.pitch


def _rows(g: Geometry, target: Target) -> _Rows:
    """Expanded rows for the layer; see conv_thin.h for when they have copies."""
    step, run = g.sw * g.cin, (g.kw * g.cin + 1) // 2 * 2
    seen, written = (g.out_w - 1) * step + run, (g.left + g.in_w) * g.cin
    words = (max(seen, written) + 1) // 2
    if step % 2:
        return _Rows(2, 0, 2 * words)
    pairs = _Rows(2, step, step + 2 * words)
    if step > 2 and target.optimize != "ram" and pairs.ring_bytes(g) <= MAX_PAIRS:
        return pairs
    return _Rows(1, 0, words)


def _row_order(g: Geometry) -> Array:
    """Elements (ky, kx, k) with every kernel row padded to an even number of them."""
    run = g.kw * g.cin
    rows = np.arange(g.kh * run).reshape(g.kh, run)
    return np.pad(rows, ((0, 0), (0, run % 2)), constant_values=-1).reshape(-1)
