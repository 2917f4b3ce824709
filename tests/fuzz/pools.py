"""Random pools."""

from __future__ import annotations

from typing import Any

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.pool import AveragePool, MaxPool
from tests.fuzz.dice import Dice
from tests.support.graphs import op_graph

ORIGIN = ("node",)


def window(dice: Dice) -> tuple[Value, dict[str, Any]]:
    """An image, and a window on it that may not fit."""
    largest = dice.one_of([3, 3, 5, 16])
    kernel = (dice.number(1, largest), dice.number(1, largest))
    if dice.chance(0.5):
        kernel = (kernel[0], kernel[0])
    pads = (0, 0, 0, 0)
    if dice.chance(0.6):
        top, left, bottom, right = (dice.number(0, (k + 1) // 2) for k in (*kernel, *kernel))
        pads = (top, left, bottom, right)
    shape = (1, dice.number(1, 18), dice.number(1, 18), dice.size(20))
    attributes = {
        "kernel": kernel,
        "strides": dice.one_of([(1, 1), (2, 2), kernel, (dice.number(1, 3), dice.number(1, 3))]),
        "pads": pads,
        "dilations": dice.one_of([(1, 1), (1, 1), (1, 1), (dice.number(1, 3), dice.number(1, 3))]),
    }
    return Value("x", shape, "int8", dice.qparams()), attributes


def max_pool(dice: Dice) -> Graph:
    x, attributes = window(dice)
    return op_graph(MaxPool("op", ORIGIN, **attributes, clamp=dice.clamp(x.q)), [x], x.q)


def average_pool(dice: Dice) -> Graph:
    x, attributes = window(dice)
    y, include = _mean_of(dice, x), dice.chance(0.5)
    _, _, bottom, right = attributes["pads"]
    beyond = (dice.number(0, bottom), dice.number(0, right)) if include else (0, 0)
    op = AveragePool(
        "op", ORIGIN, **attributes, clamp=dice.clamp(y), count_include_pad=include, beyond=beyond
    )
    return op_graph(op, [x], y)


def global_pool(dice: Dice) -> Graph:
    height, width = dice.number(1, 12), dice.number(1, 12)
    if dice.chance(0.1):
        height, width = 20, dice.number(20, 30)  # sums beyond 16 bits
    x = Value("x", (1, height, width, dice.size(40)), "int8", dice.qparams())
    if dice.chance(0.3):
        return op_graph(GlobalMaxPool("op", ORIGIN, dice.clamp(x.q)), [x], x.q)
    y = _mean_of(dice, x)
    return op_graph(GlobalAveragePool("op", ORIGIN, dice.clamp(y)), [x], y)


def _mean_of(dice: Dice, x: Value) -> QParams:
    """Parameters of a mean of `x`: its own, or steps up to a thousand times smaller or larger."""
    step = x.q.scale[0] * dice.step(1e-3, 1e3)
    return x.q if dice.chance(0.3) else QParams((step,), dice.zero_point())
