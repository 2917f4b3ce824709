"""Kernel choice and scratch size of depthwise convolutions (one channel in, one channel out)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import Const, KernelCall

# For each height, width and horizontal stride of a window that has kernels of its own: how many
# output rows they compute at a time.
STEPS: dict[tuple[int, int, int], tuple[int, ...]] = {
    (3, 3, 1): (1, 2, 3, 6),
    (3, 3, 2): (1, 2, 3),
    (5, 5, 1): (1, 2, 4),
    (5, 5, 2): (1, 2),
    (7, 7, 1): (1, 2),
    (7, 7, 2): (1,),
} | {(1, k, 1): (1,) for k in (3, 5, 7, 9, 10, 15)}
AMPLE = 1536  # bytes of scratch; more than two rows at a time are not worth more than this
TURNS = (1, 2, 4)  # output rows in one call for which there may be another kernel
CHANNELS = 4  # channels that are expanded together


def depthwise_call(layer: gemm.Layer, g: Geometry, rows: int | None = None) -> KernelCall:
    """The kernel for the depthwise convolution `layer`.

    rows: the most output rows that it will be asked for in one call, all if not given; the kernel
    for few rows needs less scratch memory. It is right for any number.
    """
    if not has_own_kernel(g):
        return _any(layer, g)
    call = _fast(layer, g, rows)
    turns = {n: _fast(layer, g, n) for n in TURNS} if rows is None else {}
    return replace(call, turns=turns)


def has_own_kernel(g: Geometry) -> bool:
    """Is there a kernel for windows of just this size and stride?"""
    return (g.kh, g.kw, g.sw) in STEPS and (g.dh, g.dw) == (1, 1)


def _fast(layer: gemm.Layer, g: Geometry, rows: int | None) -> KernelCall:
    window = f"{g.kh}x{g.kw}s{g.sw}"
    pairs = _pairs(g)
    step = _step(g, pairs, rows)
    params: dict[str, int | Const] = {
        "in_h": g.in_h,
        "in_w": g.in_w,
        "out_w": g.out_w,
        "channels": g.cin,
        "sh": g.sh,
        "top": g.top,
        "left": g.left,
        "pairs": pairs,
        **_constants(layer),
    }
    return layer.call(
        f"mcuc_depthwise_{window}r{step}{'' if layer.is_plain else '_any'}_s8",
        "mcuc/depthwise.h",
        params,
        (g.in_h, g.out_h),
        scratch=_scratch(g, pairs, step),
        in_place=_may_run_in_place(g),
        takes_top=True,
        why=f"depthwise, {window}",
    )


def _step(g: Geometry, pairs: int, rows: int | None) -> int:
    """How many output rows at a time the kernel should compute if a call is for `rows` of them."""
    if g.sh != g.sw:
        return 1
    steps = STEPS[g.kh, g.kw, g.sw]
    most = rows or next((n for n in steps if n >= g.out_h), steps[-1])
    return max(n for n in steps if n <= most and (n <= 2 or _scratch(g, pairs, n) <= AMPLE))


def _pairs(g: Geometry) -> int:
    """Words per expanded row: what words of blocks of 4 pixels, the last one of 1 to 5, reach, and
    the input."""
    last = g.out_w if g.out_w < 4 else 4 + g.out_w % 4 if g.out_w % 4 < 2 else g.out_w % 4
    seen = (g.out_w - last) * g.sw // 2 + ((last - 1) * g.sw + g.kw + 1) // 2
    written = g.left // 2 + (g.left % 2 + g.in_w + 1) // 2
    return max(seen, written)


def _scratch(g: Geometry, pairs: int, step: int) -> int:
    slots = (step - 1) * g.sw + g.kh
    return 4 * CHANNELS * (slots * pairs + g.kh * (g.kw - 1))


def _any(layer: gemm.Layer, g: Geometry) -> KernelCall:
    slots = (g.kh - 1) * g.dh + 1
    lane = _lane(g)
    params: dict[str, int | Const] = {
        "in_h": g.in_h,
        "in_w": g.in_w,
        "out_w": g.out_w,
        "channels": g.cin,
        "kh": g.kh,
        "kw": g.kw,
        "sh": g.sh,
        "sw": g.sw,
        "dh": g.dh,
        "dw": g.dw,
        "top": g.top,
        "left": g.left,
        "lane": lane,
        **_constants(layer),
    }
    return layer.call(
        "mcuc_depthwise_s8",
        "mcuc/depthwise_any.h",
        params,
        (g.in_h, g.out_h),
        scratch=CHANNELS * (2 * slots * g.dw * lane + 4 * g.kh * (g.kw + 1)),
        in_place=_may_run_in_place(g),
        takes_top=True,
        why="depthwise, any window",
    )


def _may_run_in_place(g: Geometry) -> bool:
    """Is each input row expanded before output rows reach its place? Row y of the output ends where
    row y + 1 of the input begins, or before. Not where the first windows see nothing but padding.
    """
    return g.out_w <= g.in_w and g.top <= (g.kh - 1) * g.dh


def _lane(g: Geometry) -> int:
    """Pixels per phase of an expanded row, even: what words of windows reach, and the input."""
    start = max(ox * g.sw // g.dw for ox in range(g.out_w))
    seen = start // 2 * 2 + (g.kw + 2) // 2 * 2
    written = (g.left + g.in_w - 1) // g.dw + 1
    return max(seen, written + written % 2)


def _constants(layer: gemm.Layer) -> dict[str, int | Const]:
    return {
        "in_zp": layer.x.q.zero_point,
        "weights": Const("weights", layer.weights.reshape(-1)),
        "bias": Const("bias", layer.bias.astype(np.int32)),
        "m": Const("m", layer.m),
    }
