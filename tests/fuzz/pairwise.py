"""Random operators of two or three tensors."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.compare import Compare
from mcucompile.ops.div import Div, PRelu
from mcucompile.ops.extremum import Max, Min
from mcucompile.ops.matmul import MatMul
from mcucompile.ops.where import Where
from tests.fuzz.dice import Dice
from tests.fuzz.elementwise import NAME, pair, shape
from tests.support.graphs import op_graph


def factor(dice: Dice) -> Graph:
    """Quotients, and PRelus."""
    operands, kind = pair(dice), dice.one_of([Div, PRelu])
    # From one that saturates nearly all results to one that leaves no difference between them.
    step = operands[0].q.scale[0] * dice.step(1e-5, 1e5)
    if kind is Div:
        step /= operands[1].q.scale[0]
    y = QParams((step,), dice.zero_point())
    return op_graph(kind(*NAME, dice.clamp(y)), operands, y)


def extremum(dice: Dice) -> Graph:
    q = dice.qparams()
    operands = pair(dice, q)
    return op_graph(dice.one_of([Max, Min])(*NAME, dice.clamp(q)), operands, q)


def where(dice: Dice) -> Graph:
    full, q = shape(dice), dice.qparams()
    condition, a, b = (tuple(d if dice.chance(0.7) else 1 for d in full) for _ in range(3))
    data = dice.rng.choice(np.array([q.zero_point, 5], np.int8), condition)
    operands = [
        Value("c", condition, "int8", q, data if dice.chance(0.5) else None),
        Value("a", a, "int8", dice.qparams()),
        Value("b", b, "int8", dice.qparams()),
    ]
    return op_graph(Where(*NAME), operands, dice.qparams())


def compare(dice: Dice) -> Graph:
    q = dice.qparams() if dice.chance(0.5) else None
    op = Compare(*NAME, answers=dice.number(0, 7))
    result = op.fixed_qparams() if dice.chance(0.7) else dice.qparams()
    return op_graph(op, pair(dice, q), result)


def matmul(dice: Dice) -> Graph:
    batch, height, width = dice.number(1, 3), dice.number(1, 9), dice.number(1, 9)
    depth = dice.size(40)
    a_batch, b_batch = dice.one_of([(batch, batch), (1, batch), (batch, 1)])
    a, b = (1, a_batch, height, depth), (1, b_batch, width, depth)
    data = dice.rng.integers(-128, 128, b).astype(np.int8) if dice.chance(0.2) else None
    operands = [
        Value("a", a, "int8", dice.qparams()),
        Value("b", b, "int8", dice.qparams(), data),
    ]
    if height == width and a == b and dice.chance(0.5):
        operands[1] = operands[0]
    step = operands[0].q.scale[0] * operands[1].q.scale[0] * dice.step(0.01, 1e5)
    y = QParams((step,), dice.zero_point())
    return op_graph(MatMul(*NAME, clamp=dice.clamp(y)), operands, y)
