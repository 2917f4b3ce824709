"""Kernel choice and scratch size of depthwise convolutions (one channel in, one channel out)."""

from __future__ import annotations

import numpy as np

from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import Const, KernelCall

FAST_WINDOWS = frozenset(  # height, width and horizontal stride that have a kernel of their own
    [(k, k, s) for k in (3, 5, 7) for s in (1, 2)] + [(1, k, 1) for k in (3, 5, 7, 9, 10, 15)]
)
BLOCK = 4  # output pixels that a fast kernel computes together
CHANNELS = 4  # channels that are expanded together


def depthwise_call(layer: gemm.Layer, g: Geometry) -> KernelCall:
    """The kernel for the depthwise convolution `layer`."""
    fast = (g.kh, g.kw, g.sw) in FAST_WINDOWS and (g.dh, g.dw) == (1, 1)
    return _fast(layer, g) if fast else _any(layer, g)


def _fast(layer: gemm.Layer, g: Geometry) -> KernelCall:
    window = f"{g.kh}x{g.kw}s{g.sw}"
    blocks = -(-g.out_w // BLOCK)
    seen = (blocks - 1) * BLOCK * g.sw // 2 + (3 * g.sw + g.kw + 1) // 2
    written = g.left // 2 + (g.left % 2 + g.in_w + 1) // 2
    pairs = max(seen, written)
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
    weight_words = CHANNELS * (2 * g.kh - 1) * (g.kw - 1)
    return layer.call(
        f"mcuc_depthwise_{window}{'' if layer.is_plain else '_any'}_s8",
        "mcuc/depthwise.h",
        params,
        (g.in_h, g.out_h),
        scratch=4 * (CHANNELS * g.kh * pairs + weight_words),
        in_place=layer.x.shape == layer.y.shape,
        why=f"depthwise, {window}",
    )


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
        in_place=layer.x.shape == layer.y.shape,
        why="depthwise, any window",
    )


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
