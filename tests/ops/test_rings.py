"""Spatial kernels row by row, their input in rings: row streaming needs no other kernels."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.plan.program import Target
from tests.ops.test_conv import random_conv
from tests.ops.test_depthwise import depthwise, same
from tests.ops.test_moves import pad_cases
from tests.ops.test_pool import average_cases, global_cases, max_cases
from tests.support.rings import Rows, check_in_rings


def _rows(graph: Graph) -> Rows:
    (op,) = graph.ops()
    if isinstance(op, Pad):
        return Rows(top=op.pads[1][0])
    assert isinstance(op, Conv2d | AveragePool | MaxPool)
    conv = isinstance(op, Conv2d)
    height = graph.operands(op)[1].shape[1] if conv else op.kernel[0]
    return Rows(op.strides[0], op.pads[0], (height - 1) * op.dilations[0] + 1)


def _check(graphs: list[Graph], least: int) -> None:
    """Check those with several rows, which must be `least` or more."""
    cases = [(g, _rows(g)) for g in graphs if lower(g, Target()).calls[0].writes[0].rows > 1]
    assert len(cases) >= least
    check_in_rings(cases)


def test_pools() -> None:
    _check([*max_cases(), *average_cases()], 12)


def test_global_pools() -> None:
    """Which fold rows instead."""
    cases = [g for g in global_cases() if g.value("x").shape[1] > 1]
    assert all(lower(g, Target()).calls[0].folding for g in cases)
    check_in_rings([(g, Rows()) for g in cases])


def test_pads() -> None:
    constant = [g for g in pad_cases() for op in g.ops_of(Pad) if op.mode == "constant"]  # type: ignore[attr-defined]
    _check([g for g in constant if len(g.value("x").shape) == 4], 4)


def test_convolutions() -> None:
    rng = np.random.default_rng(3)
    _check([random_conv(rng) for _ in range(16)], 10)


def test_depthwise_convolutions() -> None:
    graphs = [depthwise((9, 7, 6), (k, k), k, pads=same(k)) for k in (3, 5, 7)]
    graphs += [depthwise((8, 6, 4), (3, 3), 1, (2, 2), (0, 0, 1, 1))]
    graphs += [depthwise((9, 6, 4), (2, 4), 2, (1, 2), (1, 0, 2, 3), (2, 1))]
    _check(graphs, 5)
