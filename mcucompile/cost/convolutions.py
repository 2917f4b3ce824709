"""What convolutions and dense layers do, counted: see features.py."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any

from mcucompile.cost.window import Bands, depthwise_window, taps_inside
from mcucompile.ir import Array
from mcucompile.plan.program import KernelCall

Features = dict[str, float]


def bounds_of(p: Any) -> int:
    """How many of the two bounds of int8 results a layer clamps to."""
    return int(p.get("lo", -128) > -128) + int(p.get("hi", 127) < 127)


def is_shifted(p: Any) -> bool:
    """Are sums shifted? Those that TFLite's rule rounds are, by a number per channel."""
    return not isinstance(p["shift"], int) or p["shift"] > 0


def _summed(channels: int, specialized: bool) -> float:
    """Pairs of channels; what is summed for half a pair falls away where that is known."""
    return channels // 2 + channels % 2 * (0.6 if specialized else 1.0)


def _tiles(width: int, small: int = 0) -> tuple[int, int, int]:
    """Tiles of 4, 2 and 1 pixels of a row; of 2 and 1 if `small`."""
    return (0, width // 2, width & 1) if small else (width // 4, width >> 1 & 1, width & 1)


def _gemm(
    p: Any, words: int, channels: int, tiles: tuple[int, int, int], specialized: bool
) -> Features:
    """The products of tiles of 4, 2 and 1 pixels with all `channels`; see mcuc/gemm.h."""
    t4, t2, t1 = tiles
    summed = _summed(channels, specialized)
    pairs = (channels + 1) // 2
    by_asm = words % 4 == 0 and channels % 2 == 0 and p["cout"] % 2 == 0 and not is_shifted(p)
    asm, t4 = (t4, 0) if by_asm else (0, t4)
    bounds, wide = bounds_of(p), p["wide"]
    by_word = channels % 4 == 0 and p["cout"] % 4 == 0
    in_c, pixels = t4 + t2 + t1, 4 * t4 + 2 * t2 + t1
    clamped = 4 * asm * channels * (bounds > 0)
    return {
        "asm_tiles": asm,
        "asm_pairs": asm * pairs,
        "asm_words": asm * pairs * words * (11 + 2 * wide),
        "asm_blocks": asm * pairs * ((words + 7) // 8 - 1),
        "clamp_words": clamped / 4 if by_word else 0,
        "clamp_bytes": 0 if by_word else clamped,
        "words4": summed * words * t4,
        "words2": summed * words * t2,
        "words1": summed * words * t1,
        "wide": summed * words * wide * in_c,
        "blocks": in_c * pairs * (words // 8),
        "pairs": in_c * pairs,
        "tails": (t2 + t1) * pairs,
        "results": pixels * channels,
        "bounds": pixels * channels * bounds,
        "shifts": pixels * channels * is_shifted(p),
    }


def _sparse(p: Any, channels: int, tiles: tuple[int, int, int]) -> Features:
    """The same with block-sparse weights; see mcuc/gemm_sparse.h. The rest of a row is a tile."""
    t4, t2, t1 = tiles
    pixels, bounds = 4 * t4 + 2 * t2 + t1, bounds_of(p)
    count = t2 + t1 if p["small"] else t4 + max(t2, t1)
    asm = 0 if p["small"] or is_shifted(p) else count
    by_c, small = count - asm, p["small"]
    pairs, seconds = (n * channels / p["cout"] for n in _stored_blocks(p["weights"].data))
    by_word = channels % 4 == 0 and p["cout"] % 4 == 0
    clamped = pixels * channels * (bounds > 0 and asm > 0)
    return {
        "asm_pairs": asm * pairs,
        "asm_seconds": asm * seconds,
        "asm_channels": asm * channels,
        "asm_tiles": asm,
        "clamp_words": clamped / 4 if by_word else 0,
        "clamp_bytes": 0 if by_word else clamped,
        "pairs4": 0 if small else by_c * pairs,
        "pairs2": by_c * pairs if small else 0,
        "seconds": by_c * seconds,
        "channels": by_c * channels,
        "results": (pixels if by_c else 0) * channels,
        "bounds": (pixels if by_c else 0) * channels * bounds,
        "shifts": (pixels if by_c else 0) * channels * is_shifted(p),
        "rests": max(t2, t1) * (not small),
    }


def _stored_blocks(streams: Array) -> tuple[int, int]:
    """Pairs of blocks of all channels, and how many channels have a second block before them."""
    pairs = seconds = at = 0
    while at < len(streams):
        size = int(streams[at + 3])
        pairs, seconds, at = pairs + size // 24, seconds + 1 - size % 2, at + 6 + size // 8
    return pairs, seconds


def _products(
    call: KernelCall, words: int, channels: int, tiles: tuple[int, int, int], specialized: bool
) -> Features:
    """Those of a call of gemm.h, or of gemm_sparse.h."""
    if call.header.endswith("_sparse.h"):
        return _sparse(call.params, channels, tiles)
    return _gemm(call.params, words, channels, tiles, specialized)


def conv1x1(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    rows, cin = bands.rows, p["cin"]
    t4, t2, t1 = _tiles(p["width"], p["small"])
    tiles = (rows * t4, rows * t2, rows * t1)
    by_word = cin % 4 == 0
    elements = rows * p["width"] * cin
    steps = rows * (t4 + t2 + t1) * ((cin + 3) // 4 if by_word else (cin + 1) // 2)
    return {
        **_products(call, (cin + 1) // 2, p["cout"], tiles, specialized),
        "put_words": elements / 4 if by_word else 0,
        "put_bytes": 0 if by_word else elements,
        "put_steps": steps,
        "rows": rows,
        "calls": bands.calls,
    }


@lru_cache(4096)
def _inside(
    tiles: tuple[int, int, int], in_w: int, kw: int, sw: int, left: int
) -> tuple[int, int, int, int]:
    """Of the tiles of a row, those whose windows are all inside of the image: how many, and their
    pixels; the same of the others."""
    numbers, x = [0, 0, 0, 0], 0
    for n in (4,) * tiles[0] + (2,) * tiles[1] + (1,) * tiles[2]:
        at = x * sw - left
        kind = 0 if at >= 0 and at + (n - 1) * sw + kw <= in_w else 2
        numbers[kind] += 1
        numbers[kind + 1] += n
        x += n
    return numbers[0], numbers[1], numbers[2], numbers[3]


def conv2d(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    rows, groups, kh, kw = bands.rows, p["groups"], p["kh"], p["kw"]
    depth = p["cin"] // groups
    t4, t2, t1 = _tiles(p["out_w"], p["small"])
    tiles = (rows * t4 * groups, rows * t2 * groups, rows * t1 * groups)
    fast, fast_pixels, slow, slow_pixels = _inside((t4, t2, t1), p["in_w"], kw, p["sw"], p["left"])
    if groups > 1 or p["dw"] > 1:
        fast, fast_pixels, slow, slow_pixels = 0, 0, fast + slow, fast_pixels + slow_pixels
    seen = taps_inside(rows, p["sh"], kh, p["dh"], p["top"], p["in_h"]) * groups
    unseen = rows * kh * groups - seen
    by_word, run = depth % 4 == 0, kw * depth
    put, padded = seen * fast_pixels * run, unseen * p["out_w"] * run
    gathered = seen * slow_pixels * run
    return {
        **_products(call, (kh * run + 1) // 2, p["cout"] // groups, tiles, specialized),
        "put_words": put / 4 if by_word else 0,
        "put_bytes": 0 if by_word else put,
        "put_steps": seen * fast * (run / 4 if by_word else run / 2),
        "gather_words": gathered / 4 if by_word else 0,
        "gather_bytes": 0 if by_word else gathered,
        "gather_pixels": seen * slow_pixels * kw,
        "pad_words": padded / 4 if by_word else 0,
        "pad_bytes": 0 if by_word else padded,
        "tile_rows": sum(tiles) * kh,
        "tiles": sum(tiles),
        "rows": rows,
        "calls": bands.calls,
    }


def conv_thin(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    rows, kh, cin, copies = bands.rows, p["kh"], p["cin"], p["copies"]
    words, step = (p["kw"] * cin + 1) // 2, p["sw"] * cin
    slots = (kh - 1) * p["dh"] + 1
    t4, t2, t1 = (rows * t for t in _tiles(p["out_w"]))
    tiles, pairs, pixels = t4 + t2 + t1, (p["cout"] + 1) // 2, rows * p["out_w"]
    by_pair = copies == 2 or step == 2
    products = _summed(p["cout"], specialized) * kh * words
    runs, unrolled = tiles * pairs * kh, specialized and kh * words <= 40
    fetched = bands.fetched(p["sh"], slots)
    inside = bands.fetched_inside(p["sh"], slots, p["top"], p["in_h"])
    begins = [p["left"] * cin]
    if copies == 2 and step % 2:
        begins.append(begins[0] - step)
    width = p["in_w"] * cin
    turns = inside * len(begins)
    by_word = inside * sum(b % (4 if b < 0 else 2) == 0 for b in begins) * gcd(width, 4) / 4
    return {
        "words4": t4 * products * by_pair,
        "words4_single": t4 * products * (not by_pair),
        "words2": t2 * products,
        "words1": t1 * products,
        "wide": tiles * products * p["wide"],
        "runs": 0 if unrolled else runs,
        "unrolled": runs if unrolled else 0,
        "blocks": tiles * pairs * kh * (words // 8),
        "pairs": tiles * pairs,
        "tails": (t2 + t1) * pairs,
        "results": pixels * p["cout"],
        "bounds": pixels * p["cout"] * bounds_of(p),
        "shifts": pixels * p["cout"] * is_shifted(p),
        "tile_rows": tiles * kh,
        "expand_words": by_word * width,
        "expand_bytes": (turns - by_word) * width,
        "expand_twins": turns * width if copies == 2 and step % 2 == 0 else 0,
        "expand_rows": turns,
        "fill": bands.calls * slots * p["pitch"] + (fetched - inside) * p["pitch"] / 2,
        "row_pointers": rows * kh,
        "rows": rows,
        "calls": bands.calls,
    }


def winograd(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    width, cout = p["out_w"], p["cout"]
    fours = -(-max(0, width - 4) // 8) if p["tiles"] == 4 else 0
    twos = -(-max(0, width - 8 * fours) // 4)
    quads, pairs, row_pairs = -(-p["cin"] // 4), (cout + 1) // 2, bands.groups(2)
    four_groups, two_groups = row_pairs * fours, row_pairs * twos
    groups = four_groups + two_groups
    columns = (10 * four_groups + 6 * two_groups) * quads
    top, in_h = p["top"], p["in_h"]
    if bands.step == 1:
        seen = taps_inside(bands.rows, 1, 3, 1, top, in_h)
    else:
        seen = taps_inside(row_pairs, 2, 4, 1, top, in_h)
    words = 2 * quads
    return {
        "words4": four_groups * pairs * words * 16,
        "words2": two_groups * pairs * words * 16,
        "blocks": groups * pairs * 16 * (words // 8),
        "pairs4": four_groups * pairs,
        "pairs2": two_groups * pairs,
        "results": bands.rows * width * cout,
        "bounds": bands.rows * width * cout * bounds_of(p),
        "shifts": bands.rows * width * cout * is_shifted(p),
        "columns_words": columns if p["cin"] % 4 == 0 else 0,
        "columns_bytes": columns if p["cin"] % 4 else 0,
        "input_tiles": (4 * four_groups + 2 * two_groups) * quads,
        "input_quads": groups * quads,
        "groups": groups,
        "pad_bytes": (4 * row_pairs - seen) * p["in_w"] * p["cin"],
        "row_pairs": row_pairs,
        "calls": bands.calls,
    }


@lru_cache(4096)
def _blocks(width: int, kh: int, kw: int, s: int) -> tuple[int, tuple[int, ...]]:
    """Of a row of `width` pixels of one channel: loads and products, and blocks of 1 to 5."""
    sizes = [4] * (width // 4)
    if width % 4 == 1 and width > 1:
        sizes[-1] = 5
    elif width % 4:
        sizes.append(width % 4)
    weights = 0 if kh * (kw - 1) <= 6 else kh * (kw // 2)
    total = 0
    for n in sizes:
        loads = kh * (((n - 1) * s + kw + 1) // 2)
        products = kh * sum((kw + 1) // 2 if i * s % 2 == 0 else kw // 2 + 1 for i in range(n))
        total += loads + products + weights
    return total, tuple(sizes.count(n) for n in range(1, 6))


def depthwise(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    kh, kw, s, step = depthwise_window(call.kernel)
    channels, rows, down, pairs = p["channels"], bands.rows, p["sh"], p["pairs"]
    quads, slots = -(-channels // 4), (step - 1) * s + kh
    at_once = step if down == s else 1
    steps, kept = bands.groups(at_once), max(0, kh - down)
    fetched = bands.fetched(down, kh)
    inside = bands.fetched_inside(down, kh, p["top"], p["in_h"])
    operations, blocks = _blocks(p["out_w"], kh, kw, s)
    results = rows * p["out_w"] * channels
    row_pairs = (p["left"] % 2 + p["in_w"] + 1) // 2
    by_word = channels % 4 == 0
    return {
        "operations": rows * channels * operations,
        **{f"blocks{n}": rows * channels * count for n, count in enumerate(blocks, 1)},
        "results": results,
        "bounds": results * bounds_of(p),
        "shifts": results * is_shifted(p),
        "channel_rows": rows * channels,
        "channel_steps": steps * channels,
        "expand_words": inside * quads * row_pairs if by_word else 0,
        "expand_bytes": 0 if by_word else inside * channels * row_pairs,
        "expand_quads": 0 if by_word else inside * quads * row_pairs,
        "pad_pairs": (fetched - inside) * quads * row_pairs,
        "expand_rows": fetched * quads,
        "moved": (steps - bands.calls) * quads * pairs * kept,
        "move_pairs": (steps - bands.calls) * quads * pairs * (kept > 0),
        "quad_steps": steps * quads,
        "unpack": bands.calls * channels * kh * (kw - 1),
        "channels": bands.calls * channels,
        "quads": bands.calls * quads,
        "fill": bands.calls * slots * pairs * 4,
        "calls": bands.calls,
    }


def expand_depthwise(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """What the depthwise convolution does, and the 1x1 for each row of four channels it fetches."""
    p: Any = call.params
    k, _, _, _ = depthwise_window(call.kernel)
    fetched = bands.fetched_inside(p["sh"], k, p["top"], p["in_h"])
    words, by_word = (p["cin"] + 1) // 2, p["cin"] % 4 == 0
    total: Features = {f"then_{name}": n for name, n in depthwise(call, bands, specialized).items()}
    for channels, quads in ((4, p["channels"] // 4), (p["channels"] % 4, 1)):
        rows = fetched * quads if channels else 0
        tiles = [rows * t for t in _tiles(p["in_w"])]
        numbers = {
            "cout": 4,
            "wide": p["wide"],
            "shift": p["expand_shift"],
            "lo": p["expand_lo"],
            "hi": p["expand_hi"],
        }
        counts = _gemm(numbers, words, channels, (tiles[0], tiles[1], tiles[2]), specialized)
        for name, n in counts.items():
            total[name] = total.get(name, 0) + n
    rows = fetched * -(-p["channels"] // 4)
    elements = rows * p["in_w"] * p["cin"]
    steps = rows * sum(_tiles(p["in_w"])) * ((p["cin"] + 3) // 4 if by_word else words)
    return {
        **total,
        "put_words": elements / 4 if by_word else 0,
        "put_bytes": 0 if by_word else elements,
        "put_steps": steps,
        "tiles": rows * sum(_tiles(p["in_w"])),
        "pixels": rows * p["in_w"],
        "rows": rows,
    }


def depthwise_any(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    p: Any = call.params
    rows, channels, kh, kw = bands.rows, p["channels"], p["kh"], p["kw"]
    width, slots, quads = p["out_w"], (kh - 1) * p["dh"] + 1, -(-channels // 4)
    fetched = bands.calls * slots + (rows - bands.calls) * p["sh"]
    odd = sum(x * p["sw"] // p["dw"] % 2 for x in range(width))
    sums = rows * channels * kh
    results = rows * width * channels
    return {
        "words": sums * (((kw + 1) // 2) * (width - odd) + ((kw + 2) // 2) * odd),
        "sum_rows": sums * width,
        "results": results,
        "bounds": results * bounds_of(p),
        "shifts": results * is_shifted(p),
        "pixels": rows * width * quads,
        "expand_bytes": fetched * p["in_w"] * channels,
        "expand_pixels": fetched * p["in_w"] * quads,
        "expand_rows": fetched * quads,
        "rows": rows * quads,
        "unpack": bands.calls * channels * kh * kw,
        "unpack_rows": bands.calls * channels * kh,
        "quads": bands.calls * quads,
        "fill": bands.calls * slots * 2 * p["dw"] * p["lane"],
        "calls": bands.calls,
    }
