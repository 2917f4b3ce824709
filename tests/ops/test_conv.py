"""Conv2d: import, float and integer meaning, kernel choice, and the C code of the GEMM kernels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from mcucompile.errors import QuantizationError, UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams, Value
from mcucompile.lower import lower
from mcucompile.ops.conv import Conv2d
from mcucompile.plan.planner import make_plan
from mcucompile.plan.program import Target
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs, random_inputs
from tests.support.kernelkit import Case, KernelProgram
from tests.support.layers import (
    assert_same_as_onnxruntime,
    kernel_call,
    layer_graph,
    with_bias,
)
from tests.support.machines import HOST
from tests.support.models import model_of

CONV1X1, CONV2D, DENSE = "mcuc_conv1x1_s8", "mcuc_conv2d_s8", "mcuc_dense_s8"


def conv(
    image: tuple[int, int, int],
    cout: int,
    kernel: tuple[int, int],
    seed: int = 0,
    groups: int = 1,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    clamp: tuple[float, float] | None = None,
    least: int = -127,
    zero_points: tuple[int, int] | None = None,
    gain: float = 1.0,
    per_channel: bool = True,
) -> Graph:
    """A graph of one convolution with random numbers; image: height, width, channels."""
    op = Conv2d("conv", ("node",), strides, pads, dilations, groups, clamp)
    return layer_graph(
        op,
        (1, *image),
        (cout, *kernel, image[2] // groups),
        np.random.default_rng(seed),
        least=least,
        zero_points=zero_points,
        gain=gain,
        per_channel=per_channel,
    )


def random_conv(rng: np.random.Generator) -> Graph:
    """Any convolution that is not depthwise."""
    kh, kw, sh, sw, dh, dw = (int(v) for v in rng.choice([1, 1, 2, 3], 6))
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    depth, each = int(rng.choice([1, 2, 3, 4, 5, 8])), int(rng.integers(1, 6))
    pads = tuple(int(p) for p in rng.integers(0, 4, 4))
    height = max(int(rng.integers(1, 10)), (kh - 1) * dh + 1 - pads[0] - pads[2])
    width = max(int(rng.integers(1, 10)), (kw - 1) * dw + 1 - pads[1] - pads[3])
    return conv(
        (height, width, depth * groups),
        each * groups,
        (kh, kw),
        int(rng.integers(1 << 30)),
        groups,
        (sh, sw),
        (pads[0], pads[1], pads[2], pads[3]),
        (dh, dw),
        clamp=None if rng.random() < 0.7 else (-0.5, 1.0),
        per_channel=bool(rng.random() < 0.8),
    )


# -- the C code ---------------------------------------------------------------------------------


def test_random_convolutions() -> None:
    rng = np.random.default_rng(7)
    check_graphs([random_conv(rng) for _ in range(24)])


def test_pointwise_tails() -> None:
    """Every rest of 4 pixels, of 2 channels out and of 16, 8 and 4 channels in; in place or not."""
    widths, depths, couts = (2, 3, 4, 5, 7, 9), (1, 3, 4, 6, 8, 12, 20, 31, 32), (1, 2, 5, 8)
    graphs = [
        conv((1, widths[i % 6], depth), couts[i % 4], (1, 1), i) for i, depth in enumerate(depths)
    ]
    check_graphs(graphs)


def test_small_tiles_where_memory_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    graphs = [
        conv((2, 7, 300), 6, (1, 1)),
        conv((1, 4, 601), 5, (1, 1)),
        conv((9, 13, 32), 6, (3, 3), strides=(2, 2)),
        conv((7, 11, 70), 5, (3, 3), dilations=(1, 2)),
    ]
    cases = []
    for graph in graphs:
        small, large = (lower(graph, Target(optimize=o)).calls[0] for o in ("ram", "balanced"))
        assert (small.params["small"], large.params["small"]) == (1, 0)
        assert 2 * small.scratch == large.scratch
        inputs = tuple(random_inputs(graph, 2, rng))
        cases.append(Case("", graph, inputs, {"optimize": "ram"}))
    KernelProgram(HOST, tmp_path).check(cases)


def test_three_pixels_are_read_before_the_first_is_written(tmp_path: Path) -> None:
    """They are two tiles; the planner may put the result over the input."""
    graphs = [conv((1, width, 3), 11, (1, 1)) for width in (3, 7, 4, 6)]
    rng = np.random.default_rng(6)
    cases = [Case("", g, tuple(random_inputs(g, 2, rng))) for g in graphs]
    assert all(kernel_call(g).tile == (12, 44) for g in graphs)
    KernelProgram(HOST, tmp_path).check(cases)


def test_edges_of_the_image() -> None:
    check_graphs(
        [
            conv((1, 1, 3), 4, (3, 3), pads=(1, 1, 1, 1)),  # the window is larger than the image
            conv((2, 2, 4), 3, (5, 5), pads=(4, 4, 4, 4)),  # windows of nothing but padding
            conv((1, 9, 4), 5, (1, 3), pads=(0, 1, 0, 1)),  # one row
            conv((9, 1, 2), 5, (3, 1), pads=(1, 0, 1, 0)),  # one column, laid on its side
            conv((9, 1, 4), 5, (4, 1), strides=(2, 1), dilations=(2, 1)),
            conv((4, 3, 8), 6, (4, 3)),  # one window: the whole input
            conv((2, 1, 4), 3, (2, 1), pads=(0, 0, 1, 0), dilations=(2, 1)),  # ... but not quite
            conv((5, 6, 8), 7, (1, 1), strides=(2, 2)),  # pointwise with a stride
            conv((3, 3, 4), 4, (1, 1), pads=(1, 1, 1, 1)),
        ]
    )


def test_extreme_numbers() -> None:
    """Saturating results, and weights of -128, which cannot share a lane with a negative one."""
    shapes = [((3, 5, 8), 4, (1, 1)), ((4, 5, 3), 5, (3, 3)), ((1, 1, 16), 6, (1, 1))]
    graphs = [
        conv(image, cout, kernel, seed, least=least, gain=gain, zero_points=zero_points)
        for seed, (image, cout, kernel) in enumerate(shapes)
        for least, gain, zero_points in [(-127, 4.0, (-128, 127)), (-128, 0.2, (127, -128))]
    ]
    assert any(kernel_call(g).params["wide"] for g in graphs)
    check_graphs(graphs)


def test_sums_beyond_23_bits() -> None:
    """Channels whose sums cannot share a register are summed apart."""
    graphs = []
    for image in [(2, 3, 8), (1, 1, 8)]:
        graph = with_bias(conv(image, 4, (1, 1)), np.array([5, 1 << 23, 9, -(1 << 24)]))
        graph.set_value(replace(graph.value("y"), qparams=QParams((10.0,), 3)))
        assert kernel_call(graph).params["wide"] == 1
        graphs.append(graph)
    check_graphs(graphs)


def test_multipliers_above_one_half() -> None:
    """A result with smaller steps than the accumulator needs a shift before requantization."""
    graphs = []
    for image, kernel in [((3, 3, 4), (1, 1)), ((4, 4, 3), (2, 2)), ((1, 1, 8), (1, 1))]:
        graph = conv(image, 3, kernel, gain=1500.0)
        call = kernel_call(graph)
        assert isinstance(call.params["shift"], int)
        assert call.params["shift"] > 0
        assert "_any_" in call.kernel
        graphs.append(graph)
    check_graphs(graphs)


# -- kernel choice ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "kernel"),
    [
        (conv((4, 4, 8), 4, (1, 1)), CONV1X1),
        (conv((4, 4, 8), 4, (1, 1), strides=(2, 2)), CONV2D),
        (conv((4, 4, 8), 4, (3, 3), pads=(1, 1, 1, 1), strides=(2, 2)), CONV2D),
        (conv((4, 4, 8), 4, (1, 1), groups=2), CONV2D),
        (conv((4, 4, 8), 4, (4, 4)), DENSE),
        (conv((1, 1, 8), 4, (1, 1)), DENSE),
        (conv((4, 4, 8), 4, (1, 1), clamp=(0.0, 0.5)), "mcuc_conv1x1_any_s8"),
    ],
)
def test_kernel(graph: Graph, kernel: str) -> None:
    assert kernel_call(graph).kernel == kernel


@pytest.mark.parametrize(("cout", "shares"), [(4, True), (8, True), (9, False)])
def test_pointwise_runs_in_place_unless_it_grows(cout: int, shares: bool) -> None:
    (step,) = make_plan(lower(conv((5, 3, 8), cout, (1, 1)), Target())).steps
    (read,) = step.reads
    assert read is not None
    assert (read.offset == step.writes[0].offset) is shares


def test_macs() -> None:
    assert kernel_call(conv((6, 6, 8), 4, (3, 3), groups=2)).macs == 4 * 4 * 4 * 3 * 3 * 4


# -- the integer reference ----------------------------------------------------------------------


def test_integer_reference_by_hand() -> None:
    """One channel, 1x2 window, padding on the left: sums (x - zp) * w, padding counts nothing."""
    w = np.array([[[[2], [-3]]]], dtype=np.int8)
    operands = [
        Value("x", (1, 1, 2, 1), "int8", QParams((0.5,), 10)),
        Value("w", w.shape, "int8", QParams((0.25,), 0, 0), w),
        Value("b", (1,), "int32", QParams((0.125,), 0, 0), np.array([7], dtype=np.int32)),
    ]
    results = [Value("y", (1, 1, 2, 1), "int8", QParams((1.0,), -4))]
    op = Conv2d("conv", (), pads=(0, 1, 0, 0))
    x = np.array([[[[12], [5]]]], dtype=np.int8)
    arrays = [x, *(v.data for v in operands[1:] if v.data is not None)]
    (y,) = op.evaluate_int(operands, results, arrays)
    sums = [7 - 3 * 2, 7 + 2 * 2 - 3 * -5]  # 1 and 26, in steps of 1/8
    assert y.reshape(-1).tolist() == [-4 + round(s / 8) for s in sums]


def test_integer_reference_is_near_the_float_one() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        graph = random_conv(rng)
        (op,) = graph.ops()
        operands, result = graph.operands(op), graph.result(op)
        x = rng.integers(-128, 128, (3, *operands[0].shape[1:])).astype(np.int8)
        (have,) = run_int(graph, [x])
        (real,) = op.evaluate([operands[0].q.dequantize(x), *(v.real for v in operands[1:])])
        assert np.abs(have - result.q.quantize(real).astype(int)).max() <= 1


def test_sums_that_leave_32_bits_are_refused() -> None:
    graph = with_bias(conv((2, 2, 4), 2, (1, 1)), np.array([2**31 - 1, 0]))
    with pytest.raises(QuantizationError, match="node 'node'") as caught:
        kernel_call(graph)
    assert caught.value.id == "MC201"


# -- import -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "weights", "attributes"),
    [
        ((1, 3, 9, 8), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        (
            (1, 3, 9, 8),
            (4, 3, 2, 3),
            {"strides": [2, 1], "dilations": [2, 3], "pads": [0, 2, 1, 3]},
        ),
        ((1, 6, 7, 7), (4, 3, 3, 3), {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 6, 7, 6), (4, 3, 2, 4), {"group": 2, "auto_pad": "SAME_LOWER"}),
        ((1, 4, 7, 7), (4, 1, 3, 3), {"group": 4, "auto_pad": "VALID", "strides": [2, 2]}),
        ((1, 4, 7, 7), (8, 1, 3, 3), {"group": 4}),
        ((1, 3, 20), (5, 3, 4), {"pads": [1, 2], "strides": [2]}),
        ((1, 4, 20), (4, 1, 5), {"group": 4, "dilations": [3]}),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_import(
    shape: tuple[int, ...], weights: tuple[int, ...], attributes: dict[str, object], biased: bool
) -> None:
    rng = np.random.default_rng(1)
    constants: dict[str, Array] = {"w": rng.normal(size=weights)}
    if biased:
        constants["b"] = rng.normal(size=weights[:1])
    graph = assert_same_as_onnxruntime("Conv", shape, constants, **attributes)
    assert sum(isinstance(op, Conv2d) for op in graph.ops()) == 1


def test_weights_computed_at_run_time_are_refused() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], "dynamic")
    model = model_of([node], {"x": (1, 2, 4, 4), "w": (1, 2, 1, 1)}, {"y": (1, 1, 4, 4)}, {})
    with pytest.raises(UnsupportedModelError, match="weights are computed at run time"):
        import_model(model)
