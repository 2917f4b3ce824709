"""Layers whose weights are sparse, packed or bits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from bench.cost_parts import DENSE, IMAGES, by_rows, conv_graph, graph_of, rng, variants
from mcucompile.ir import Graph, Value
from mcucompile.ir.storage import BIT, UNIT
from mcucompile.lower import lower
from mcucompile.ops.binarize import Binarize
from mcucompile.ops.binary_pool import BinaryMaxPool
from mcucompile.ops.dense import Dense
from mcucompile.plan.program import KernelCall, Optimize, Packing, Target
from tests.support.binary import binary_layer
from tests.support.graphs import op_graph
from tests.support.layers import few_valued_graph, layer_graph, sparse_graph

OPTIMIZE: tuple[Optimize, ...] = ("balanced", "ram")  # for packed weights

# image, channels out, kernel, strides, padding
_SPARSE = [
    *[((12, 12, 64), 64, (1, 1)), ((9, 11, 16), 32, (1, 1)), ((7, 7, 128), 24, (1, 1))],
    *[((5, 5, 96), 17, (1, 1)), ((6, 7, 48), 48, (1, 1)), ((3, 3, 256), 64, (1, 1))],
    *[((14, 14, 24), 40, (1, 1)), ((11, 3, 72), 10, (1, 1)), ((8, 8, 32), 96, (1, 1))],
    *[((14, 14, 32), 32, (3, 3), (2, 2), 1), ((7, 7, 32), 64, (3, 3), (1, 1), 1)],
    *[((14, 14, 16), 32, (3, 3), (1, 1), 1), ((9, 10, 8), 15, (3, 3), (1, 1), 1)],
    *[((12, 7, 64), 20, (3, 3), (1, 1), 0), ((10, 10, 24), 24, (5, 5), (2, 2), 2)],
    *[((16, 15, 48), 16, (1, 1), (2, 2), 0), ((11, 13, 40), 12, (3, 1), (1, 1), 0)],
]
# The same, of channels that are no fours.
_ODD = [
    *[((9, 9, 30), 25, (1, 1)), ((6, 7, 41), 33, (1, 1)), ((9, 8, 13), 18, (3, 3), (1, 1), 1)],
    *[((12, 12, 18), 24, (1, 1)), ((8, 8, 64), 64, (3, 3), (1, 1), 1), ((6, 6, 40), 80, (1, 1))],
    *[((8, 11, 6), 40, (3, 3), (2, 2), 1), ((4, 4, 128), 128, (1, 1)), ((2, 2, 160), 96, (1, 1))],
    *[((5, 5, 40), 20, (5, 5), (1, 1), 2), ((4, 4, 64), 32, (3, 3), (1, 1), 1)],
]
# height, width, channels in and out, kernel, stride, padding
_BINARY = [
    *[(14, 14, 64, 64, 3, 1, 1), (14, 14, 128, 128, 1, 1, 0), (7, 7, 256, 64, 3, 1, 1)],
    *[(12, 12, 32, 64, 3, 1, 1), (14, 14, 64, 64, 3, 2, 1), (16, 16, 32, 32, 3, 1, 0)],
    *[(8, 8, 96, 33, 3, 1, 1), (10, 10, 64, 96, 1, 1, 0), (9, 9, 32, 16, 5, 1, 2)],
    *[(5, 5, 160, 10, 5, 1, 0), (1, 1, 512, 64, 1, 1, 0), (6, 6, 40, 40, 3, 1, 1)],
    *[(13, 11, 64, 32, 2, 2, 0), (8, 8, 256, 256, 1, 1, 0), (4, 4, 128, 128, 3, 1, 1)],
]


def sparse() -> Iterator[KernelCall]:
    """Every fourth, second, or all but every fourth block is zero."""
    for number, (image, cout, *window) in enumerate(_SPARSE):
        graph = sparse_graph(conv_graph(image, cout, *window), (0.25, 0.5, 0.75)[number % 3], rng())
        (call,) = lower(graph, Target(sparse=True)).calls
        yield from variants(call, number)
        if call.row_unit:
            yield from variants(by_rows(call, image[0]), number + 1)
            back = replace(call, kernel="mcuc_conv1x1_back_sparse_s8")
            yield from variants(back, number)
        if number % 3 == 0:
            yield replace(call, params={**call.params, "small": 1})


def dense_sparse() -> Iterator[KernelCall]:
    for number, (cin, cout) in enumerate(n for n in DENSE if n[0] % 4 == 0):
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), rng(), zero_points=(-11, 5))
        graph = sparse_graph(graph, (0.25, 0.5, 0.75)[number % 3], rng(), (min(cout, 4), 4))
        (call,) = lower(graph, Target(sparse=True)).calls
        yield from variants(call, number)


def packed() -> Iterator[KernelCall]:
    """Two, four, sixteen or many weights, the last in Huffman codes; all channels at a time or
    some."""
    for number, (image, cout, *window) in enumerate(_SPARSE + _ODD):
        graph, packing = _few_valued(conv_graph(image, cout, *window), number)
        for optimize in OPTIMIZE:
            target = Target(optimize=optimize, packed={"": packing}, sparse=False, winograd=False)
            (call,) = lower(graph, target).calls
            if "packed" in call.kernel:  # not too small a layer
                yield from variants(call, number + (optimize == "ram"))
                yield by_rows(call, image[0])
    for number, (cin, cout) in enumerate(n for n in DENSE if 2000 < n[0] * n[1] < 40000):
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), rng(), zero_points=(-11, 5))
        graph, packing = _few_valued(graph, number)
        (call,) = lower(graph, Target(packed={"": packing})).calls
        yield from variants(call, number)


def _few_valued(graph: Graph, number: int) -> tuple[Graph, Packing]:
    values = (16, 4, 2, 100, 8)[number % 5]
    return few_valued_graph(graph, values, rng()), "huffman" if values > 16 else "palette"


def binary() -> Iterator[KernelCall]:
    for (h, w, cin, cout, size, stride, pad), sign in product(_BINARY, (True, False)):
        window = {"strides": (stride, stride), "pads": (pad,) * 4, "pad": (h + cin) % 3 - 1}
        graph = binary_layer((h, w, cin), cout, (size, size), rng(), sign=sign, **window)
        yield from lower(graph, Target()).calls
    for (h, w, channels, *_), size, pad in product(_BINARY, (2, 3), (0, 1)):
        if min(h, w) < size:
            continue
        pool = BinaryMaxPool("op", (), (size, size), (2, 2), (pad,) * 4)
        graph = op_graph(pool, [Value("x0", (1, h, w, channels), BIT, UNIT)], UNIT)
        yield from lower(graph, Target()).calls
    for image in IMAGES:
        yield from lower(graph_of(Binarize("op", ()), (1, *image), y=UNIT), Target()).calls
