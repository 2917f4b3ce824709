"""Random operators that compute element by element, and softmax."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.mul import Mul
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.table import Table
from mcucompile.ops.unary import FUNCTIONS, ScaleShift, Unary
from tests.fuzz.dice import Dice
from tests.support.graphs import op_graph

ORIGIN = ("node",)
NAME = ("op", ORIGIN)


def shape(dice: Dice, rank: int = 0) -> Shape:
    """Batch 1, then 1 to 3 axes (or such that there are `rank`)."""
    axes = (rank or dice.number(2, 4)) - 1
    return (1, *dice.numbers(axes - 1, 1, 7), dice.size(24))


def pair(dice: Dice, q: QParams | None = None) -> list[Value]:
    """Two operands: of one shape, broadcast, constant, or the same; both stored as `q` says."""
    full = shape(dice)
    a, b = q or dice.qparams(), q or dice.qparams()
    kind = dice.number(0, 9)
    if kind == 0:
        x = Value("a", full, "int8", a)
        return [x, x]
    shapes = [full, full]
    if kind in (5, 6):  # one number per channel
        shapes[1] = (1,) * (len(full) - 1) + full[-1:]
    elif kind > 6:
        shapes[1] = tuple(d if dice.chance(0.5) else 1 for d in full)
    if kind == 9:
        shapes[0] = tuple(d if dice.chance(0.7) else 1 for d in full)
    constant = kind in (1, 8)
    data = dice.rng.integers(-128, 128, shapes[1]).astype(np.int8) if constant else None
    operands = [Value("a", shapes[0], "int8", a), Value("b", shapes[1], "int8", b, data)]
    return operands[::-1] if dice.chance(0.3) else operands


def add(dice: Dice) -> Graph:
    y = dice.qparams(0.003)
    op = Add("op", ORIGIN, dice.one_of([1, -1]), dice.clamp(y))
    return op_graph(op, pair(dice), y)


def mul(dice: Dice) -> Graph:
    operands = pair(dice)
    # From one that saturates nearly all results to one that leaves no difference between them.
    step = operands[0].q.scale[0] * operands[1].q.scale[0] * dice.step(0.002, 1e5)
    y = QParams((step,), dice.zero_point())
    return op_graph(Mul("op", ORIGIN, dice.clamp(y)), operands, y)


def table(dice: Dice) -> Graph:
    x = Value("x", shape(dice), "int8", dice.qparams())
    function = dice.one_of(sorted(FUNCTIONS))
    args = {"clip": (-1.0, 2.0), "pow": (3.0,)}.get(function, ())
    op: Table = Unary("op", ORIGIN, function, args)
    if dice.chance(0.2):
        op = ScaleShift("op", ORIGIN, float(dice.rng.normal()), float(dice.rng.normal()))
    return op_graph(op, [x], dice.qparams())


def softmax(dice: Dice) -> Graph:
    rows, width = dice.number(1, 6), dice.one_of([dice.size(16), dice.number(1, 300)])
    x = Value("x", (1, rows, width), "int8", dice.qparams(1e-4, 10.0))
    usual = QParams((1 / 256,), -128)
    y = usual if dice.chance(0.7) else dice.qparams(1e-6, 0.1)
    return op_graph(Softmax("op", ORIGIN), [x], y)
