"""Convolutions and dense layers of int8 whose instructions are counted, odd sizes too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from bench.cost_parts import DENSE, by_rows, conv_graph, kernels, rng, variants
from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.expand_depthwise import ExpandDepthwise
from mcucompile.plan.program import KernelCall, Target
from tests.support.graphs import op_graph
from tests.support.layers import layer_graph

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
# height, width, channels, padding
_DEPTHWISE = [(13, 13, 16, 1), (24, 24, 8, 1), (6, 6, 48, 1), (9, 11, 12, 1), (10, 10, 7, 1)]
_DEPTHWISE += [(5, 3, 20, 0), (14, 18, 4, 0), (12, 20, 24, 1), (7, 7, 32, 1), (17, 12, 10, 1)]
_DEPTHWISE += [(48, 48, 4, 1), (22, 37, 8, 1), (5, 5, 64, 1), (20, 72, 4, 1), (16, 31, 12, 0)]
_SQUARES = [(n, n, 16, 1) for n in (2, 3, 4, 8, 9, 10, 11, 12, 14, 16, 20)]  # as in many models
# height, width, channels in and of the depthwise convolution
_EXPANDED = [(12, 12, 16, 24), (10, 24, 24, 12), (9, 11, 12, 8), (7, 7, 40, 20), (8, 14, 8, 10)]
_EXPANDED += [(6, 9, 6, 4), (10, 10, 33, 6), (5, 48, 16, 4)]


def dense_weights() -> Iterator[KernelCall]:
    for number, (h, w, cin, cout) in enumerate(_POINTWISE):
        (call,) = lower(conv_graph((h, w, cin), cout, (1, 1)), Target()).calls
        yield from variants(call, number)
        yield from variants(by_rows(call, h), number + 1)
        if cout > cin:
            yield from variants(replace(call, kernel="mcuc_conv1x1_back_s8"), number)
        if number % 3 == 0:
            yield replace(call, params={**call.params, "small": 1})
    for number, (layer, wish) in enumerate(product(_CONVOLUTIONS + _THIN, (False, True))):
        h, w, cin, cout, kernel, strides, pad, groups = layer
        graph = conv_graph((h, w, cin), cout, kernel, strides, pad, groups)
        (call,) = lower(graph, Target(winograd=wish)).calls
        if wish == ("winograd" in call.kernel):
            yield from variants(call, number // 2)
            if number % 3 == 0 and "small" in call.params:
                yield replace(call, params={**call.params, "small": 1})
    for cin, cout in DENSE:
        graph = layer_graph(Dense("op", ()), (1, cin), (cout, cin), rng(), zero_points=(-11, 5))
        (call,) = lower(graph, Target()).calls
        yield call
        other = replace(call, kernel="mcuc_dense_s8", params={**call.params, "m": 0})
        yield from variants(other, cin)


def depthwise() -> Iterator[KernelCall]:
    found = (re.match(r"mcuc_depthwise_(\d+)x(\d+)s(\d+)r(\d+)_s8$", k) for k in kernels())
    windows = sorted(tuple(int(n) for n in m.groups()) for m in found if m)
    for kh, kw, s, step in windows:
        layers = _DEPTHWISE[::2] if kh == 1 else _DEPTHWISE + _SQUARES
        for number, layer in enumerate(layers):
            yield from _of_window(number, layer, kh, kw, s, step)
    for h, w, channels, padded in _DEPTHWISE:
        graph = conv_graph((h, w, channels), channels, (3, 2), (1, 2), padded, channels)
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
    graph = conv_graph((h, w, channels), channels, (kh, kw), (s, s), 0, channels, pads)
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
        yield from variants(call, number)
    else:
        yield call


def expand_depthwise() -> Iterator[KernelCall]:
    for (k, s), (number, (h, w, cin, channels)) in product(
        product((3, 5, 7), (1, 2)), enumerate(_EXPANDED)
    ):
        call = lower(_expanded(h, w, cin, channels, k, s), Target()).calls[0]
        yield from variants(call, number)


def _expanded(h: int, w: int, cin: int, channels: int, k: int, s: int) -> Graph:
    """A depthwise convolution of a 1x1 one, in one operator."""
    expand, then = Conv2d("expand", ()), Conv2d("then", (), (s, s), (k // 2,) * 4, groups=channels)
    first = layer_graph(expand, (1, h, w, cin), (channels, 1, 1, cin), rng(), zero_points=(-11, 5))
    between = replace(first.value("y"), name="between")
    second = layer_graph(
        then, between.shape, (channels, k, k, 1), rng(), zero_points=(between.q.zero_point, 5)
    )
    x, weights, bias = (replace(v, name=f"{v.name}2") for v in second.operands(then))
    op = ExpandDepthwise("op", (), expand, then, replace(x, name="between"))
    return op_graph(op, [*first.operands(expand), weights, bias], second.value("y").q)
