"""Random operators on float32 numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.border import ToFloat
from mcucompile.ops.float_elements import FloatFunction
from mcucompile.ops.floated import floated
from mcucompile.quant.float32 import FUNCTIONS, REAL
from tests.fuzz import elementwise, layers, pools
from tests.fuzz.dice import Dice
from tests.support.graphs import op_graph


def layer(dice: Dice) -> Graph:
    kinds = [layers.conv1x1, layers.dense, layers.conv2d, layers.conv2d, layers.depthwise]
    return _floated(dice, dice.one_of(kinds)(dice))


def elements(dice: Dice) -> Graph:
    return _floated(dice, dice.one_of([elementwise.add, elementwise.mul])(dice))


def pool(dice: Dice) -> Graph:
    return _floated(
        dice, dice.one_of([pools.average_pool, pools.max_pool, pools.global_pool])(dice)
    )


def function(dice: Dice) -> Graph:
    op = FloatFunction(
        "op",
        ("node",),
        dice.one_of(sorted(FUNCTIONS)),
        float(dice.rng.normal()),
        float(dice.rng.normal()),
        dice.clamp(QParams((dice.step(1e-3, 1.0),), dice.zero_point())),
    )
    return op_graph(op, [Value("x", elementwise.shape(dice), "float32", REAL)], REAL)


def to_float(dice: Dice) -> Graph:
    """From int16, of which the caller's numbers are none."""
    q = QParams((dice.step(1e-5, 1.0),), bits=16)
    x = Value("x", elementwise.shape(dice), "int16", q)
    return op_graph(ToFloat("op", ("node",)), [x], REAL)


def _floated(dice: Dice, graph: Graph) -> Graph:
    """`graph` of one operator on float32 numbers, with constants of any size and other bounds."""
    (op,) = graph.ops()
    operands = [_real(dice, v) for v in graph.operands(op)]
    clamp = dice.clamp(QParams((dice.step(1e-3, 1.0),), dice.zero_point()))
    return op_graph(floated(replace(op, clamp=clamp)), operands, REAL)  # type: ignore[call-arg]


def _real(dice: Dice, value: Value) -> Value:
    if not value.is_constant:
        return replace(value, dtype="float32", qparams=REAL)
    data = (dice.rng.normal(size=value.shape) * dice.step(1e-3, 10.0)).astype(np.float32)
    return replace(value, dtype="float32", qparams=None, data=data)
