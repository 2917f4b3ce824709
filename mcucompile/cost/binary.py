"""What kernels on bits do, counted: see features.py. Activations are taken to be random."""

from __future__ import annotations

from math import sqrt
from typing import Any

from mcucompile.cost.convolutions import Features, bounds_of
from mcucompile.cost.window import Bands, full_windows, taps_inside
from mcucompile.plan.program import KernelCall


def binary_conv(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/binary_conv.h."""
    p: Any = call.params
    rows, width, cin, cout = bands.rows, p["out_w"], p["cin"], p["cout"]
    reach_h, reach_w = (p["kh"] - 1) * p["dh"] + 1, (p["kw"] - 1) * p["dw"] + 1
    windows, groups = rows * width, -(-cout // 32)
    seen_h = taps_inside(rows, p["sh"], p["kh"], p["dh"], p["top"], p["in_h"])
    taps = seen_h * taps_inside(width, p["sw"], p["kw"], p["dw"], p["left"], p["in_w"])
    full = full_windows(rows, p["sh"], reach_h, p["top"], p["in_h"])
    full *= full_windows(width, p["sw"], reach_w, p["left"], p["in_w"])
    padded = (windows * p["kh"] * p["kw"] - taps) * groups * (p["pad"] == 0)
    each = taps * cin / windows  # positions of a window; the rarer sign has somewhat less than half
    listed = max(each / 2 - 0.4 * sqrt(each), 0.4 * each)
    direct, sign = p["direct"], "limits" in p
    filled = listed if direct else listed + 1.5 * taps / windows * -(-cin // 96)
    sixteens = -(-filled // 16) if filled > 8 else 1
    expanded = bands.fetched_inside(p["sh"], reach_h, p["top"], p["in_h"]) * (not direct)
    return {
        "pairs": windows * groups * (sixteens // 2),
        "single": windows * groups * (sixteens % 2),
        "planes": windows * groups * p["planes"],
        "groups": windows * groups,
        "results": 0 if sign else windows * cout,
        "result_groups": 0 if sign else windows * groups,
        "bounds": 0 if sign else windows * cout * bounds_of(p),
        "expand_bits": expanded * p["in_w"] * cin,
        "expand_pixels": expanded * p["in_w"],
        "listed": windows * listed * (not direct),
        "taps": windows * p["kh"] * p["kw"] * (not direct),
        "found": windows * listed * direct,
        "words": taps * -(-cin // 32) * direct,
        "direct_taps": windows * p["kh"] * p["kw"] * direct,
        "pad_planes": padded * p["pad_planes"],
        "padded": (windows - full) * groups * (p["pad"] == 0),
        "windows": windows,
        "rows": rows,
        "calls": bands.calls,
    }


def binarize(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/binarize.h."""
    p: Any = call.params
    pixels, channels = bands.rows * p["pixels"], p["channels"]
    return {
        "eights": pixels * (channels // 8),
        "rest": pixels * (channels % 8),
        "words": pixels * -(-channels // 32),
        "pixels": pixels,
        "rows": bands.rows,
        "calls": bands.calls,
    }


def binary_pool(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/binary_pool.h."""
    p: Any = call.params
    rows, width, kh, kw = bands.rows, p["out_width"], p["kernel_h"], p["kernel_w"]
    sh, sw, dh, dw = p["stride_h"], p["stride_w"], p["dilation_h"], p["dilation_w"]
    seen_h = taps_inside(rows, sh, kh, dh, p["pad_top"], p["height"])
    seen_w = taps_inside(width, sw, kw, dw, p["pad_left"], p["width"])
    return {
        "taps": seen_h * seen_w * p["words"],
        "outside": seen_h * (width * kw - seen_w) * p["words"],
        "tap_rows": rows * kh * width * p["words"],
        "words": rows * width * p["words"],
        "rows": bands.rows,
        "calls": bands.calls,
    }
