"""The families of kernels, and case number i of each: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from mcucompile.errors import QuantizationError
from mcucompile.ir import Array, Graph
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import Pool2d
from mcucompile.plan.program import Optimize, Target
from tests.fuzz import elementwise, layers, moves, pools
from tests.fuzz.dice import Dice
from tests.support.ckit import random_inputs
from tests.support.kernelkit import Case, Rows

FAMILIES: dict[str, Callable[[Dice], Graph]] = {
    "conv1x1": layers.conv1x1,
    "conv2d": layers.conv2d,
    "depthwise": layers.depthwise,
    "dense": layers.dense,
    "add": elementwise.add,
    "mul": elementwise.mul,
    "table": elementwise.table,
    "softmax": elementwise.softmax,
    "max_pool": pools.max_pool,
    "average_pool": pools.average_pool,
    "global_pool": pools.global_pool,
    "concat": moves.concat,
    "pad": moves.pad,
    "transpose": moves.transpose,
    "slice": moves.slices,
    "tile": moves.tile,
    "gather": moves.gather,
}
OPTIMIZE: tuple[Optimize, ...] = ("time", "balanced", "ram")
TRIES = 100


def case(family: str, number: int) -> Case:
    """Case `number` of `family`, with three samples."""
    dice = Dice((crc32(family.encode()), number))
    graph = _graph(FAMILIES[family], dice)
    wishes = {"optimize": dice.one_of(OPTIMIZE), "winograd": dice.one_of([None, True])}
    return Case(f"{family} case {number}", graph, _inputs(dice, graph), wishes, _rows(graph))


def _graph(make: Callable[[Dice], Graph], dice: Dice) -> Graph:
    """The first graph that the compiler accepts: a generator may ask for what cannot be."""
    for _ in range(TRIES):
        try:
            graph = make(dice)
            lower(graph, Target())
        except (ValueError, QuantizationError):
            continue
        return graph
    raise AssertionError(f"{make.__name__} makes nothing that can be compiled")


def _inputs(dice: Dice, graph: Graph) -> tuple[Array, ...]:
    """Three samples for each input: one of extremes, two random ones."""
    usual = random_inputs(graph, 2, dice.rng)
    if graph.has_value("w"):
        extreme = [layers.worst_input(dice, graph)]
    else:
        ends = dice.one_of([[-128], [127], [-128, 127]])
        shapes = [graph.value(name).shape for name in graph.inputs]
        extreme = [dice.rng.choice(np.array(ends, np.int8), s) for s in shapes]
    return tuple(np.concatenate(pair) for pair in zip(extreme, usual, strict=True))


def _rows(graph: Graph) -> Rows | None:
    """Which input rows an output row reads; None where that is no band."""
    (op,) = graph.ops()
    if isinstance(op, Pad) and op.mode == "constant" and len(op.pads) == 4:
        return Rows(top=op.pads[1][0])
    if not isinstance(op, Conv2d | Pool2d):
        return None
    height = graph.value("w").shape[1] if isinstance(op, Conv2d) else op.kernel[0]
    return Rows(op.strides[0], op.pads[0], (height - 1) * op.dilations[0] + 1)
