"""Random operators of which some activations are int16."""

from __future__ import annotations

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ops.wide import Narrow
from mcucompile.ops.widened import widened
from tests.fuzz import elementwise, layers, pools
from tests.fuzz.dice import Dice
from tests.support.graphs import as_int16, op_graph


def layer(dice: Dice) -> Graph:
    kinds = [layers.conv1x1, layers.dense, layers.conv2d, layers.conv2d, layers.depthwise]
    return _wide(dice, dice.one_of(kinds)(dice))


def add(dice: Dice) -> Graph:
    return _wide(dice, elementwise.add(dice))


def average_pool(dice: Dice) -> Graph:
    while True:  # a generator of means makes maxima, too
        graph = dice.one_of([pools.average_pool, pools.global_pool])(dice)
        if "Average" in graph.ops()[0].kind:
            return _wide(dice, graph)


def max_pool(dice: Dice) -> Graph:
    while True:
        graph = dice.one_of([pools.max_pool, pools.global_pool])(dice)
        if "Max" in graph.ops()[0].kind:
            return _wide(dice, graph, same=True)


def narrow(dice: Dice) -> Graph:
    x = Value("x", elementwise.shape(dice), "int16", QParams((dice.step(1e-5, 1.0),), bits=16))
    step = x.q.scale[0] * dice.step(0.01, 1e4)
    return op_graph(Narrow("op", ("node",)), [x], QParams((step,), dice.zero_point()))


def _wide(dice: Dice, graph: Graph, same: bool = False) -> Graph:
    """`graph` of one operator with int16 activations over the same range: at least one, and all
    of them if they must be the `same`."""
    (op,), (y,) = graph.ops(), (graph.value("y"),)
    wide = {name for name in (*graph.inputs, "y") if same or dice.chance(0.6)}
    if not wide:
        wide = {dice.one_of([*graph.inputs, "y"])}
    operands = [as_int16(v) if v.name in wide else v for v in graph.operands(op)]
    result = as_int16(y) if "y" in wide else y
    return op_graph(widened(op, result.q.bits), operands, result.q)
