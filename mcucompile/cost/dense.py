"""What dense layers of one vector do, counted: see features.py."""

from __future__ import annotations

from typing import Any

from mcucompile.cost.convolutions import Features, bounds_of, is_shifted
from mcucompile.cost.window import Bands
from mcucompile.plan.program import KernelCall


def dense(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    cin, left = p["cin"], p["cout"]
    eights, left = (left // 8, left % 8) if call.kernel == "mcuc_dense_large_s8" else (0, left)
    fours = (left + 1) // 4 if left > 2 else 0
    twos = int(left - 4 * fours > 0)
    words, wide = (cin + 1) // 2, p["wide"]
    results = 4 * fours + 2 * twos
    return {
        "words8": eights * words,
        "blocks8": eights * (cin // 32),
        "tail8": eights * (cin % 32 // 4),
        "eights": eights,
        "words4": fours * words,
        "words3": (left % 4 == 3) * words,
        "words2": twos * words,
        "words1": (left % 4 == 1) * words,
        "wide": (2 * fours + twos) * words * wide,
        "blocks": (fours + twos) * (cin // 16),
        "tail": (fours + twos) * (cin % 16 // 4),
        "odd": (fours + twos) * (cin % 4 > 0),
        "fours": fours,
        "twos": twos,
        "bounds": results * bounds_of(p),
        "shifts": results * is_shifted(p),
        "calls": bands.calls,
    }


def dense_sparse(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    fours = -(-p["cout"] // 4)
    blocks = len(p["blocks"].data) - fours
    return {
        "blocks": blocks,
        "wide": blocks * p["wide"],
        "fours": fours,
        "results": p["cout"],
        "bounds": p["cout"] * bounds_of(p),
        "shifts": p["cout"] * is_shifted(p),
        "calls": bands.calls,
    }
