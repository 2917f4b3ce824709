"""Transposes that a Reshape keeps apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.join_transposes import join_transposes
from mcucompile.reference.float_interpreter import run_float
from tests.unit.test_quant_graph import Net, kinds


def chain(
    x: tuple[int, ...], first: tuple[int, ...], shape: tuple[int, ...], last: tuple[int, ...]
) -> Graph:
    net = Net("x")
    net.graph.set_value(replace(net.graph.value("x"), shape=x))
    net(Transpose, "a", "x", perm=first)
    net(Reshape, "b", "a", shape=shape)
    net(Transpose, "y", "b", perm=last)
    return net.outputs("y")


@pytest.mark.parametrize(
    ("case", "left"),
    [
        # a mean over the width, squeezed, and on to the mean over the height
        (((1, 3, 1, 5), (0, 3, 1, 2), (1, 5, 3), (0, 2, 1)), ["Reshape"]),
        (((1, 4, 5), (0, 2, 1), (1, 5, 1, 4), (0, 3, 2, 1)), ["Reshape"]),
        (((1, 2, 3, 4), (0, 3, 1, 2), (1, 4, 1, 2, 3), (0, 2, 1, 4, 3)), ["Transpose", "Reshape"]),
        # pixels are joined
        (((1, 2, 3, 5), (0, 3, 1, 2), (1, 5, 6), (0, 2, 1)), ["Transpose", "Reshape", "Transpose"]),
    ],
)
def test_axes_of_length_1_come_and_go(case: tuple[tuple[int, ...], ...], left: list[str]) -> None:
    before = chain(*case)
    after = join_transposes(before)
    assert kinds(after) == left
    x = np.random.default_rng(0).normal(size=case[0]).astype(np.float32)
    np.testing.assert_array_equal(run_float(after, [x])[0], run_float(before, [x])[0])


def test_values_that_others_need_stay() -> None:
    graph = chain((1, 3, 1, 5), (0, 3, 1, 2), (1, 5, 3), (0, 2, 1))
    graph.outputs = ("y", "b")
    graph.output_ports = (graph.output_ports[0], replace(graph.output_ports[0], shape=(1, 5, 3)))
    assert kinds(join_transposes(graph)) == ["Transpose", "Reshape", "Transpose"]
