"""Depthwise convolutions: kernel choice, and the C code in place and out of place."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.plan.planner import make_plan
from mcucompile.plan.program import Target
from tests.support.ckit import check_graphs
from tests.support.layers import kernel_call, layer_graph


def depthwise(
    image: tuple[int, int, int],
    kernel: tuple[int, int],
    seed: int = 0,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    clamp: tuple[float, float] | None = None,
    gain: float = 1.0,
    zero_points: tuple[int, int] | None = None,
) -> Graph:
    """A graph of one depthwise convolution with random numbers; image: height, width, channels."""
    channels = image[2]
    return layer_graph(
        Conv2d("conv", ("node",), strides, pads, dilations, channels, clamp),
        (1, *image),
        (channels, *kernel, 1),
        np.random.default_rng(seed),
        least=-128,
        gain=gain,
        zero_points=zero_points,
    )


def same(kernel: int) -> tuple[int, int, int, int]:
    """Padding that keeps the size."""
    p = (kernel - 1) // 2
    return (p, p, kernel - 1 - p, kernel - 1 - p)


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_fast_windows(kernel: int) -> None:
    """Every stride, odd and even padding, rests of 4 pixels and of 4 channels, tiny images."""
    graphs = [
        depthwise((4, 6, 8), (kernel, kernel), 1, pads=same(kernel)),
        depthwise((3, 1, 4), (kernel, kernel), 2, pads=same(kernel)),
        depthwise((1, 5, 6), (kernel, kernel), 3, pads=same(kernel), clamp=(0.0, 0.4)),
        depthwise((7, 7, 3), (kernel, kernel), 4, (2, 2), (0, 0, 1, 1)),
        depthwise((9, 8, 5), (kernel, kernel), 5, (3, 2), (1, 2, 0, 3)),
        depthwise((8, 9, 4), (kernel, kernel), 6, (kernel + 1, 1), (1, 3, 2, 0), gain=2000.0),
    ]
    assert all("mcuc_depthwise_" in kernel_call(g).kernel for g in graphs)
    check_graphs(graphs)


def test_any_window() -> None:
    rng = np.random.default_rng(1)
    graphs = []
    for seed in range(12):
        kh, kw, sh, sw, dh, dw = (int(v) for v in rng.choice([1, 1, 2, 3, 4], 6))
        top, left, bottom, right = (int(p) for p in rng.integers(0, 3, 4))
        height = max(int(rng.integers(1, 8)), (kh - 1) * dh + 1 - top - bottom)
        width = max(int(rng.integers(1, 8)), (kw - 1) * dw + 1 - left - right)
        image = (height, width, int(rng.integers(2, 10)))
        pads = (top, left, bottom, right)
        graphs.append(depthwise(image, (kh, kw), seed, (sh, sw), pads, (dh, dw)))
    check_graphs(graphs)


def test_columns_are_laid_on_their_side() -> None:
    graphs = [
        depthwise((28, 1, 6), (3, 1)),
        depthwise((15, 1, 4), (10, 1)),
        depthwise((15, 1, 5), (15, 1)),
        depthwise((12, 1, 4), (5, 1), pads=(2, 0, 2, 0), dilations=(2, 1)),
    ]
    assert all(kernel_call(g).reads[0].rows == 1 for g in graphs)
    check_graphs(graphs)


def test_flat_windows() -> None:
    graphs = [
        depthwise((2, 11, 6), (1, 5), pads=(0, 3, 0, 1)),
        depthwise((1, 8, 4), (1, 7), pads=(0, 3, 0, 3)),
        depthwise((3, 10, 3), (1, 9), pads=(1, 2, 0, 0), strides=(2, 1)),
    ]
    names = [kernel_call(g).kernel for g in graphs]
    assert names == [f"mcuc_depthwise_1x{k}s1r1_s8" for k in (5, 7, 9)]
    check_graphs(graphs)


def test_extreme_numbers() -> None:
    graphs = [
        depthwise((4, 5, 4), (k, k), pads=same(k), gain=gain, zero_points=zeros)
        for k in (2, 3)
        for gain, zeros in [(0.1, (-128, 127)), (5.0, (127, -128))]
    ]
    check_graphs(graphs)


@pytest.mark.parametrize(
    ("kernel", "strides", "dilations", "name"),
    [
        ((3, 3), (1, 1), (1, 1), "mcuc_depthwise_3x3s1r6_s8"),
        ((5, 5), (1, 2), (1, 1), "mcuc_depthwise_5x5s2r1_s8"),
        ((7, 7), (2, 2), (1, 1), "mcuc_depthwise_7x7s2r1_s8"),
        ((3, 3), (1, 1), (2, 2), "mcuc_depthwise_s8"),
        ((3, 3), (3, 3), (1, 1), "mcuc_depthwise_s8"),
        ((3, 5), (1, 1), (1, 1), "mcuc_depthwise_s8"),
    ],
)
def test_kernel(
    kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int], name: str
) -> None:
    graph = depthwise((9, 9, 4), kernel, strides=strides, dilations=dilations)
    assert kernel_call(graph).kernel == name


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "shares"),
    [
        ((3, 3), (1, 1), same(3), True),
        ((2, 2), (1, 1), same(2), True),
        ((3, 3), (2, 2), same(3), True),
        ((3, 3), (1, 1), (0, 0, 0, 0), True),
        ((3, 3), (1, 1), (0, 2, 0, 1), False),
    ],
)
def test_runs_in_place_unless_rows_grow(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    shares: bool,
) -> None:
    graph = depthwise((6, 5, 8), kernel, strides=strides, pads=pads)
    (step,) = make_plan(lower(graph, Target())).steps
    (read,) = step.reads
    assert read is not None
    assert (read.offset == step.writes[0].offset) is shares


def test_windows_of_padding_alone_forbid_writing_in_place() -> None:
    graphs = [
        depthwise((6, 1, 2), (1, 3), 1, (2, 2), (4, 0, 2, 3), (3, 1)),
        depthwise((6, 6, 4), (3, 3), 2, (2, 2), (5, 5, 3, 3)),
    ]
    assert [kernel_call(g).in_place for g in graphs] == [(), ()]
    check_graphs(graphs)


def test_a_multiplier_of_channels_is_a_grouped_convolution() -> None:
    op = Conv2d("conv", ("node",), pads=(1, 1, 1, 1), groups=5)
    graph = layer_graph(op, (1, 4, 5, 5), (10, 3, 3, 1), np.random.default_rng(0))
    assert kernel_call(graph).kernel == "mcuc_conv2d_s8"
    check_graphs([graph])
