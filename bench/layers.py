"""The layers by which kernels are compared, and what has been reached on them.

Weights and inputs are random; images are padded symmetrically so that stride 1 keeps their size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bench.figures import Figures, layer_figures
from mcucompile.ir import Graph, Op, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.global_pool import GlobalAveragePool
from mcucompile.ops.pool import AveragePool
from tests.support.binary import binary_layer
from tests.support.graphs import op_graph
from tests.support.layers import few_valued_graph, layer_graph, sparse_graph

Image = tuple[int, int, int]  # height, width, channels


@dataclass(frozen=True)
class Layer:
    """A layer and the figures of hand-written prototypes of its kernel: thousands of instructions,
    cycles per unit of work on a Cortex-M4 and on a Cortex-M7 (a Winograd convolution counts the
    multiply-accumulates of the direct one).

    wishes: fields of the target that make the compiler choose the kernel that is to be measured.
    """

    name: str
    graph: Callable[[], Graph]
    reached: float
    reached_cycles: dict[str, float]
    wishes: Mapping[str, Any] = field(default_factory=dict)

    def figures(self, core: str) -> Figures:
        graph = self.graph()
        work = max(v.elements for v in graph.values())
        return layer_figures(self.name, graph, core, work, self.wishes)


def _conv(image: Image, cout: int, kernel: int, stride: int = 1) -> Graph:
    pad = (kernel - 1) // 2
    op = Conv2d("layer", (), (stride, stride), (pad, pad, pad, pad))
    return _with_weights(op, (1, *image), (cout, kernel, kernel, image[2]))


def _depthwise(image: Image, kernel: int, stride: int = 1) -> Graph:
    pad, channels = (kernel - 1) // 2, image[2]
    op = Conv2d("layer", (), (stride, stride), (pad, pad, pad, pad), groups=channels)
    return _with_weights(op, (1, *image), (channels, kernel, kernel, 1))


def _sparse(graph: Graph, sparsity: float, block: tuple[int, int]) -> Graph:
    return sparse_graph(graph, sparsity, np.random.default_rng(4242), block)


def _few_valued(graph: Graph, values: int) -> Graph:
    return few_valued_graph(graph, values, np.random.default_rng(4242))


def _with_weights(op: Op, shape: tuple[int, ...], weights: tuple[int, ...]) -> Graph:
    return layer_graph(op, shape, weights, np.random.default_rng(4242), zero_points=(-11, 5))


def _binary(image: Image, cout: int, kernel: int, pad: int = 1) -> Graph:
    """A layer of bits with a sign, padded with -1, 0 or +1."""
    around = ((kernel - 1) // 2,) * 4
    rng = np.random.default_rng(4242)
    return binary_layer(image, cout, (kernel, kernel), rng, sign=True, pads=around, pad=pad)


def _of_image(op: Op, result: QParams, operands: str = "x") -> Graph:
    """`op` on operands of 24x24x64."""
    steps = {"x": QParams((0.05,), -11), "x2": QParams((0.04,), 3)}
    values = [Value(n, (1, 24, 24, 64), "int8", steps[n]) for n in operands.split()]
    return op_graph(op, values, result)


def _cycles(m4: float, m7: float) -> dict[str, float]:
    return {"cortex-m4": m4, "cortex-m7": m7}


_Y = QParams((0.06,), 5)
_MEAN = QParams((0.03,), 5)

LAYERS = (
    Layer("1x1 24x24 64->64", lambda: _conv((24, 24, 64), 64, 1), 2140, _cycles(1.24, 0.85)),
    Layer(
        "1x1 24x24 64->64, 75 % of 1x4 blocks zero",
        lambda: _sparse(_conv((24, 24, 64), 64, 1), 0.75, (1, 4)),
        914,
        _cycles(0.563, 0.400),
        {"sparse": True},
    ),
    Layer(
        "1x1 24x24 64->64, 16 weights",
        lambda: _few_valued(_conv((24, 24, 64), 64, 1), 16),
        2163,
        _cycles(1.29, 0.89),
        {"packed": {"": "palette"}},
    ),
    Layer("1x1 48x48 16->32", lambda: _conv((48, 48, 16), 32, 1), 1347, _cycles(1.54, 1.09)),
    Layer(
        "3x3 s1 32x32 16->16, direct",
        lambda: _conv((32, 32, 16), 16, 3),
        2080,
        _cycles(1.21, 0.89),
        {"winograd": False},
    ),
    Layer(
        "3x3 s1 32x32 16->16, Winograd",
        lambda: _conv((32, 32, 16), 16, 3),
        1195,
        _cycles(0.74, 0.48),
        {"winograd": True},
    ),
    Layer("3x3 s2 96x96 3->8", lambda: _conv((96, 96, 3), 8, 3, 2), 631, _cycles(1.66, 1.13)),
    Layer("dw 3x3 s1 48x48x16", lambda: _depthwise((48, 48, 16), 3), 586, _cycles(2.07, 1.80)),
    Layer("dw 3x3 s2 48x48x16", lambda: _depthwise((48, 48, 16), 3, 2), 228, _cycles(3.30, 2.65)),
    Layer("dw 5x5 12x12x96", lambda: _depthwise((12, 12, 96), 5), 432, _cycles(1.60, 1.19)),
    Layer("dw 7x7 12x12x96", lambda: _depthwise((12, 12, 96), 7), 723, _cycles(1.46, 0.97)),
    Layer(
        "dense 640->128",
        lambda: _with_weights(Dense("layer", ()), (1, 640), (128, 640)),
        76.5,
        _cycles(1.35, 0.95),
    ),
    Layer(
        "dense 640->128, 75 % of 4x4 blocks zero",
        lambda: _sparse(_with_weights(Dense("layer", ()), (1, 640), (128, 640)), 0.75, (4, 4)),
        29.2,
        _cycles(0.505, 0.323),
        {"sparse": True},
    ),
    Layer(
        "add 24x24x64",
        lambda: _of_image(Add("layer", ()), _Y, "x x2"),
        221.2,
        _cycles(6.75, 5.51),
    ),
    Layer(
        "global average 24x24x64",
        lambda: _of_image(GlobalAveragePool("layer", ()), _MEAN),
        31.0,
        _cycles(1.14, 0.84),
    ),
    Layer(
        "average 2x2 s2 24x24x64",
        lambda: _of_image(AveragePool("layer", (), (2, 2), (2, 2)), _MEAN),
        49.5,
        _cycles(1.67, 1.34),
    ),
    Layer(
        "binary 3x3 s1 14x14 64->64",
        lambda: _binary((14, 14, 64), 64, 3),
        1145.6,
        _cycles(0.203, 0.127),
    ),
    Layer(
        "binary 3x3 s1 14x14 64->64, zeros around",
        lambda: _binary((14, 14, 64), 64, 3, pad=0),
        1145.6,
        _cycles(0.203, 0.127),
    ),
    Layer(
        "binary 1x1 14x14 128->128",
        lambda: _binary((14, 14, 128), 128, 1),
        625.0,
        _cycles(0.248, 0.152),
    ),
)
