"""Convolutions with block-sparse weights: the same bits as the reference, and where they pay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.tflite import with_rounding
from tests.ops.test_conv import conv
from tests.support.ckit import check_graphs, random_inputs
from tests.support.kernelkit import Case, KernelProgram
from tests.support.layers import sparse_graph
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

WISHES = {"sparse": True}


class Forced:
    """A machine for which every layer is sparse that can be."""

    def __init__(self, machine: Machine) -> None:
        self.name, self.build, self.run = machine.name, machine.build, machine.run
        self.target = replace(machine.target, sparse=True)


def call_of(graph: Graph, target: Target | None = None) -> KernelCall:
    (call,) = lower(graph, target or Target()).calls
    return call


def random_layer(rng: np.random.Generator) -> Graph:
    """Pointwise or not, odd sizes, some channels without blocks, any share of zeros."""
    groups, kernel = 1, (1, 1)
    strides, pads = (1, 1), (0, 0, 0, 0)
    if rng.random() < 0.5:
        groups = int(rng.choice([1, 1, 2]))
        kernel = (int(rng.choice([1, 3, 3, 2])), int(rng.choice([2, 3, 3])))
        strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        pads = (1, 0, int(rng.integers(0, 2)), 1)
    image = (
        int(rng.integers(3, 9)),
        int(rng.integers(3, 10)),
        groups * 4 * int(rng.integers(1, 9)),
    )
    graph = conv(
        image,
        groups * int(rng.integers(2, 9)),
        kernel,
        int(rng.integers(1 << 30)),
        groups,
        strides,
        pads,
        clamp=None if rng.random() < 0.7 else (-0.5, 1.0),
        least=int(rng.choice([-127, -128])),
        gain=float(rng.choice([0.2, 1.0, 4.0, 1500.0])),
        per_channel=bool(rng.random() < 0.8),
    )
    graph = sparse_graph(graph, float(rng.choice([0.0, 0.3, 0.5, 0.75, 0.9, 1.0])), rng)
    if rng.random() < 0.3:
        w = graph.value("w")
        assert w.data is not None
        data = w.data.copy()
        data[rng.integers(len(data))] = 0
        graph.set_value(replace(w, data=data))
    return graph


def random_case(name: str, rng: np.random.Generator) -> Case:
    graph = random_layer(rng)
    wishes = {**WISHES, "optimize": str(rng.choice(["balanced", "ram"]))}
    return Case(name, graph, tuple(random_inputs(graph, 2, rng)), wishes)


# -- the C code ---------------------------------------------------------------------------------


def test_random_layers_in_every_way_they_may_be_called(tmp_path: Path) -> None:
    rng = np.random.default_rng(21)
    cases = [random_case(f"case {i}", rng) for i in range(120)]
    kernels = {call_of(c.graph, Target(sparse=True)).kernel for c in cases}
    assert {k for k in kernels if "sparse" in k} == {
        *("mcuc_conv1x1_sparse_s8", "mcuc_conv1x1_sparse_any_s8"),
        *("mcuc_conv2d_sparse_s8", "mcuc_conv2d_sparse_any_s8"),
    }
    KernelProgram(HOST, tmp_path).check(cases)


def test_with_constant_parameters() -> None:
    rng = np.random.default_rng(22)
    check_graphs([random_layer(rng) for _ in range(6)], machine=Forced(HOST))


def test_with_the_rounding_of_tflite() -> None:
    rng = np.random.default_rng(23)
    graphs = [with_rounding(random_layer(rng), "tflite") for _ in range(4)]
    check_graphs(graphs, machine=Forced(HOST))


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core, tmp_path: Path) -> None:
    rng = np.random.default_rng(24)
    KernelProgram(core, tmp_path).check([random_case(f"case {i}", rng) for i in range(40)])
    check_graphs([random_layer(rng) for _ in range(3)], machine=Forced(core))


# -- where they pay -----------------------------------------------------------------------------


@pytest.mark.parametrize(("sparsity", "expected"), [(0.0, False), (0.5, True), (0.75, True)])
def test_kernels_are_chosen_by_the_blocks_that_are_zero(sparsity: float, expected: bool) -> None:
    graph = sparse_graph(conv((12, 12, 64), 64, (1, 1)), sparsity, np.random.default_rng(1))
    assert ("sparse" in call_of(graph).kernel) == expected
    assert "sparse" not in call_of(graph, Target(sparse=False)).kernel


def test_what_was_left_out_is_said() -> None:
    graph = sparse_graph(conv((12, 12, 64), 64, (1, 1)), 0.75, np.random.default_rng(1))
    assert call_of(graph).why == "75% of the 1x4 blocks of its weights are zero and left out"


def test_single_zeros_are_no_blocks() -> None:
    graph = conv((12, 12, 64), 64, (1, 1))
    w = graph.value("w")
    assert w.data is not None
    data = w.data.copy()
    data[..., ::4] = 0
    graph.set_value(replace(w, data=data))
    assert call_of(graph).kernel == "mcuc_conv1x1_s8"


def test_channels_that_are_not_fours_stay_dense() -> None:
    graph = sparse_graph(conv((8, 8, 30), 16, (1, 1)), 0.9, np.random.default_rng(1))
    assert "sparse" not in call_of(graph, Target(sparse=True)).kernel


def test_promises_are_those_of_the_dense_kernel() -> None:
    graph = sparse_graph(conv((9, 7, 32), 32, (1, 1)), 0.75, np.random.default_rng(1))
    dense, sparse = (call_of(graph, Target(sparse=wish)) for wish in (False, True))
    own = {"kernel": "", "header": "", "params": {}, "why": ""}
    assert replace(sparse, **own) == replace(dense, **own)
    assert sparse.in_place
    assert sparse.scratch == dense.scratch
