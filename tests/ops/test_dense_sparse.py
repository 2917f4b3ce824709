"""Dense layers with block-sparse weights: the same bits as the reference, and where they pay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.ops.dense import Dense
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.tflite import with_rounding
from tests.ops.test_conv_sparse import WISHES, Forced
from tests.support.ckit import check_graphs, random_inputs
from tests.support.kernelkit import Case, KernelProgram
from tests.support.layers import layer_graph, sparse_graph
from tests.support.machines import HOST
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu


def dense(
    cin: int, cout: int, sparsity: float, rng: np.random.Generator, least: int = -127
) -> Graph:
    graph = layer_graph(Dense("dense", ("node",)), (1, cin), (cout, cin), rng, least=least)
    return sparse_graph(graph, sparsity, rng, (min(cout, 4), 4))


def call_of(graph: Graph, target: Target | None = None) -> KernelCall:
    (call,) = lower(graph, target or Target()).calls
    return call


def random_case(name: str, rng: np.random.Generator) -> Case:
    """Any rest of channels, any share of zeros, narrow and wide."""
    cin, cout = 4 * int(rng.integers(1, 60)), int(rng.integers(1, 20))
    sparsity = float(rng.choice([0.0, 0.3, 0.5, 0.75, 0.9, 1.0]))
    graph = dense(cin, cout, sparsity, rng, int(rng.choice([-127, -128])))
    if rng.random() < 0.3:
        (op,) = graph.ops_of(Dense)
        graph = graph.copy()
        graph.set_op(replace(op, clamp=(-0.5, 1.0)))
    return Case(name, graph, tuple(random_inputs(graph, 2, rng)), WISHES)


def test_random_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(31)
    cases = [random_case(f"case {i}", rng) for i in range(100)]
    kernels = {call_of(c.graph, Target(sparse=True)).kernel for c in cases}
    assert kernels == {"mcuc_dense_sparse_s8", "mcuc_dense_sparse_any_s8"}
    KernelProgram(HOST, tmp_path).check(cases)


def test_with_constant_parameters_and_the_rounding_of_tflite() -> None:
    rng = np.random.default_rng(32)
    graphs = [dense(4 * n, 3 * n, 0.5, rng) for n in (3, 10)]
    check_graphs(graphs, machine=Forced(HOST))
    check_graphs([with_rounding(g, "tflite") for g in graphs], machine=Forced(HOST))


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core, tmp_path: Path) -> None:
    rng = np.random.default_rng(33)
    KernelProgram(core, tmp_path).check([random_case(f"case {i}", rng) for i in range(40)])


@pytest.mark.parametrize(("sparsity", "expected"), [(0.0, False), (0.5, True), (0.75, True)])
def test_kernels_are_chosen_by_the_blocks_that_are_zero(sparsity: float, expected: bool) -> None:
    graph = dense(640, 128, sparsity, np.random.default_rng(1))
    assert ("sparse" in call_of(graph).kernel) == expected
    assert "sparse" not in call_of(graph, Target(sparse=False)).kernel
