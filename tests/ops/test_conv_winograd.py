"""3x3 convolutions by Winograd: the same bits as the reference, by proof and by trial."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile.board import load_board
from mcucompile.ir import Graph, QParams
from mcucompile.lower import lower
from mcucompile.ops import conv_winograd, gemm
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import KernelCall, Optimize, Target
from tests.ops.test_conv import conv
from tests.support.ckit import check_graphs, random_inputs
from tests.support.kernelkit import Case, KernelProgram, Rows
from tests.support.layers import with_bias
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

WISHES = {"winograd": True}
ALWAYS = Target(winograd=True)
FOUR_SUMS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])  # A'
INPUTS = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])  # B'


class Forced:
    """A machine for which every layer is computed by Winograd that can be."""

    def __init__(self, machine: Machine) -> None:
        self.name, self.build, self.run = machine.name, machine.build, machine.run
        self.target = replace(machine.target, winograd=True)


def call_of(graph: Graph, target: Target = ALWAYS) -> KernelCall:
    (call,) = lower(graph, target).calls
    return call


def is_winograd(call: KernelCall) -> bool:
    return "winograd" in call.kernel


def random_layer(rng: np.random.Generator) -> Graph:
    """Any padding, sizes down to one row or column, any numbers of channels."""
    while True:
        pads = tuple(int(p) for p in rng.choice([0, 1, 1, 1, 2, 5], 4))
        height, width = (int(rng.choice([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17])) for _ in range(2))
        if height + pads[0] + pads[2] >= 3 and width + pads[1] + pads[3] >= 3:
            graph = conv(
                (height, width, int(rng.choice([1, 2, 3, 4, 6, 8, 12, 17, 20, 36, 68]))),
                int(rng.integers(1, 8)),
                (3, 3),
                int(rng.integers(1 << 30)),
                pads=(pads[0], pads[1], pads[2], pads[3]),
                clamp=None if rng.random() < 0.7 else (-0.5, 1.0),
                least=int(rng.choice([-127, -128])),
                gain=float(rng.choice([0.2, 1.0, 4.0, 1500.0])),
                per_channel=bool(rng.random() < 0.8),
            )
            if is_winograd(call_of(graph)):  # neither one window nor laid on its side
                return graph


def random_case(name: str, rng: np.random.Generator) -> Case:
    graph = random_layer(rng)
    (op,) = graph.ops_of(Conv2d)
    return Case(name, graph, tuple(random_inputs(graph, 2, rng)), WISHES, Rows(1, op.pads[0], 3))


# -- the C code ---------------------------------------------------------------------------------


def test_random_layers_in_one_call_in_bands_and_in_rings(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    cases = [random_case(f"case {i}", rng) for i in range(100)]
    shifts = {bool(call_of(c.graph).params["shift"]) for c in cases}
    tiles = {call_of(c.graph).params["tiles"] for c in cases}
    assert (shifts, tiles) == ({False, True}, {2, 4})
    KernelProgram(HOST, tmp_path).check(cases)


def test_with_constant_parameters() -> None:
    rng = np.random.default_rng(12)
    check_graphs([random_layer(rng) for _ in range(6)], machine=Forced(HOST))


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core, tmp_path: Path) -> None:
    rng = np.random.default_rng(13)
    KernelProgram(core, tmp_path).check([random_case(f"case {i}", rng) for i in range(24)])
    check_graphs([random_layer(rng) for _ in range(3)], machine=Forced(core))


@pytest.mark.parametrize("sign", [-1, 1])
def test_largest_numbers(sign: int, tmp_path: Path) -> None:
    """All weights -128 (or 127), all inputs -128, in every lane at once."""
    graph = conv((6, 10, 32), 3, (3, 3), pads=(1, 1, 1, 1), zero_points=(127, -128))
    w = graph.value("w")
    assert w.data is not None
    data = np.full_like(w.data, -128 if sign < 0 else 127)
    graph.set_value(replace(w, data=data))
    inputs = np.full((1, 6, 10, 32), -128, np.int8)
    checkers = np.where(np.indices((6, 10)).sum(axis=0) % 2, 127, -128)
    mixed = np.broadcast_to(checkers[None, :, :, None], inputs.shape).astype(np.int8)
    case = Case("largest", graph, (np.concatenate([inputs, mixed]),), WISHES)
    KernelProgram(HOST, tmp_path).check([case])


# -- the proof ----------------------------------------------------------------------------------


def test_transforms_give_four_times_the_sums() -> None:
    rng = np.random.default_rng(0)
    w = rng.integers(-128, 128, (5, 3, 3, 7))
    d = rng.integers(-128, 128, (4, 4, 7))
    lanes = np.einsum("iy,kx,yxc->ikc", INPUTS, INPUTS, d)
    products = np.einsum("oikc,ikc->oik", conv_winograd.transformed(w), lanes)
    have = np.einsum("ai,bk,oik->oab", FOUR_SUMS, FOUR_SUMS, products)
    for y in range(2):
        for x in range(2):
            want = np.einsum("oyxc,yxc->o", w, d[y : y + 3, x : x + 3])
            np.testing.assert_array_equal(have[:, y, x], 4 * want)


def test_lanes_hold_the_largest_numbers() -> None:
    """The largest of a linear map over a box: 128 times the sum of its absolute coefficients."""
    inputs = 128 * np.outer(np.abs(INPUTS).sum(axis=1), np.abs(INPUTS).sum(axis=1))
    weights = 128 * np.outer(*[np.abs(conv_winograd.TWICE_G).sum(axis=1)] * 2)
    assert inputs.max() == 4 * 128
    assert weights.max() == 9 * 128
    assert 2 * inputs.max() * weights.max() < 2**31  # what SMLAD adds up


def test_sums_that_reach_30_bits_are_left_to_the_direct_kernel() -> None:
    """Four times the sum must be within int32. The bias is added later."""
    graph = conv((4, 4, 4), 2, (3, 3), pads=(1, 1, 1, 1))
    assert is_winograd(call_of(with_bias(graph, np.array([1 << 29, -(1 << 30)]))))
    (op,) = graph.ops_of(Conv2d)
    layer = gemm.Layer.of(op, graph.operands(op), graph.result(op), None)
    large = replace(layer, bound=np.abs(layer.bias) + np.array([1 << 29, 1]))
    geometry = Geometry(4, 4, 4, 4, 4, 2, 3, 3, 1, 1, 1, 1, 1, 1)
    assert conv_winograd.is_possible(layer, geometry)
    assert not conv_winograd.is_possible(large, geometry)


# -- kernel choice ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimize", "image", "used"),
    [
        ("time", (32, 32, 16), True),
        ("time", (8, 8, 64), True),
        ("time", (32, 32, 3), False),  # few channels: transforming inputs costs too much
        ("time", (1, 5, 16), False),  # most of its tiles would be wasted
        ("balanced", (32, 32, 16), True),
        ("balanced", (32, 32, 3), False),
        ("ram", (96, 96, 16), False),
    ],
)
def test_choice(optimize: Optimize, image: tuple[int, int, int], used: bool) -> None:
    graph = conv(image, 16, (3, 3), pads=(1, 1, 1, 1))
    assert is_winograd(call_of(graph, Target(optimize=optimize))) is used
    assert not is_winograd(call_of(graph, Target(optimize=optimize, winograd=False)))


@pytest.mark.parametrize(
    "graph",
    [
        conv((8, 8, 8), 8, (3, 3), strides=(2, 2)),
        conv((8, 8, 8), 8, (3, 3), dilations=(2, 2)),
        conv((8, 8, 8), 8, (3, 3), groups=2),
        conv((8, 8, 8), 8, (3, 5)),
        conv((3, 3, 8), 8, (3, 3)),
    ],
)
def test_other_layers_have_other_kernels(graph: Graph) -> None:
    assert not is_winograd(call_of(graph))


def test_flash_decides() -> None:
    """8x8, 64 channels take 131,584 bytes in place of 36,864."""
    graph = conv((8, 8, 64), 64, (3, 3), pads=(1, 1, 1, 1))
    board = load_board("nano33ble")
    for flash, used in [(None, True), (300_000, True), (140_000, False)]:
        target = board.with_limits(flash=flash).target("time")
        assert is_winograd(call_of(graph, target)) is used


def test_flash_is_spent_once() -> None:
    """Two layers of which one fits."""
    graph = conv((8, 8, 64), 64, (3, 3), pads=(1, 1, 1, 1))
    op = Conv2d("second", ("node",), pads=(1, 1, 1, 1))
    operands = [graph.value("y"), *(replace(graph.value(n), name=n + "2") for n in "wb")]
    for value in operands[1:]:
        graph.add_value(value)
    (result,) = graph.append(op, operands, ("z",))
    graph.set_value(replace(result, dtype="int8", qparams=QParams((0.5,), 0)))
    calls = lower(graph, load_board("nano33ble").with_limits(flash=280_000).target("time")).calls
    assert [is_winograd(c) for c in calls] == [True, False]


def test_scratch_is_bounded_for_many_channels() -> None:
    for channels, tiles in [(64, 4), (68, 2)]:
        call = call_of(conv((4, 8, channels), 2, (3, 3), pads=(1, 1, 1, 1)))
        assert call.params["tiles"] == tiles
        assert call.scratch < 10_000


def test_estimates_are_near_what_was_measured() -> None:
    """Thousands of instructions under QEMU, cortex-m4: direct and Winograd."""
    for image, cout, direct, winograd in [
        ((32, 32, 16), 16, 2361, 1167),
        ((16, 16, 32), 32, 2159, 1001),
        ((8, 8, 64), 64, 2056, 889),
        ((5, 5, 32), 32, 239, 187),
        ((6, 6, 24), 4, 54.6, 30.4),
    ]:
        h, w, cin = image
        g = Geometry(h, w, cin, h, w, cout, 3, 3, 1, 1, 1, 1, 1, 1)
        assert conv_winograd.direct_instructions(g) == pytest.approx(1e3 * direct, rel=0.15)
        assert conv_winograd.winograd_instructions(g) == pytest.approx(1e3 * winograd, rel=0.15)
