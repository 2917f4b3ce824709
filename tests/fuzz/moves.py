"""Random operators that only move bytes."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.gather import Gather
from mcucompile.ops.pad import MODES, Pad
from mcucompile.ops.resampling import Kernel, Resampling, Taps
from mcucompile.ops.resize import Resize
from mcucompile.ops.slice import Part, Slice
from mcucompile.ops.tile import Tile
from mcucompile.ops.transpose import Transpose
from tests.fuzz.dice import Dice
from tests.fuzz.elementwise import shape
from tests.support.graphs import op_graph

ORIGIN = ("node",)


def concat(dice: Dice) -> Graph:
    """Up to four operands, constants and repetitions among them."""
    first, q = shape(dice), dice.qparams()
    axis = dice.number(1, len(first) - 1)
    operands = [Value("x0", first, "int8", q)]
    for i in range(1, dice.number(1, 4)):
        size = (*first[:axis], dice.size(16), *first[axis + 1 :])
        data = dice.rng.integers(-128, 128, size).astype(np.int8) if dice.chance(0.15) else None
        value = Value(f"x{i}", size, "int8", q, data)
        operands.append(dice.one_of(operands) if dice.chance(0.15) else value)
    return op_graph(Concat("op", ORIGIN, axis), operands, q)


def pad(dice: Dice) -> Graph:
    x = Value("x", shape(dice, dice.number(2, 5)), "int8", dice.qparams())
    mode = dice.one_of(MODES)
    likely = 0.7 if len(x.shape) <= 4 else 0.0  # of more axes, only one is padded
    some = dice.number(1, len(x.shape) - 1)
    pads = [(0, 0)]
    for axis, d in enumerate(x.shape[1:], 1):
        most = min(3, d - 1) if mode == "reflect" else 3
        padded = axis == some or dice.chance(likely)
        pads.append((dice.number(0, most), dice.number(0, most)) if padded else (0, 0))
    value = float(dice.rng.normal()) * x.q.scale[0] * 60
    return op_graph(Pad("op", ORIGIN, tuple(pads), value, mode), [x], x.q)


def transpose(dice: Dice) -> Graph:
    if dice.chance(0.5):
        return _matrix(dice)
    x = Value("x", shape(dice, dice.number(3, 5)), "int8", dice.qparams())
    axes = 1 + dice.rng.permutation(len(x.shape) - 1)
    perm = (0, *(int(a) for a in axes))
    return op_graph(Transpose("op", ORIGIN, perm), [x], x.q)


def _matrix(dice: Dice) -> Graph:
    """An image with another layout; its longer side has many divisors or few."""
    short = dice.one_of([3, dice.size(20)])
    long = dice.size(40) * dice.one_of([1, 4, 16])
    sizes = (short, long, 1) if dice.chance(0.7) else (long, 1, short)
    x = Value("x", (1, *sizes), "int8", dice.qparams())
    perm = (0, 2, 3, 1) if sizes[0] == short else (0, 3, 1, 2)
    return op_graph(Transpose("op", ORIGIN, perm), [x], x.q)


def slices(dice: Dice) -> Graph:
    x = Value("x", shape(dice, dice.number(2, 5)), "int8", dice.qparams())
    parts = [_part(dice, d) if dice.chance(0.7) else None for d in x.shape[1:]]
    return op_graph(Slice("op", ORIGIN, (None, *parts)), [x], x.q)


def _part(dice: Dice, size: int) -> Part:
    """Some of the indices 0 .. size - 1, forwards or backwards."""
    step = dice.one_of([1, 1, 1, dice.number(1, 4)])
    first = dice.number(0, size - 1)
    count = dice.number(1, (size - 1 - first) // step + 1)
    part = range(first, first + count * step, step)
    return part[::-1] if dice.chance(0.2) else part


def tile(dice: Dice) -> Graph:
    x = Value("x", shape(dice), "int8", dice.qparams())
    repeats = [dice.one_of([1, 1, 2, 3, 7]) for _ in x.shape[1:]]
    return op_graph(Tile("op", ORIGIN, (1, *repeats)), [x], x.q)


def gather(dice: Dice) -> Graph:
    x = Value("x", shape(dice), "int8", dice.qparams())
    axis = dice.number(1, len(x.shape) - 1)
    indices = tuple(dice.numbers(dice.size(12), 0, x.shape[axis] - 1))
    return op_graph(Gather("op", ORIGIN, axis, indices), [x], x.q)


def resize(dice: Dice) -> Graph:
    height, width = dice.number(1, 9), dice.number(1, 9)
    x = Value("x", (1, height, width, dice.size(16)), "int8", dice.qparams())
    mode = dice.one_of(["nearest", "linear", "linear", "cubic"])
    rows, cols = (_taps(dice, size, mode) for size in (height, width))
    return op_graph(Resize("op", ORIGIN, rows, cols), [x], x.q)


def _taps(dice: Dice, size: int, mode: str) -> Taps:
    out = dice.one_of([size, 2 * size, dice.number(1, 14)])
    axis = Resampling(size, out, out / size)
    x = axis.coordinates(dice.one_of(["half_pixel", "align_corners", "asymmetric"]))
    if mode == "nearest":
        return Taps.of(axis.nearest(x, "floor"))
    return Taps.of(axis.filtered(x, Kernel.named(mode, -0.75), dice.chance(0.3), dice.chance(0.3)))
