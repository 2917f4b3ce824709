"""What float32 kernels do, counted; see features.py."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mcucompile.cost.convolutions import Features
from mcucompile.cost.window import Bands, taps_inside
from mcucompile.plan.program import KernelCall


def conv2d_f32(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/conv2d_f32.h."""
    p: Any = call.params
    depthwise = call.kernel == "mcuc_depthwise_f32"
    each, depth = p["cout"] // p["groups"], p["cin"] // p["groups"]
    channels, groups = (p["cin"], 1) if depthwise else (each, p["groups"])
    fours, ones = channels // 4 * groups, channels % 4 * groups
    rows, width = bands.rows, p["out_w"]
    high = taps_inside(rows, p["sh"], p["kh"], p["dh"], p["top"], p["in_h"])
    window = width, p["sw"], p["kw"], p["dw"], p["left"], p["in_w"]
    wide = taps_inside(*window)
    pairs, paired = (0, 0) if depthwise else _pairs(*window)
    in_one = not depthwise and p["groups"] == 1 and p["dw"] == 1  # the taps of a row
    single, alone = wide - 2 * paired, width - 2 * pairs
    runs = high * ((pairs + alone) if in_one else paired + single)
    return {
        "eights": high * paired * depth * fours,
        "fours": high * single * depth * fours,
        "ones": high * wide * depth * ones,
        "runs": runs * fours + high * wide * ones,
        "tap_rows": high * (pairs + alone) * fours + high * width * ones,
        "blocks": rows * (pairs + alone) * fours,
        "numbers": rows * width * p["cout"],
        "pixels": rows * width,
        "rows": rows,
        "calls": bands.calls,
    }


@lru_cache(4096)
def _pairs(
    width: int, stride: int, kernel: int, dilation: int, left: int, size: int
) -> tuple[int, int]:
    """Pairs of neighbouring windows of which the same taps are inside, and how many taps these are
    of all pairs."""
    inside = [
        [k for k in range(kernel) if 0 <= i * stride - left + k * dilation < size]
        for i in range(width)
    ]
    pairs, taps, i = 0, 0, 0
    while i + 1 < width:
        if inside[i] == inside[i + 1]:
            pairs, taps, i = pairs + 1, taps + len(inside[i]), i + 1
        i += 1
    return pairs, taps
