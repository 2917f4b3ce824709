"""What kernels with int16 activations do, counted; see features.py."""

from __future__ import annotations

from typing import Any

from mcucompile.cost.convolutions import Features
from mcucompile.cost.window import Bands, taps_inside
from mcucompile.plan.program import KernelCall


def conv2d_s16(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/conv2d_s16.h."""
    p: Any = call.params
    rows, width, cout, depth = bands.rows, p["out_w"], p["cout"], p["cin"] // p["groups"]
    high = taps_inside(rows, p["sh"], p["kh"], p["dh"], p["top"], p["in_h"])
    wide = taps_inside(width, p["sw"], p["kw"], p["dw"], p["left"], p["in_w"])
    by_word = p["in_bits"] == 16 and depth % 4 == 0
    products = high * wide * depth * cout
    in_one = p["groups"] == 1 and p["dw"] == 1  # the taps of a row
    return {
        "fours": products / 4 * by_word,
        "products": products * (not by_word),
        "dots": high * (width if in_one else wide) * cout,
        "tap_rows": high * width * cout,
        "numbers": rows * width * cout,
        "pixels": rows * width,
        "rows": rows,
        "calls": bands.calls,
    }
