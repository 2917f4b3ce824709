"""Binary layers with random bits and weights."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph, QParams, Value
from mcucompile.ir.storage import BIT, UNIT
from mcucompile.ops.binary_conv import BinaryConv2d, BinaryConv2dSign
from tests.support.graphs import op_graph

Quad = tuple[int, int, int, int]


def binary_layer(
    image: tuple[int, int, int],
    cout: int,
    kernel: tuple[int, int],
    rng: np.random.Generator,
    *,
    sign: bool,
    strides: tuple[int, int] = (1, 1),
    pads: Quad = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    pad: int = 0,
    clamp: tuple[float, float] | None = None,
    zero_point: int = -3,
) -> Graph:
    """A graph of one binary convolution; some channels have weights of one sign only, thresholds
    beyond every sum, or sums that are exactly zero.

    sign: its result is bits, otherwise int8 that fill their range.
    """
    terms = kernel[0] * kernel[1] * image[2]
    signs = rng.choice([-1, 1], (cout, *kernel, image[2]))
    signs[:: 1 + cout // 3] = rng.choice([-1, 1])
    unit = rng.choice([127, 127, 127, 1, 0], cout)
    scales = tuple(rng.uniform(0.5, 2.0, cout).tolist())
    usual = rng.normal(0.0, 0.3 * np.sqrt(terms), cout) * 127
    bias = np.where(rng.random(cout) < 0.3, rng.integers(-3, 4, cout) * 127, usual)
    bias = np.where(rng.random(cout) < 0.2, rng.choice([-1, 1], cout) * terms * 127, bias)
    weights = (signs * unit[:, None, None, None]).astype(np.int8)
    operands = [
        Value("x", (1, *image), BIT, UNIT),
        Value("w", weights.shape, "int8", QParams(scales, 0, 0), weights),
        Value("b", (cout,), "int32", QParams(scales, 0, 0), np.rint(bias).astype(np.int32)),
    ]
    if sign:
        op = BinaryConv2dSign("conv", ("node",), strides, pads, dilations, pad=pad)
        return op_graph(op, operands, UNIT)
    conv = BinaryConv2d("conv", ("node",), strides, pads, dilations, clamp=clamp, pad=pad)
    return op_graph(conv, operands, QParams((127.0 * np.sqrt(terms) / 40.0,), zero_point))
