"""Layers with weights in fewer than eight bits: the same bits as the reference, in fewer bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.ops.dense import Dense
from mcucompile.ops.gemm_packed import flash_bytes
from mcucompile.plan.program import KernelCall, Packing, Target
from mcucompile.quant.tflite import with_rounding
from tests.ops.test_conv import conv
from tests.support.ckit import check_graphs, random_inputs
from tests.support.kernelkit import Case, KernelProgram
from tests.support.layers import few_valued_graph, layer_graph
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

PACKINGS: tuple[Packing, ...] = ("palette", "huffman")


class Forced:
    """A machine for which the weights of every layer are packed."""

    def __init__(self, machine: Machine, packing: Packing) -> None:
        self.name, self.build, self.run = machine.name, machine.build, machine.run
        self.target = replace(machine.target, packed={"": packing})


def call_of(graph: Graph, target: Target | None = None) -> KernelCall:
    (call,) = lower(graph, target or Target()).calls
    return call


def random_layer(rng: np.random.Generator, values: int) -> Graph:
    """A vector, pixels or windows; odd sizes; one block of channels or several."""
    least = int(rng.choice([-127, -128]))
    kind = rng.integers(4)
    if kind == 0:
        cin, cout = int(rng.integers(30, 300)), int(rng.integers(2, 40))
        layer = Dense("dense", ("node",))
        graph = layer_graph(layer, (1, cin), (cout, cin), rng, least=least)
        return few_valued_graph(graph, values, rng)
    kernel, strides, pads = (1, 1), (1, 1), (0, 0, 0, 0)
    if kind == 1:
        kernel = (int(rng.choice([1, 3, 3, 2])), int(rng.choice([2, 3, 3])))
        strides = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        pads = (1, 0, int(rng.integers(0, 2)), 1)
    depth = int(rng.choice([4 * rng.integers(2, 12), rng.integers(5, 60)]))
    image = (int(rng.integers(3, 9)), int(rng.integers(3, 10)), depth)
    graph = conv(
        image,
        int(rng.integers(4, 70)),
        kernel,
        int(rng.integers(1 << 30)),
        strides=strides,
        pads=pads,
        clamp=None if rng.random() < 0.7 else (-0.5, 1.0),
        least=least,
        gain=float(rng.choice([0.2, 1.0, 4.0, 1500.0])),
        per_channel=bool(rng.random() < 0.8),
    )
    return few_valued_graph(graph, values, rng)


def random_case(name: str, rng: np.random.Generator, packing: Packing) -> Case:
    most = 16 if packing == "palette" else 256
    graph = random_layer(rng, int(rng.choice([2, 3, 4, 7, 8, 11, 16, most])))
    wishes = {
        "packed": {"": packing},
        "optimize": str(rng.choice(["time", "balanced", "ram"])),
        "winograd": bool(rng.random() < 0.2),
    }
    return Case(name, graph, tuple(random_inputs(graph, 2, rng)), wishes)


# -- the C code ---------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", PACKINGS)
def test_random_layers_in_every_way_they_may_be_called(packing: Packing, tmp_path: Path) -> None:
    rng = np.random.default_rng(41)
    cases = [random_case(f"case {i}", rng, packing) for i in range(30)]
    calls = [call_of(c.graph, Target(**c.wishes)) for c in cases]
    assert {c.kernel for c in calls if "packed" in c.kernel} == {
        *("mcuc_conv1x1_packed_s8", "mcuc_conv1x1_packed_any_s8"),
        *("mcuc_conv2d_packed_s8", "mcuc_conv2d_packed_any_s8"),
    }
    bits = {c.params["bits"] for c in calls if "packed" in c.kernel}
    assert bits == ({1, 2, 3, 4} if packing == "palette" else {0})
    KernelProgram(HOST, tmp_path).check(cases)


@pytest.mark.parametrize("packing", PACKINGS)
def test_with_constant_parameters_and_the_rounding_of_tflite(packing: Packing) -> None:
    rng = np.random.default_rng(42)
    graphs = [random_layer(rng, values) for values in (2, 4, 8, 16)]
    graphs.append(with_rounding(random_layer(rng, 16), "tflite"))
    check_graphs(graphs, machine=Forced(HOST, packing))


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core, tmp_path: Path) -> None:
    rng = np.random.default_rng(43)
    cases = [random_case(f"case {i}", rng, PACKINGS[i % 2]) for i in range(40)]
    KernelProgram(core, tmp_path).check(cases)
    check_graphs([random_layer(rng, 16) for _ in range(3)], machine=Forced(core, "palette"))


# -- how they are stored -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "bits"), [(2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4)]
)
def test_places_in_the_palette_take_as_few_bits_as_they_can(values: int, bits: int) -> None:
    graph = few_valued_graph(conv((12, 12, 64), 64, (1, 1)), values, np.random.default_rng(1))
    call = call_of(graph, Target(packed={"w": "palette"}))
    assert call.params["bits"] == bits
    codes, ends, palette = (const.data.nbytes for const in call.consts)
    assert (codes, ends, palette) == (64 * 64 * bits // 8, 64 * 8, 2**bits)
    assert f"take {values} values" in call.why


def test_weights_of_four_bits_are_half_of_those_of_eight() -> None:
    graph = few_valued_graph(conv((24, 24, 64), 64, (1, 1)), 16, np.random.default_rng(1))
    packed = call_of(graph, Target(packed={"": "palette"}))
    ends = 8 * 64  # of biases and multipliers, which both have
    assert flash_bytes(packed) - ends <= 0.52 * (flash_bytes(call_of(graph)) - ends)


def test_only_what_was_asked_for_is_packed() -> None:
    graph = few_valued_graph(conv((12, 12, 64), 64, (1, 1)), 16, np.random.default_rng(1))
    assert call_of(graph).kernel == "mcuc_conv1x1_s8"
    assert call_of(graph, Target(packed={"other": "palette"})).kernel == "mcuc_conv1x1_s8"
    many = conv((12, 12, 64), 64, (1, 1))
    assert call_of(many, Target(packed={"": "palette"})).kernel == "mcuc_conv1x1_s8"


def test_many_zeros_are_left_out_where_that_is_smaller() -> None:
    graph = few_valued_graph(conv((12, 12, 64), 64, (1, 1)), 16, np.random.default_rng(1))
    weights = graph.value("w")
    assert weights.data is not None
    data = weights.data.reshape(64, 16, 4).copy()
    data[:, :, :] *= (np.arange(16) % 8 == 0)[:, None]
    graph.set_value(replace(weights, data=data.reshape(weights.shape)))
    assert "sparse" in call_of(graph, Target(packed={"": "palette"})).kernel


def test_promises_are_those_of_the_direct_kernel_if_all_channels_are_decoded_at_once() -> None:
    graph = few_valued_graph(conv((9, 7, 64), 32, (1, 1)), 16, np.random.default_rng(1))
    dense, packed = (call_of(graph, Target(packed=p)) for p in ({}, {"": "palette"}))
    own = {"kernel": "", "header": "", "params": {}, "why": "", "scratch": 0}
    assert replace(packed, **own) == replace(dense, **own)
    assert packed.in_place
    ram = call_of(graph, Target(packed={"": "palette"}, optimize="ram"))
    assert ram.params["block"] == 16
    assert not ram.in_place
    assert ram.scratch < packed.scratch
