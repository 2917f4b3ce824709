"""Random reductions and normalizations."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.arg_extremum import ArgExtremum
from mcucompile.ops.normalize import Normalize
from mcucompile.ops.reduce import (
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceSum,
    ReduceSumSquare,
)
from tests.fuzz.dice import Dice
from tests.fuzz.elementwise import NAME, shape
from tests.support.graphs import op_graph


def _operand(dice: Dice) -> tuple[Value, tuple[int, ...]]:
    """A tensor, and some of its axes, of which not all go together."""
    full = shape(dice)
    first = dice.number(1, len(full) - 1)
    axes = tuple(range(first, dice.number(first, len(full) - 1) + 1))
    if dice.chance(0.2):  # one long run
        full, axes = (1, dice.number(1, 3), dice.number(1, 700)), (2,)
    return Value("x", full, "int8", dice.qparams()), axes


def reduce_sum(dice: Dice) -> Graph:
    x, axes = _operand(dice)
    y = QParams((x.q.scale[0] * dice.step(1e-2, 1e3),), dice.zero_point())
    op = dice.one_of([ReduceSum, ReduceMean])(*NAME, axes, dice.clamp(y))
    return op_graph(op, [x], y)


def reduce_extremum(dice: Dice) -> Graph:
    x, axes = _operand(dice)
    op = dice.one_of([ReduceMax, ReduceMin])(*NAME, axes, dice.clamp(x.q))
    return op_graph(op, [x], x.q)


def reduce_steps(dice: Dice) -> Graph:
    x, axes = _operand(dice)
    y = dice.qparams(1e-3, 100.0)
    kinds = [ReduceL1, ReduceL2, ReduceSumSquare, ReduceLogSum, ReduceLogSumExp]
    return op_graph(dice.one_of(kinds)(*NAME, axes, dice.clamp(y)), [x], y)


def arg_extremum(dice: Dice) -> Graph:
    x, axes = _operand(dice)
    op = ArgExtremum(*NAME, axes[:1], None, dice.chance(0.5), dice.chance(0.5))
    if x.shape[axes[0]] > 256:
        raise ValueError("an index has 8 bits")
    return op_graph(op, [x], op.fixed_qparams())


def normalize(dice: Dice) -> Graph:
    groups, width, pixels = dice.number(1, 4), dice.size(12), dice.number(1, 12)
    if dice.chance(0.3):
        groups, width, pixels = 1, dice.number(1, 800), 1
    shape = (1, dice.number(1, 5), pixels, groups * width)
    x = Value("x", shape, "int8", dice.qparams())
    y = QParams((dice.step(1e-3, 1.0),), dice.zero_point())
    scale = 10 ** dice.rng.uniform(-2, 1, (2, 1))
    data = (dice.rng.normal(size=(2, shape[-1])) * scale).astype(np.float32)
    epsilon = dice.one_of([0.0, 1e-5, 1e-12, dice.logarithmic(1e-8, 1e4)])
    op = Normalize(*NAME, epsilon, groups, dice.chance(0.7), dice.clamp(y))
    return op_graph(op, op.quantize_constants([x, Value("p", data.shape, data=data)]), y)
