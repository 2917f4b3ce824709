"""What kernels of int16 and float32 do that take number by number, counted; see features.py."""

from __future__ import annotations

from typing import Any

from mcucompile.cost.convolutions import Features
from mcucompile.cost.window import Bands, taps_inside
from mcucompile.plan.program import KernelCall


def pool(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/pool_s16.h and mcuc/pool_f32.h."""
    p: Any = call.params
    rows, width, channels = bands.rows, p["out_width"], p["channels"]
    high = taps_inside(
        rows, p["stride_h"], p["kernel_h"], p["dilation_h"], p["pad_top"], p["height"]
    )
    wide = taps_inside(
        width, p["stride_w"], p["kernel_w"], p["dilation_w"], p["pad_left"], p["width"]
    )
    return {
        "taps": high * wide * channels,
        "tap_rows": high * width * channels,
        "numbers": rows * width * channels,
        "pixels": rows * width,
        "rows": rows,
        "calls": bands.calls,
    }


def elements(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """Those on single numbers."""
    p: Any = call.params
    pixels = bands.rows * p.get("pixels", 1)
    return {
        "numbers": pixels * p["width"],
        "pixels": pixels,
        "rows": bands.rows,
        "calls": bands.calls,
    }
