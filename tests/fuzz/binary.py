"""Random binary layers, and what goes with them."""

from __future__ import annotations

import math

from mcucompile.ir import Graph, Value
from mcucompile.ir.storage import BIT, UNIT
from mcucompile.ops.binarize import Binarize
from mcucompile.ops.binary_pool import BinaryMaxPool
from tests.fuzz.dice import Dice
from tests.fuzz.pools import window
from tests.support.binary import binary_layer
from tests.support.graphs import op_graph

ORIGIN = ("node",)
MOST_MACS = 120_000


def binary_conv(dice: Dice) -> Graph:
    """Any convolution of bits; input channels around a word and a block are likely."""
    cin = dice.one_of([32, 64, 95, 96, 97, 192, 193, dice.number(1, 40), dice.number(1, 40)])
    kernel = dice.one_of([(1, 1), (3, 3), (3, 3), (dice.number(1, 5), dice.number(1, 5))])
    strides = dice.one_of([(1, 1), (1, 1), (2, 2), (dice.number(1, 3), dice.number(1, 3))])
    top, left, bottom, right = dice.numbers(4, 0, max(kernel))
    pads = dice.one_of([(0, 0, 0, 0), (1, 1, 1, 1), (top, left, bottom, right)])
    dilations = dice.one_of([(1, 1), (1, 1), (dice.number(1, 3), dice.number(1, 3))])
    image = (dice.number(1, 9), dice.number(1, 9), cin)
    cout = dice.one_of([32, 64, dice.number(1, 70)])
    graph = binary_layer(
        image,
        cout,
        kernel,
        dice.rng,
        sign=dice.chance(0.5),
        strides=strides,
        pads=pads,
        dilations=dilations,
        pad=dice.number(-1, 1),
        clamp=dice.one_of([None, (0.0, 1000.0)]),
        zero_point=dice.zero_point(),
    )
    if graph.value("y").elements * math.prod(kernel) * cin > MOST_MACS:
        raise ValueError("too much work")
    return graph


def binarize(dice: Dice) -> Graph:
    shape = dice.one_of([(1, dice.size(200)), (1, *dice.numbers(2, 1, 6), dice.size(70))])
    return op_graph(Binarize("op", ORIGIN), [Value("x", shape, "int8", dice.qparams())], UNIT)


def binary_max_pool(dice: Dice) -> Graph:
    image, attributes = window(dice)
    shape = (*image.shape[:3], dice.size(70))
    return op_graph(BinaryMaxPool("op", ORIGIN, **attributes), [Value("x", shape, BIT, UNIT)], UNIT)
