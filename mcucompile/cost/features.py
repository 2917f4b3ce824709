"""What a kernel call does, counted from its parameters: how often its loops run.

Each family of kernels has a function (call, bands, specialized) -> {feature: count} that follows
the loops of its header. An estimate is the sum of the counts, each times the instructions it takes,
which are fitted to measurements and stand in instructions.toml.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, prod
from typing import Any

from mcucompile.cost import binary, convolutions, dense, float32, packed, plain, wide
from mcucompile.cost.convolutions import Features, bounds_of
from mcucompile.cost.window import Bands, full_windows, taps_inside
from mcucompile.plan.program import KernelCall

Family = Callable[[KernelCall, Bands, bool], Features]


def _aligned(pixels: int, width: int) -> int:
    """How many of `pixels` pixels of `width` bytes one after the other begin at a word."""
    return -(-pixels // (4 // gcd(width, 4)))


def elementwise(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """All kernels of two or more operands that may repeat."""
    p: Any = call.params
    width, pixels = p["width"], bands.rows * p["pixels"]
    by_word = _aligned(pixels, width) if p["step1"] and p["step2"] else 0
    words = by_word * (width // 4)
    single = by_word * (width // 4 % 2)
    numbers = pixels * width - 4 * words
    bounds = bounds_of(p)
    return {
        "words": words,
        "single_words": single,
        "bytes": numbers,
        "word_bounds": words * bounds,
        "byte_bounds": numbers * bounds,
        "pixels": pixels,
        "rows": bands.rows,
        "calls": bands.calls,
    }


def lut(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    width = call.writes[0].row_bytes
    return {
        "fours": bands.rows * (width // 4),
        "rest": bands.rows * (width % 4),
        "rows": bands.rows,
        "calls": bands.calls,
    }


def softmax(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    numbers = bands.rows * call.writes[0].row_bytes
    within = min(1.0, p["entries"] / 128)  # of random numbers, so many are in the table
    return {
        "numbers": numbers,
        "table": numbers * within,
        "pixels": bands.rows * p["pixels"],
        "rows": bands.rows,
        "calls": bands.calls,
    }


def pool(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/pool.h."""
    p: Any = call.params
    kh, kw, channels, rows, width = (
        p["kernel_h"],
        p["kernel_w"],
        p["channels"],
        bands.rows,
        p["out_width"],
    )
    sh, sw, dh, dw = p["stride_h"], p["stride_w"], p["dilation_h"], p["dilation_w"]
    top, left, height = p["pad_top"], p["pad_left"], p["height"]
    seen_h = taps_inside(rows, sh, kh, dh, top, height)
    seen_w = taps_inside(width, sw, kw, dw, left, p["width"])
    full = full_windows(rows, sh, (kh - 1) * dh + 1, top, height)
    full *= full_windows(width, sw, (kw - 1) * dw + 1, left, p["width"])
    windows = rows * width
    by_word = channels % 4 == 0 and (kh * kw <= 128 or "numerator" not in p)
    each = channels // 4 if by_word else channels
    small = specialized and by_word and kh <= 4 and kw <= 4
    unrolled = full * each * small
    taps = seen_h * seen_w * each
    counts = {
        "small_taps": unrolled * kh * kw,
        "small": unrolled,
        "taps": taps - unrolled * kh * kw,
        "tap_rows": seen_h * width * each - unrolled * kh,
        "results": windows * each - unrolled,
        "bounds": windows * each * bounds_of(p),
    }
    if "numerator" in p:
        kind = _mean_kind(p) if by_word else ""
        counts["shifted_means"] = full * each * (kind == "shifted")
        counts["fast_means"] = (windows - full * (kind == "shifted")) * each * (kind != "")
    kind = ("word" if by_word else "byte") + "_padded" * p["padded"]
    kinds = ("word", "byte", "word_padded", "byte_padded")
    return {
        **{f"{k}_{n}": value * (k == kind) for k in kinds for n, value in counts.items()},
        "windows": windows,
        "padded": windows * p["padded"],
        "partial": windows - full,
        "blocks": windows * (channels // 16) * by_word,
        "rows": rows,
        "calls": bands.calls,
    }


def _mean_kind(p: Any) -> str:
    """The arithmetic of a mean of all positions of a window: bits of the sum, short, or long."""
    n = p["kernel_h"] * p["kernel_w"]
    if n > 1 and p["m"] * n << p["shift"] == 1 << 32 and p["zp"] == p["zp_in"]:
        return "shifted"
    return "fast" if p["shift"] == 0 and p["m"] % 65536 else ""


def global_pool(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/global_pool.h."""
    p: Any = call.params
    height, width, channels = p["height"], p["width"], p["channels"]
    by_word = channels % 4 == 0
    numbers = height * width * channels
    full, rest = divmod(width, 256)
    blocks = height * (32 * full + rest // 8)
    return {
        "words": numbers / 4 if by_word else 0,
        "blocks": blocks * channels / 4 * by_word,
        "rest": height * (rest % 8) * channels / 4 * by_word,
        "quads": height * (full + (rest > 0)) * channels / 4 * by_word,
        "odd_quads": height * (channels // 4 % 2) * (width % 8) * by_word,
        "bytes": 0 if by_word else numbers,
        "columns": 0 if by_word else height * (width if "zero" in p else channels),
        "rows": height,
        "channels": channels,
        "bounds": channels * bounds_of(p),
        "calls": bands.calls,
    }


def _copies(count: float, size: int, aligned: float) -> Features:
    """`count` copies of `size` bytes each, of which a share of `aligned` goes by words."""
    by_word = count * aligned
    return {
        "copy_16": by_word * (size // 16),
        "copy_words": by_word * (size % 16 // 4),
        "copy_bytes": by_word * (size % 4) + (count - by_word) * size,
        "copies": count,
    }


def _add(total: Features, more: Features) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


def concat(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    pixels, rows = p["pixels"], bands.rows
    pitch = call.writes[0].row_bytes // pixels
    total, offset = _copies(0, 0, 0), 0
    for operand in call.reads:
        width = operand.row_bytes // pixels
        turns = range(min(4, pixels * rows))
        ok = sum((j * width) % 4 == 0 and (offset + j * pitch) % 4 == 0 for j in turns)
        _add(total, _copies(rows * pixels, width, ok / len(turns)))
        offset += width
    return {**total, "operands": rows * len(call.reads), "rows": rows, "calls": bands.calls}


def pad(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    rows, width, cols = bands.rows, p["width"], p["cols"]
    around, beside = p["before"] + p["after"], p["left"] + p["right"]
    pixel = width + around
    seen = min(rows, p["rows"]) if p["mode"] == 0 else rows
    filled = (rows - seen) * call.writes[0].row_bytes
    filled += seen * beside * pixel * (p["mode"] == 0)
    fills = rows - seen + seen * beside * (p["mode"] == 0)
    mirrored = 0 if p["mode"] == 0 else seen * beside
    if around:
        at = (_aligned(4, pixel) if p["before"] % 4 == 0 else 0) / 4
        total = _copies(seen * cols + mirrored, width, at if pixel % 4 == 0 == width % 4 else 0)
    else:
        start, row, size = p["left"] * width, call.writes[0].row_bytes, cols * width
        ok = sum(y * size % 4 == 0 == (start + (p["top"] + y) * row) % 4 for y in range(4))
        total = _copies(seen, size, ok / 4)
        _add(total, _copies(mirrored, width, float(width % 4 == 0)))
    return {
        **total,
        "filled": filled,
        "fills": fills,
        "around": (seen * cols + mirrored) * around,
        "pixels": seen * (beside + (cols if around else 0)),
        "rows": rows,
        "calls": bands.calls,
    }


def move(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/move.h."""
    p: Any = call.params
    sizes = [p[f"n{i}"] for i in range(6)]
    runs = prod(sizes[:5])
    straight = p["from5"] == p["to5"] == 1
    steps = [p[f"{way}{i}"] for way in ("from", "to") for i in range(5) if sizes[i] > 1]
    steps.append(p["start"])
    ok = 1 / max(4 // gcd(s, 4) for s in steps)
    moved = 0 if straight else runs
    return {
        **_copies(runs if straight else 0, sizes[5], ok),
        "fours": moved * (sizes[5] // 4),
        "rest": moved * (sizes[5] % 4),
        "runs": moved,
        "planes": prod(sizes[:4]),
        "calls": bands.calls,
    }


def transpose(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/transpose.h, from one place to another: the planner decides about that later."""
    p: Any = call.params
    rows, cols = p["rows"], p["cols"]
    runs, size = min(rows, cols), max(rows, cols)
    by_word = rows == 3 and cols % 4 == 0
    return {
        "planes": cols / 4 if by_word else 0,
        "fours": 0 if by_word else runs * (size // 4),
        "rest": 0 if by_word else runs * (size % 4),
        "runs": 0 if by_word else runs,
        "calls": bands.calls,
    }


def gather(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    copies, width = bands.rows * p["out_w"], p["width"]
    return {
        **_copies(copies, width, 1.0 if width % 4 == 0 else gcd(width, 4) / 4),
        "rows": bands.rows,
        "calls": bands.calls,
    }


def resize(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    pixels, taps = bands.rows * p["out_w"], p["taps_h"] * p["taps_w"]
    return {
        "products": pixels * p["channels"] * taps,
        "numbers": pixels * p["channels"],
        "taps": pixels * taps,
        "pixels": pixels,
        "rows": bands.rows,
        "calls": bands.calls,
    }


def recurrent(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """mcuc/recurrent.h: gates by fours of rows, with blocks of 16 columns, then fours and twos."""
    p: Any = call.params
    steps, hidden, width = p["steps"], p["hidden"], p["input"]
    gates = {"mcuc_lstm_s8": 4, "mcuc_gru_s8": 3, "mcuc_rnn_s8": 1}[call.kernel]
    counts: Features = dict.fromkeys(("blocks", "fours", "twos", "groups"), 0.0)
    for columns in (width, hidden):
        groups = steps * gates * hidden / 4
        counts["blocks"] += groups * (columns // 16)
        counts["fours"] += groups * (columns % 16 // 4)
        counts["twos"] += groups * ((columns % 4 + 1) // 2)
        counts["groups"] += groups
    limits = [p[key] for key in ("f_limit", "g_limit") if key in p]
    return {
        **counts,
        "wide": call.macs * p["wide"],
        "cells": steps * hidden,
        "limited": steps * hidden * sum(limit < 32767 for limit in limits),
        "peepholes": steps * hidden * p.get("peepholes", 0),
        "reset_sums": steps * hidden * p.get("reset_sums", 0),
        "copied": steps * width * (width % 4 > 0) + steps * hidden * (hidden % 4 > 0),
        "begun": hidden,
        "steps": steps,
        "calls": bands.calls,
    }


def generic(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """Any kernel: work, bytes moved, rows and calls."""
    return {
        "macs": call.macs,
        "bytes": sum(o.size for o in (*call.reads, *call.writes)),
        "rows": bands.rows,
        "calls": bands.calls,
    }


# Of each header: the function that counts what its kernels do.
FAMILIES: dict[str, Family] = {
    "mcuc/conv1x1.h": convolutions.conv1x1,
    "mcuc/conv1x1_sparse.h": convolutions.conv1x1,
    "mcuc/conv1x1_packed.h": packed.conv1x1_packed,
    "mcuc/conv2d_packed.h": packed.conv2d_packed,
    "mcuc/conv2d.h": convolutions.conv2d,
    "mcuc/conv2d_sparse.h": convolutions.conv2d,
    "mcuc/conv_thin.h": convolutions.conv_thin,
    "mcuc/conv3x3_winograd.h": convolutions.winograd,
    "mcuc/depthwise.h": convolutions.depthwise,
    "mcuc/depthwise_any.h": convolutions.depthwise_any,
    "mcuc/expand_depthwise.h": convolutions.expand_depthwise,
    "mcuc/dense.h": dense.dense,
    "mcuc/dense_sparse.h": dense.dense_sparse,
    "mcuc/binary_conv.h": binary.binary_conv,
    "mcuc/binary_pool.h": binary.binary_pool,
    "mcuc/binarize.h": binary.binarize,
    "mcuc/conv2d_s16.h": wide.conv2d_s16,
    "mcuc/pool_s16.h": plain.pool,
    "mcuc/add_s16.h": plain.elements,
    "mcuc/narrow_s16.h": plain.elements,
    "mcuc/conv2d_f32.h": float32.conv2d_f32,
    "mcuc/pool_f32.h": plain.pool,
    "mcuc/elements_f32.h": plain.elements,
    "mcuc/functions_f32.h": plain.elements,
    "mcuc/add.h": elementwise,
    "mcuc/mul.h": elementwise,
    "mcuc/lut.h": lut,
    "mcuc/tflite.h": generic,  # no words, unlike other element-wise kernels
    "mcuc/softmax.h": softmax,
    "mcuc/pool.h": pool,
    "mcuc/global_pool.h": global_pool,
    "mcuc/concat.h": concat,
    "mcuc/pad.h": pad,
    "mcuc/move.h": move,
    "mcuc/transpose.h": transpose,
    "mcuc/gather.h": gather,
    "mcuc/resize.h": resize,
    "mcuc/lstm.h": recurrent,
    "mcuc/gru.h": recurrent,
    "mcuc/rnn.h": recurrent,
}
