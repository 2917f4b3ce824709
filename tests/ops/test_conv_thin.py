"""Convolutions of few input channels: kernel choice, and the C code on host and core."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile.ir import Graph, QParams
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.plan.program import Target
from tests.ops.test_conv import conv
from tests.support.ckit import check_graphs, random_inputs
from tests.support.graphs import merged
from tests.support.kernelkit import Case, KernelProgram, Rows
from tests.support.layers import kernel_call, with_bias
from tests.support.machines import HOST
from tests.support.on_core import check_on_core
from tests.support.tools import needs_qemu

THIN, ANY, CONV2D = "mcuc_conv_thin_s8", "mcuc_conv_thin_any_s8", "mcuc_conv2d_s8"


def random_thin(rng: np.random.Generator) -> Graph:
    """Any convolution that the kernel takes: every rest of pixels, channels and words, rows at any
    address, padding beyond the window."""
    kh, kw = int(rng.integers(1, 6)), int(rng.integers(1, 12))
    sh, sw, dh = (int(v) for v in rng.choice([1, 1, 2, 3], 3))
    pads = tuple(int(p) for p in rng.integers(0, 5, 4))
    height = max(int(rng.integers(2, 12)), (kh - 1) * dh + 1 - pads[0] - pads[2])
    width = max(int(rng.integers(2, 20)), kw - pads[1] - pads[3])
    return conv(
        (height, width, int(rng.choice([1, 2, 3, 5, 6]))),
        int(rng.integers(1, 8)),
        (kh, kw),
        int(rng.integers(1 << 30)),
        strides=(sh, sw),
        pads=(pads[0], pads[1], pads[2], pads[3]),
        dilations=(dh, 1),
        clamp=None if rng.random() < 0.7 else (-0.5, 1.0),
    )


def first_layers() -> list[Graph]:
    """Small ones of the shapes that models have."""
    return [
        conv((10, 12, 3), 8, (3, 3), strides=(2, 2), pads=(0, 0, 1, 1)),  # aligned rows, pairs
        conv((7, 9, 3), 5, (3, 3), pads=(1, 1, 1, 1)),  # odd step: copies
        conv((13, 10, 1), 6, (10, 4), strides=(2, 2), pads=(4, 1, 5, 1)),  # unrolled, no copies
        conv((13, 16, 1), 3, (10, 8), strides=(2, 2), pads=(4, 3, 5, 3)),
        conv((9, 11, 1), 4, (5, 5)),
        conv((3, 25, 6), 4, (1, 17), pads=(0, 3, 0, 3)),  # long kernel rows
        conv((18, 6, 1), 2, (16, 3), strides=(1, 3)),  # the most kernel rows
        conv((6, 300, 3), 2, (3, 3), strides=(2, 2)),  # pairs would take too much scratch
    ]


def extremes() -> list[Graph]:
    """Saturation, weights of -128, sums apart from each other, multipliers above one half."""
    image, kernel = (5, 7, 3), (3, 3)
    wide = with_bias(conv(image, 4, kernel), np.array([5, 1 << 23, 9, -(1 << 24)]))
    wide.set_value(replace(wide.value("y"), qparams=QParams((10.0,), 3)))
    return [
        conv(image, 3, kernel, gain=4.0, zero_points=(-128, 127)),
        conv(image, 5, kernel, least=-128, gain=0.2, zero_points=(127, -128)),
        conv(image, 3, kernel, gain=1500.0, pads=(2, 2, 2, 2)),
        wide,
    ]


def test_random_cases(tmp_path: Path) -> None:
    """Parameters at run time; all rows at once, in bands, and row by row on rings."""
    rng = np.random.default_rng(11)
    graphs = first_layers() + [random_thin(rng) for _ in range(300)]
    calls = [kernel_call(graph) for graph in graphs]
    assert {call.kernel for call in calls[:8]} == {THIN}
    assert sum(call.kernel in (THIN, ANY) for call in calls) >= 270  # the others are pointwise
    KernelProgram(HOST, tmp_path).check(
        [
            Case(f"thin {i}", graph, tuple(random_inputs(graph, 2, rng)), rows=_rows(graph))
            for i, graph in enumerate(graphs)
        ]
    )


def _rows(graph: Graph) -> Rows:
    (op,) = graph.ops()
    assert isinstance(op, Conv2d)
    reach = (graph.value("w").shape[1] - 1) * op.dilations[0] + 1
    return Rows(op.strides[0], op.pads[0], reach)


def test_extreme_numbers() -> None:
    graphs = extremes()
    calls = [kernel_call(g) for g in graphs]
    assert [c.kernel for c in calls] == [THIN, ANY, ANY, ANY]
    assert [c.params["wide"] for c in calls] == [0, 1, 0, 1]
    check_graphs(graphs)


@needs_qemu
@pytest.mark.parametrize("optimize", ["time", "balanced", "ram"])
def test_under_qemu(optimize: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    tiny = [conv((3, w, 1), 2, (2, 2), w, strides=(1, w % 2 + 1)) for w in range(5, 12)]  # shared
    graph = merged([random_thin(rng) for _ in range(10)] + first_layers() + extremes() + tiny)
    check_on_core(graph, optimize, tmp_path)


@pytest.mark.parametrize(
    ("graph", "kernel"),
    [
        (conv((8, 8, 3), 4, (3, 3), clamp=(0.0, 0.5)), ANY),
        (conv((8, 8, 4), 4, (3, 3), strides=(2, 2)), CONV2D),  # pixels are words
        (conv((8, 8, 3), 4, (3, 3), dilations=(1, 2)), CONV2D),
        (conv((8, 8, 3), 4, (3, 3), dilations=(2, 1)), THIN),
        (conv((8, 8, 6), 4, (3, 3), groups=2), CONV2D),
        (conv((20, 4, 1), 4, (17, 3)), CONV2D),
        (conv((4, 3000, 1), 1, (2, 2)), CONV2D),  # rows of 3000 elements
    ],
)
def test_kernel(graph: Graph, kernel: str) -> None:
    assert kernel_call(graph).kernel == kernel


def test_rows_have_copies_only_where_memory_allows() -> None:
    graph = conv((96, 96, 3), 8, (3, 3), strides=(2, 2), pads=(0, 0, 1, 1))
    row = 47 * 6 + 10  # elements that the last window ends with
    assert lower(graph, Target(optimize="ram")).calls[0].scratch == 3 * 2 * row
    assert lower(graph, Target()).calls[0].scratch == 3 * (4 * row + 4 * 6)
