"""What convolutions with packed weights do, counted: see features.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mcucompile.cost.convolutions import Features, conv1x1, conv2d
from mcucompile.cost.window import Bands
from mcucompile.plan.program import KernelCall

Family = Callable[[KernelCall, Bands, bool], Features]

# What layers do for a tile or a row, whatever the number of channels.
_OF_TILES = {"asm_tiles", "tile_rows", "tiles", "rows"}
_OF_TILES |= {f"put_{what}" for what in ("words", "bytes", "steps")}
_OF_TILES |= {f"gather_{what}" for what in ("words", "bytes", "pixels")}
_OF_TILES |= {"pad_words", "pad_bytes"}


def _decoding(p: Any, calls: int, elements: int) -> Features:
    """What kernels with packed weights do besides; see mcuc/gemm_packed.h."""
    pairs, blocks = -(-p["cout"] // 2), -(-p["cout"] // p["block"])
    words = calls * pairs * -(-elements // 2)
    return {
        **{f"decode{b}": words * (p["bits"] == b) for b in (0, 1, 2, 3, 4)},
        "decode_pairs": calls * pairs,
        "decode_blocks": calls * blocks,
        "decode_tables": calls * (4 ** p["bits"] if p["bits"] else 256),
    }


def conv1x1_packed(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    return _packed(conv1x1, call, bands, specialized, call.params["cin"])


def conv2d_packed(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    return _packed(conv2d, call, bands, specialized, p["kh"] * p["kw"] * p["cin"])


def _packed(
    family: Family, call: KernelCall, bands: Bands, specialized: bool, elements: Any
) -> Features:
    """Each block of channels has the tiles to itself."""
    p: Any = {"groups": 1, **call.params}
    whole = family(replace(call, params=p), bands, specialized)
    blocks = -(-p["cout"] // p["block"])
    counts = {name: n * (blocks if name in _OF_TILES else 1) for name, n in whole.items()}
    return {**counts, **_decoding(p, bands.calls, elements)}
