"""The families of kernels, and case number i of each: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from mcucompile.errors import QuantizationError
from mcucompile.ir import Array, Graph, Value
from mcucompile.ir.storage import BIT
from mcucompile.lower import lower
from mcucompile.plan.program import Optimize, Target
from mcucompile.quant.tflite import with_rounding
from tests.fuzz import (
    binary,
    border,
    elementwise,
    layers,
    moves,
    pairwise,
    pools,
    real,
    recurrent,
    reductions,
    wide,
)
from tests.fuzz.dice import Dice
from tests.support.ckit import random_inputs
from tests.support.kernelkit import Case

FAMILIES: dict[str, Callable[[Dice], Graph]] = {
    "conv1x1": layers.conv1x1,
    "conv2d": layers.conv2d,
    "conv_sparse": layers.conv_sparse,
    "palette_packed": layers.packed,
    "huffman_packed": layers.packed,
    "conv_transpose": layers.conv_transpose,
    "depthwise": layers.depthwise,
    "expand_depthwise": layers.expand_depthwise,
    "dense": layers.dense,
    "dense_sparse": layers.dense_sparse,
    "binary_conv": binary.binary_conv,
    "binarize": binary.binarize,
    "binary_max_pool": binary.binary_max_pool,
    "add": elementwise.add,
    "mul": elementwise.mul,
    "wide_layer": wide.layer,
    "wide_add": wide.add,
    "wide_average": wide.average_pool,
    "wide_max": wide.max_pool,
    "narrow": wide.narrow,
    "float_layer": real.layer,
    "float_elements": real.elements,
    "float_pool": real.pool,
    "float_function": real.function,
    "to_float": real.to_float,
    "table": elementwise.table,
    "softmax": elementwise.softmax,
    "border": border.border,
    "add_tflite": lambda dice: with_rounding(elementwise.add(dice), "tflite"),
    "mean_tflite": lambda dice: with_rounding(pools.global_pool(dice), "tflite"),
    "matmul": pairwise.matmul,
    "factor": pairwise.factor,
    "extremum": pairwise.extremum,
    "where": pairwise.where,
    "compare": pairwise.compare,
    "reduce_sum": reductions.reduce_sum,
    "reduce_extremum": reductions.reduce_extremum,
    "reduce_steps": reductions.reduce_steps,
    "arg_extremum": reductions.arg_extremum,
    "normalize": reductions.normalize,
    "lstm": recurrent.lstm,
    "gru": recurrent.gru,
    "rnn": recurrent.rnn,
    "max_pool": pools.max_pool,
    "average_pool": pools.average_pool,
    "global_pool": pools.global_pool,
    "concat": moves.concat,
    "pad": moves.pad,
    "transpose": moves.transpose,
    "slice": moves.slices,
    "tile": moves.tile,
    "gather": moves.gather,
    "resize": moves.resize,
}
OPTIMIZE: tuple[Optimize, ...] = ("time", "balanced", "ram")
TRIES = 100


def case(family: str, number: int) -> Case:
    """Case `number` of `family`, with three samples."""
    dice = Dice((crc32(family.encode()), number))
    graph = _graph(FAMILIES[family], dice)
    wishes = {"optimize": dice.one_of(OPTIMIZE), "winograd": dice.one_of([None, True])}
    if family.endswith("_sparse"):
        wishes["sparse"] = True
    if family.endswith("_packed"):
        wishes["packed"] = {"": family.removesuffix("_packed")}
    return Case(f"{family} case {number}", graph, _inputs(dice, graph), wishes)


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
    if graph.value(graph.inputs[0]).dtype == BIT:
        return (np.concatenate([np.full_like(usual[0][:1], dice.one_of([-1, 1])), usual[0]]),)
    if graph.value(graph.inputs[0]).dtype == "float32":
        extreme = random_inputs(graph, 1, dice.rng)
    elif any(v.dtype == "int16" for v in graph.values()):
        extreme = [_ends(dice, graph.value(name)) for name in graph.inputs]
    elif graph.has_value("w"):
        extreme = [layers.worst_input(dice, graph)]
    elif any(graph.value(name).dtype != "int8" for name in graph.inputs):
        extreme = random_inputs(graph, 1, dice.rng)
    else:
        ends = dice.one_of([[-128], [127], [-128, 127]])
        shapes = [graph.value(name).shape for name in graph.inputs]
        extreme = [dice.rng.choice(np.array(ends, np.int8), s) for s in shapes]
    return tuple(np.concatenate(pair) for pair in zip(extreme, usual, strict=True))


def _ends(dice: Dice, value: Value) -> Array:
    """A sample of the least and the largest number, or of one of them."""
    ends = dice.one_of([value.q.limits, value.q.limits[:1], value.q.limits[1:]])
    return dice.rng.choice(np.array(ends, value.dtype), value.shape)
