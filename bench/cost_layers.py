"""The layers whose instructions are counted for mcucompile.cost: every kernel, odd sizes too."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from mcucompile import resources
from mcucompile.cost.features import FAMILIES as COUNTED
from mcucompile.ir import Graph, Op, QParams, Value
from mcucompile.ir.storage import BIT, UNIT
from mcucompile.lower import lower
from mcucompile.ops.add import Add
from mcucompile.ops.binarize import Binarize
from mcucompile.ops.binary_pool import BinaryMaxPool
from mcucompile.ops.concat import Concat
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.expand_depthwise import ExpandDepthwise
from mcucompile.ops.float_elements import FloatFunction
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.mul import Mul
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.recurrent import Activation
from mcucompile.ops.rnn import Rnn
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import Unary
from mcucompile.ops.wide import Narrow
from mcucompile.ops.widened import widened
from mcucompile.plan.program import KernelCall, Optimize, Packing, Target
from mcucompile.quant.float32 import FUNCTIONS as FLOAT_FUNCTIONS
from mcucompile.quant.float32 import REAL
from tests.fuzz.families import FAMILIES, case
from tests.support.binary import binary_layer
from tests.support.graphs import as_float, as_int16, op_graph
from tests.support.layers import few_valued_graph, layer_graph, sparse_graph
from tests.support.recurrent import recurrent_graph

RANDOM_CASES = 150  # of each family of the fuzz tests, of which
PER_KERNEL = 8  # of each kernel are taken,
PER_OTHER = 24  # or so many of kernels without layers of their own
OPTIMIZE: tuple[Optimize, ...] = ("balanced", "ram")  # for packed weights
_SEED = 4242
_X, _Y = QParams((0.05,), -11), QParams((0.04,), 3)

# height, width, channels in and out
_POINTWISE = [
    *[(12, 12, 64, 64), (24, 24, 8, 16), (24, 24, 16, 96), (12, 12, 24, 144), (7, 7, 40, 120)],
    *[(5, 5, 120, 20), (9, 11, 12, 20), (3, 3, 192, 48), (20, 5, 64, 64), (10, 10, 10, 15)],
    *[(6, 7, 3, 5), (8, 9, 5, 8), (4, 4, 33, 17), (11, 11, 16, 7), (2, 2, 160, 320)],
    *[(3, 3, 240, 80), (14, 14, 18, 36), (5, 6, 128, 128), (10, 12, 48, 10), (6, 6, 96, 16)],
    *[(9, 9, 112, 24), (4, 18, 72, 24), (16, 16, 8, 8), (18, 18, 1, 8), (2, 3, 4, 12)],
    *[(7, 7, 20, 40), (8, 8, 56, 28), (5, 5, 36, 12), (22, 22, 24, 16), (9, 9, 30, 9)],
    *[(6, 6, 22, 30), (3, 2, 6, 2)],
]
# steps, input, hidden
_RECURRENT = [
    *[(28, 28, 20), (10, 40, 32), (6, 64, 64), (12, 5, 3), (20, 1, 16), (9, 13, 8), (5, 32, 48)],
    *[(16, 3, 12), (4, 20, 33), (1, 16, 16), (8, 10, 10), (3, 4, 2), (6, 2, 5), (4, 5, 3)],
    *[(5, 3, 7), (2, 8, 4), (4, 5, 4), (9, 1, 2)],
]
# height, width, channels in and out, kernel, strides, padding, groups
_CONVOLUTIONS = [
    *[(16, 16, 16, 16, (3, 3), (1, 1), 1, 1), (12, 12, 32, 32, (3, 3), (2, 2), 1, 1)],
    *[(9, 7, 8, 12, (3, 3), (1, 1), 1, 1), (8, 8, 64, 64, (3, 3), (1, 1), 1, 1)],
    *[(16, 16, 16, 32, (1, 1), (2, 2), 0, 1), (14, 14, 4, 8, (5, 5), (1, 1), 2, 1)],
    *[(10, 11, 12, 9, (3, 3), (1, 1), 0, 1), (10, 10, 16, 8, (3, 3), (1, 1), 1, 4)],
    *[(9, 9, 6, 4, (3, 3), (1, 1), 1, 2), (6, 6, 40, 20, (3, 3), (1, 1), 1, 1)],
    *[(15, 13, 20, 6, (3, 1), (1, 1), 0, 1), (1, 40, 24, 16, (1, 5), (1, 2), 0, 1)],
    *[(24, 24, 24, 24, (3, 3), (2, 2), 1, 1), (5, 5, 128, 16, (3, 3), (1, 1), 1, 1)],
    *[(11, 11, 8, 8, (7, 7), (2, 2), 3, 1), (7, 9, 5, 6, (3, 3), (1, 1), 1, 1)],
    *[(13, 13, 6, 10, (5, 5), (1, 1), 2, 1), (20, 20, 16, 12, (3, 3), (1, 1), 1, 1)],
    *[(17, 17, 32, 48, (3, 3), (2, 2), 0, 1), (15, 15, 16, 64, (3, 3), (1, 1), 1, 1)],
    *[(14, 14, 4, 16, (3, 3), (2, 2), 0, 1), (12, 30, 12, 24, (3, 3), (1, 1), 0, 1)],
    *[(16, 16, 32, 64, (1, 1), (2, 2), 0, 1), (20, 9, 4, 6, (5, 3), (1, 1), 0, 1)],
    *[(10, 10, 24, 24, (2, 2), (2, 2), 0, 1), (11, 26, 8, 20, (3, 3), (2, 2), 1, 1)],
    *[(13, 15, 4, 12, (3, 3), (2, 2), 0, 1), (15, 13, 4, 8, (3, 3), (2, 2), 1, 1)],
    *[(7, 7, 8, 16, (3, 3), (2, 2), 0, 1), (9, 9, 20, 12, (3, 3), (1, 1), 0, 1)],
    *[(14, 14, 8, 16, (5, 5), (1, 1), 2, 1), (10, 12, 16, 12, (5, 5), (1, 1), 2, 1)],
    *[(7, 7, 12, 24, (5, 5), (1, 1), 2, 1), (16, 15, 8, 10, (5, 5), (2, 2), 2, 1)],
    *[(12, 12, 4, 20, (7, 7), (1, 1), 3, 1), (20, 18, 8, 8, (5, 5), (1, 1), 2, 1)],
]
_THIN = [
    *[(32, 32, 3, 16, (3, 3), (1, 1), 1, 1), (48, 48, 3, 8, (3, 3), (2, 2), 1, 1)],
    *[(49, 10, 1, 64, (10, 4), (2, 2), 4, 1), (49, 40, 1, 8, (10, 8), (2, 2), 4, 1)],
    *[(28, 28, 1, 8, (5, 5), (1, 1), 2, 1), (28, 28, 1, 32, (3, 3), (1, 1), 0, 1)],
    *[(33, 31, 3, 6, (3, 3), (2, 2), 1, 1), (20, 21, 2, 7, (3, 3), (1, 1), 1, 1)],
    *[(17, 18, 1, 4, (3, 3), (2, 2), 0, 1), (24, 24, 3, 32, (5, 5), (2, 2), 2, 1)],
    *[(40, 40, 3, 16, (3, 3), (2, 2), 0, 1), (16, 64, 1, 16, (3, 3), (2, 2), 1, 1)],
    *[(12, 12, 5, 9, (3, 3), (1, 1), 1, 1), (24, 13, 6, 12, (3, 3), (1, 1), 1, 1)],
    *[(14, 14, 1, 5, (5, 5), (3, 3), 0, 1), (28, 28, 10, 8, (3, 3), (1, 1), 1, 1)],
    *[(64, 64, 3, 16, (3, 3), (2, 2), 1, 1), (24, 24, 3, 12, (7, 7), (2, 2), 3, 1)],
    *[(24, 3, 1, 24, (16, 1), (1, 1), 0, 1), (1, 60, 3, 12, (1, 9), (1, 1), 0, 1)],
    *[(28, 28, 1, 4, (3, 3), (2, 2), 0, 1), (80, 80, 3, 8, (3, 3), (2, 2), 0, 1)],
    *[(30, 27, 3, 24, (3, 3), (1, 1), 1, 1), (96, 96, 1, 8, (3, 3), (2, 2), 0, 1)],
    *[(80, 80, 3, 32, (3, 3), (2, 2), 1, 1), (14, 14, 1, 20, (5, 5), (2, 2), 0, 1)],
    *[(12, 144, 3, 16, (3, 3), (2, 2), 1, 1), (12, 126, 3, 8, (3, 3), (2, 2), 0, 1)],
    *[(12, 160, 3, 32, (3, 3), (2, 2), 1, 1), (12, 130, 3, 24, (3, 3), (2, 2), 0, 1)],
    *[(28, 28, 1, 1, (3, 3), (2, 2), 0, 1), (20, 24, 1, 16, (3, 3), (1, 1), 1, 1)],
    *[(13, 13, 1, 3, (3, 3), (2, 2), 0, 1), (26, 28, 1, 6, (3, 3), (2, 2), 0, 1)],
    *[(49, 40, 1, 8, (10, 8), (2, 2), 3, 1), (12, 30, 1, 2, (5, 5), (2, 2), 2, 1)],
]
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
# height, width, channels, padding
_DEPTHWISE = [(13, 13, 16, 1), (24, 24, 8, 1), (6, 6, 48, 1), (9, 11, 12, 1), (10, 10, 7, 1)]
_DEPTHWISE += [(5, 3, 20, 0), (14, 18, 4, 0), (12, 20, 24, 1), (7, 7, 32, 1), (17, 12, 10, 1)]
_DEPTHWISE += [(48, 48, 4, 1), (22, 37, 8, 1), (5, 5, 64, 1), (20, 72, 4, 1), (16, 31, 12, 0)]
_SQUARES = [(n, n, 16, 1) for n in (2, 3, 4, 8, 9, 10, 11, 12, 14, 16, 20)]  # as in many models
# channels in and out
# height, width, channels in and of the depthwise convolution
_EXPANDED = [(12, 12, 16, 24), (10, 24, 24, 12), (9, 11, 12, 8), (7, 7, 40, 20), (8, 14, 8, 10)]
_EXPANDED += [(6, 9, 6, 4), (10, 10, 33, 6), (5, 48, 16, 4)]
_DENSE = [(640, 128), (128, 128), (8, 128), (128, 8), (64, 12), (256, 2), (16, 16), (1, 16)]
_DENSE += [(392, 10), (100, 100), (57, 43), (1000, 4), (31, 7), (320, 1000), (12, 5), (67, 24)]
_DENSE += [(30, 3), (16, 1), (200, 9), (500, 20), (60, 18), (24, 40), (180, 6), (40, 2)]
_DENSE += [(1280, 1), (256, 5), (32, 3), (64, 10), (150, 11)]
_IMAGES = [(12, 12, 24), (6, 5, 40), (9, 9, 10), (7, 11, 3), (16, 16, 8), (3, 3, 160), (5, 6, 17)]
_IMAGES += [(14, 14, 64)]


def calls() -> Iterator[KernelCall]:
    """Calls of all kernels of the runtime; image layers also with the rows of the image."""
    yield from _sums_of_products()
    yield from _wide()
    yield from _float()
    for graph in (*_elementwise(), *_recurrent(), *_pools(), *_moves()):
        (call,) = lower(graph, Target()).calls
        yield call
        rows = by_rows(call, graph.value("y").shape[1])
        if rows is not call:
            yield rows
        if call.folding is not None:
            yield call.folding
    yield from _random_calls()


def kernels() -> set[str]:
    """The kernels of the runtime; its headers make some of them by macros."""
    include = resources.runtime_dir()
    headers = sorted(str(p.relative_to(include)) for p in include.glob("mcuc/*.h"))
    text = "".join(f'#include "{header}"\n' for header in headers)
    gcc = ["gcc", "-std=c99", "-E", f"-I{include}", "-"]
    code = subprocess.run(gcc, input=text, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\bvoid (mcuc_\w+_(?:s8|s16|b1|f32))\(const mcuc_\w+_params \*", code))


def by_rows(call: KernelCall, height: int) -> KernelCall:
    """`call` with `height` rows in place of one long one, where its kernel does not mind."""
    if not call.row_unit or call.writes[0].rows != 1 or height == 1:
        return call
    try:
        return call.split(height)
    except ValueError:
        return call


def _sums_of_products() -> Iterator[KernelCall]:
    for number, (h, w, cin, cout) in enumerate(_POINTWISE):
        (call,) = lower(_conv((h, w, cin), cout, (1, 1)), Target()).calls
        yield from _variants(call, number)
        yield from _variants(by_rows(call, h), number + 1)
        if cout > cin:
            yield from _variants(replace(call, kernel="mcuc_conv1x1_back_s8"), number)
        if number % 3 == 0:
            yield replace(call, params={**call.params, "small": 1})
    for number, (layer, wish) in enumerate(product(_CONVOLUTIONS + _THIN, (False, True))):
        h, w, cin, cout, kernel, strides, pad, groups = layer
        graph = _conv((h, w, cin), cout, kernel, strides, pad, groups)
        (call,) = lower(graph, Target(winograd=wish)).calls
        if wish == ("winograd" in call.kernel):
            yield from _variants(call, number // 2)
            if number % 3 == 0 and "small" in call.params:
                yield replace(call, params={**call.params, "small": 1})
    for cin, cout in _DENSE:
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), _rng(), zero_points=(-11, 5))
        (call,) = lower(graph, Target()).calls
        yield call
        other = replace(call, kernel="mcuc_dense_s8", params={**call.params, "m": 0})
        yield from _variants(other, cin)
    yield from _sparse()
    yield from _dense_sparse()
    yield from _packed()
    yield from _depthwise()
    yield from _expand_depthwise()
    yield from _binary()


def _sparse() -> Iterator[KernelCall]:
    """Every fourth, second, or all but every fourth block is zero."""
    for number, (image, cout, *window) in enumerate(_SPARSE):
        graph = sparse_graph(_conv(image, cout, *window), (0.25, 0.5, 0.75)[number % 3], _rng())
        (call,) = lower(graph, Target(sparse=True)).calls
        yield from _variants(call, number)
        if call.row_unit:
            yield from _variants(by_rows(call, image[0]), number + 1)
            back = replace(call, kernel="mcuc_conv1x1_back_sparse_s8")
            yield from _variants(back, number)
        if number % 3 == 0:
            yield replace(call, params={**call.params, "small": 1})


def _dense_sparse() -> Iterator[KernelCall]:
    for number, (cin, cout) in enumerate(n for n in _DENSE if n[0] % 4 == 0):
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), _rng(), zero_points=(-11, 5))
        graph = sparse_graph(graph, (0.25, 0.5, 0.75)[number % 3], _rng(), (min(cout, 4), 4))
        (call,) = lower(graph, Target(sparse=True)).calls
        yield from _variants(call, number)


def _packed() -> Iterator[KernelCall]:
    """Two, four, sixteen or many weights, the last in Huffman codes; all channels at a time or
    some."""
    for number, (image, cout, *window) in enumerate(_SPARSE + _ODD):
        graph, packing = _few_valued(_conv(image, cout, *window), number)
        for optimize in OPTIMIZE:
            target = Target(optimize=optimize, packed={"": packing}, sparse=False, winograd=False)
            (call,) = lower(graph, target).calls
            if "packed" in call.kernel:  # not too small a layer
                yield from _variants(call, number + (optimize == "ram"))
                yield by_rows(call, image[0])
    for number, (cin, cout) in enumerate(n for n in _DENSE if 2000 < n[0] * n[1] < 40000):
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), _rng(), zero_points=(-11, 5))
        graph, packing = _few_valued(graph, number)
        (call,) = lower(graph, Target(packed={"": packing})).calls
        yield from _variants(call, number)


def _few_valued(graph: Graph, number: int) -> tuple[Graph, Packing]:
    values = (16, 4, 2, 100, 8)[number % 5]
    return few_valued_graph(graph, values, _rng()), "huffman" if values > 16 else "palette"


def _binary() -> Iterator[KernelCall]:
    for (h, w, cin, cout, size, stride, pad), sign in product(_BINARY, (True, False)):
        window = {"strides": (stride, stride), "pads": (pad,) * 4, "pad": (h + cin) % 3 - 1}
        graph = binary_layer((h, w, cin), cout, (size, size), _rng(), sign=sign, **window)
        yield from lower(graph, Target()).calls
    for (h, w, channels, *_), size, pad in product(_BINARY, (2, 3), (0, 1)):
        if min(h, w) < size:
            continue
        pool = BinaryMaxPool("op", (), (size, size), (2, 2), (pad,) * 4)
        graph = op_graph(pool, [Value("x0", (1, h, w, channels), BIT, UNIT)], UNIT)
        yield from lower(graph, Target()).calls
    for image in _IMAGES:
        yield from lower(_of(Binarize("op", ()), (1, *image), y=UNIT), Target()).calls


def _expand_depthwise() -> Iterator[KernelCall]:
    for (k, s), (number, (h, w, cin, channels)) in product(
        product((3, 5, 7), (1, 2)), enumerate(_EXPANDED)
    ):
        call = lower(_expanded(h, w, cin, channels, k, s), Target()).calls[0]
        yield from _variants(call, number)


def _expanded(h: int, w: int, cin: int, channels: int, k: int, s: int) -> Graph:
    """A depthwise convolution of a 1x1 one, in one operator."""
    expand, then = Conv2d("expand", ()), Conv2d("then", (), (s, s), (k // 2,) * 4, groups=channels)
    first = layer_graph(expand, (1, h, w, cin), (channels, 1, 1, cin), _rng(), zero_points=(-11, 5))
    between = replace(first.value("y"), name="between")
    second = layer_graph(
        then, between.shape, (channels, k, k, 1), _rng(), zero_points=(between.q.zero_point, 5)
    )
    x, weights, bias = (replace(v, name=f"{v.name}2") for v in second.operands(then))
    op = ExpandDepthwise("op", (), expand, then, replace(x, name="between"))
    return op_graph(op, [*first.operands(expand), weights, bias], second.value("y").q)


def _depthwise() -> Iterator[KernelCall]:
    found = (re.match(r"mcuc_depthwise_(\d+)x(\d+)s(\d+)r(\d+)_s8$", k) for k in kernels())
    windows = sorted(tuple(int(n) for n in m.groups()) for m in found if m)
    for kh, kw, s, step in windows:
        layers = _DEPTHWISE[::2] if kh == 1 else _DEPTHWISE + _SQUARES
        for number, layer in enumerate(layers):
            yield from _of_window(number, layer, kh, kw, s, step)
    for h, w, channels, padded in _DEPTHWISE:
        graph = _conv((h, w, channels), channels, (3, 2), (1, 2), padded, channels)
        yield from lower(graph, Target()).calls


def _of_window(
    number: int, layer: tuple[int, int, int, int], kh: int, kw: int, s: int, step: int
) -> Iterator[KernelCall]:
    """A layer for a kernel of mcuc/depthwise.h, whether it would be chosen or not."""
    h, w, channels, padded = layer
    if not padded:
        h, w = max(h, kh), max(w, kw)
    pads = ((kh - 1) // 2, (kw - 1) // 2) if padded else (0, 0)
    if min(h + 2 * pads[0] - kh, w + 2 * pads[1] - kw) < 0:
        return
    graph = _conv((h, w, channels), channels, (kh, kw), (s, s), 0, channels, pads)
    (call,) = lower(graph, Target()).calls
    pairs = call.params.get("pairs")
    if not isinstance(pairs, int):  # another kernel suits it better
        return
    call = replace(
        call,
        kernel=f"mcuc_depthwise_{kh}x{kw}s{s}r{step}_s8",
        scratch=16 * (((step - 1) * s + kh) * pairs + kh * (kw - 1)),
    )
    if number < len(_DEPTHWISE) and number % 2 == 0:
        yield from _variants(call, number)
    else:
        yield call


def _wide() -> Iterator[KernelCall]:
    """Operators of which some activations are int16."""
    for h, w, c in [(12, 12, 16), (6, 5, 40), (9, 9, 10), (7, 11, 3), (5, 6, 64)]:
        image = (1, h, w, c)
        yield from _widened(_conv((h, w, c), 24, (1, 1)))
        yield from _widened(_conv((h, w, c), 8, (3, 3), pad=1))
        yield from _widened(_conv((h, w, c), c, (3, 3), pad=1, groups=c))
        yield from _widened(_conv((h, w, c), 12, (h, w)))
        yield from _widened(_of(Add("op", ()), image, image))
        yield from _widened(_of(GlobalAveragePool("op", ()), image))
        yield from _widened(_of(AveragePool("op", (), (3, 3), (2, 2)), image))
        narrow = [Value("x", image, "int16", QParams((_X.scale[0] / 256,), bits=16))]
        yield from lower(op_graph(Narrow("op", ()), narrow, _Y), Target()).calls


def _widened(graph: Graph) -> Iterator[KernelCall]:
    """The operator of `graph` with int16 out, in, and both."""
    (op,), y = graph.ops(), graph.value("y")
    for given, bits in ((False, 16), (True, 8), (True, 16)):
        operands = [as_int16(v) if given and not v.is_constant else v for v in graph.operands(op)]
        result = as_int16(y).q if bits == 16 else y.q
        yield from lower(op_graph(widened(op, bits), operands, result), Target()).calls


def _float() -> Iterator[KernelCall]:
    """Operators on float32 numbers."""
    for number, (h, w, c) in enumerate(_IMAGES):
        image = (1, h, w, c)
        graphs = [
            _conv((h, w, c), 24, (1, 1)),
            _conv((h, w, c), 10, (3, 3), pad=1),
            _conv((h, w, c), 8, (3, 3), (2, 2)),
            _conv((h, w, c), c, (3, 3), pad=1, groups=c),
            _conv((h, w, c), c, (5, 5), (2, 2), pad=2, groups=c),
            _conv((h, w, c), 12, (h, w)),
            _of(Add("op", ()), image, image),
            _of(Mul("op", ()), image, (1, 1, 1, c)),
            _of(GlobalAveragePool("op", ()), image),
            _of(AveragePool("op", (), (3, 3), (2, 2)), image),
            _of(MaxPool("op", (), (2, 2), (2, 2)), image, y=_X),
            layer_graph(Dense("op", ()), (1, 16 * c), (12, 16 * c), _rng()),
        ]
        for graph in graphs if number < 6 else graphs[:4]:
            yield from lower(as_float(graph), Target()).calls
        for name in sorted(FLOAT_FUNCTIONS):
            x = Value("x", image, "float32", REAL)
            graph = op_graph(FloatFunction("op", (), name, 0.3, 0.2), [x], REAL)
            (call,) = lower(graph, Target()).calls
            yield call
            yield by_rows(call, h)


def _variants(call: KernelCall, number: int) -> Iterator[KernelCall]:
    """A plain layer, and it with a bound, two of them, a shift, or wide."""
    yield call
    if call.kernel.endswith("_any_s8"):
        return
    changes = [{"lo": -50}, {"lo": -50, "hi": 60}, {"shift": 2}, {"wide": 1}]
    change = changes[number % len(changes)]
    if change == {"wide": 1} and "wide" not in call.params:
        change = {"hi": 60}
    name = call.kernel.replace("_s8", "_any_s8")
    yield replace(call, kernel=name, params={**call.params, **change})


def _conv(
    image: tuple[int, int, int],
    cout: int,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pad: int = 0,
    groups: int = 1,
    pads: tuple[int, int] | None = None,
) -> Graph:
    top, left = pads or (min(pad, kernel[0] // 2), min(pad, kernel[1] // 2))
    op = Conv2d("op", (), strides, (top, left, top, left), groups=groups)
    weights = (cout, *kernel, image[2] // groups)
    return layer_graph(op, (1, *image), weights, _rng(), zero_points=(-11, 5))


def _rng() -> np.random.Generator:
    return np.random.default_rng(_SEED)


def _of(op: Op, shape: tuple[int, ...], *others: tuple[int, ...], y: QParams = _Y) -> Graph:
    """`op` on inputs of these shapes."""
    shapes = [shape, *others]
    q = [_X] * len(shapes) if isinstance(op, Concat) else [_X, _Y]
    values = [Value(f"x{i}", s, "int8", q[i]) for i, s in enumerate(shapes)]
    return op_graph(op, values, y)


def _elementwise() -> Iterator[Graph]:
    for image in _IMAGES:
        for kind in (Add, Mul):
            for clamp in (None, (0.0, 2.0)):
                yield _of(kind("op", (), clamp=clamp), (1, *image), (1, *image))
            yield _of(kind("op", ()), (1, *image), (1, 1, 1, image[2]))
        yield _of(Unary("op", (), "sigmoid"), (1, *image))
        yield _of(Add("op", (), rounding="tflite"), (1, *image), (1, *image))
        yield _of(GlobalAveragePool("op", (), rounding="tflite"), (1, *image))
    for rows, width in [(1, 10), (1, 1000), (1, 2), (5, 12), (1, 100), (7, 33)]:
        yield _of(Softmax("op", ()), (1, rows, width), y=QParams((1 / 256,), -128))


def _recurrent() -> Iterator[Graph]:
    sigmoid, tanh = Activation("sigmoid"), Activation("tanh")
    for number, (time, width, hidden) in enumerate(_RECURRENT):
        fields: dict[str, Any] = {"hidden": hidden, "sequence": number % 2 == 0}
        for op in (
            Lstm("op", (), activations=(sigmoid, tanh, tanh), **fields, peepholes=number % 4 == 3),
            Gru("op", (), activations=(sigmoid, tanh), **fields, reset_sums=number % 2 == 1),
            Rnn("op", (), activations=(tanh,), **fields),
        ):
            rng, rows = _rng(), op.gates * hidden
            shapes = (rows, width), (rows, hidden), (op.added,)
            yield recurrent_graph(
                op, time, _X, [QParams((1 / 128,))], [rng.normal(0, 0.1, s) for s in shapes]
            )


def _pools() -> Iterator[Graph]:
    for number, image in enumerate(_IMAGES):
        clamp = (0.0, 2.0) if number % 2 else None
        for size, stride, pad in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0), (3, 3, 0), (5, 1, 2)]:
            if min(image[:2]) < size:
                continue
            window = ((size, size), (stride, stride), (pad,) * 4)
            yield _of(MaxPool("op", (), *window, clamp=clamp), (1, *image), y=_X)
            yield _of(AveragePool("op", (), *window, clamp=clamp), (1, *image))
        if number % 2:
            window = ((image[0], 1), (1, 1), (0, 0, 0, 0))
            yield _of(MaxPool("op", (), *window), (1, *image), y=_X)
            yield _of(AveragePool("op", (), *window), (1, *image))
        yield _of(GlobalAveragePool("op", (), clamp), (1, *image))
        yield _of(GlobalMaxPool("op", (), clamp), (1, *image), y=_X)
    for image in [(24, 24, 64), (7, 7, 320), (1, 1, 256), (1, 3, 160), (20, 20, 12), (2, 2, 192)]:
        yield _of(GlobalAveragePool("op", ()), (1, *image))
        yield _of(GlobalMaxPool("op", ()), (1, *image), y=_X)


def _moves() -> Iterator[Graph]:
    for h, w, c in _IMAGES:
        x = (1, h, w, c)
        for axis, other in [(3, (1, h, w, 12)), (3, (1, h, w, 7)), (1, (1, 5, w, c))]:
            yield _of(Concat("op", (), axis), x, other, y=_X)
        yield _of(Concat("op", (), 3), x, x, x, y=_X)
        for mode, pads in product(("constant", "edge", "reflect"), _paddings()):
            yield _of(Pad("op", (), pads, 0.0, mode), x, y=_X)
        for perm in [(0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 3, 2, 1)]:
            yield _of(Transpose("op", (), perm), x, y=_X)


def _paddings() -> list[tuple[tuple[int, int], ...]]:
    none = (0, 0)
    return [(none, (1, 1), (1, 1), none), (none, (0, 2), (2, 1), none), (none, none, none, (0, 2))]


def _random_calls() -> Iterator[KernelCall]:
    """Small cases of the fuzz tests, which reach every kernel."""
    taken: Counter[str] = Counter()
    for family, number in product(FAMILIES, range(RANDOM_CASES)):
        random = case(family, number)
        (call,) = lower(random.graph, Target(**random.wishes)).calls
        if call.header == "mcuc/tflite.h":  # extreme scales, with which all of it folds away
            continue
        taken[call.kernel] += 1
        if taken[call.kernel] <= (PER_KERNEL if call.header in COUNTED else PER_OTHER):
            yield call
