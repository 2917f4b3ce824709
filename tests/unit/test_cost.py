"""The estimate of instructions: complete, quick, and near to what is counted under QEMU."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from onnx import helper

from bench import cost_layers, cost_parts, costs
from bench.budgets import compiler_version
from bench.cost_check import check_model
from bench.cost_program import Case
from bench.models import MODELS
from mcucompile.compiler import compile_model, plan_model
from mcucompile.cost import MODES, features, fitted_compiler, fitted_kernels, instructions, table
from mcucompile.cost.features import generic
from mcucompile.cost.steps import step_instructions
from mcucompile.cost.window import Bands, rows_of
from mcucompile.measure import report
from mcucompile.ops.conv import Conv2d
from mcucompile.options import CompileOptions
from mcucompile.plan.program import KernelCall, Operand
from mcucompile.report.text import render_text
from tests.support.layers import kernel_call, layer_graph
from tests.support.models import model_of
from tests.support.tools import needs, needs_qemu
from tests.support.zoo import ZOO

CALL = KernelCall(
    "op",
    "mcuc_new_s8",
    "mcuc/new.h",
    {"size": 30},
    (Operand("x", 10, 40),),
    (Operand("y", 10, 20),),
    macs=5000,
)


def _conv(channels: int, kernel: int, groups: int = 1) -> KernelCall:
    op = Conv2d("conv", (), (1, 1), (kernel // 2,) * 4, groups=groups)
    weights = (channels, kernel, kernel, channels // groups)
    return kernel_call(layer_graph(op, (1, 18, 13, channels), weights, np.random.default_rng(1)))


@pytest.fixture(scope="module")
def calls() -> list[KernelCall]:
    return list(cost_layers.calls())


@needs("gcc")
def test_every_kernel_has_a_fit(calls: list[KernelCall]) -> None:
    kernels = cost_parts.kernels()
    assert len(kernels) > 50
    assert kernels - {c.kernel for c in calls} == set(), "bench/cost_*.py lack layers of them"
    assert kernels - fitted_kernels() == set(), f"run `{costs.COMMAND}`"


def test_fits_are_for_what_kernels_do_now(calls: list[KernelCall]) -> None:
    """A kernel whose features have changed is estimated as if nothing were known of it."""
    changed = {
        call.kernel
        for call in calls
        for mode in MODES
        for own in [table().get(call.kernel, {}).get(mode, {})]
        if not own.keys() <= features(call, Bands(rows_of(call), 1), mode != "shared").keys()
    }
    assert changed == set(), f"run `{costs.COMMAND}`"


def test_a_kernel_without_fit_is_estimated_by_work_and_bytes() -> None:
    whole = instructions(CALL)
    assert 6000 + 4 * 600 < whole < 1.1 * (6000 + 4 * 600)
    assert instructions(CALL, 1) == pytest.approx(whole + 9 * 100)


def test_a_new_kernel_of_a_known_header_is_estimated_as_the_others() -> None:
    call = _conv(32, 1)
    new = replace(call, kernel="mcuc_conv1x1_new_s8")
    assert instructions(new) == pytest.approx(instructions(call), rel=0.2)


def test_a_kernel_with_other_parameters_is_estimated_like_an_unknown_one() -> None:
    call = _conv(32, 1)
    other = replace(call, params={"cin": 32})
    bands = Bands(rows_of(call), 1)
    assert features(other, bands, True) == generic(other, bands, True)
    assert instructions(other) == instructions(replace(other, header="mcuc/new.h"))


def test_rows_on_their_own_cost_more() -> None:
    """A depthwise kernel expands rows again that the call before had."""
    call = _conv(16, 3, groups=16)
    whole, twos, ones = (instructions(call, rows) for rows in (None, 2, 1))
    assert 1.2 * whole < twos < ones
    assert instructions(call, 100) == whole


def test_a_shared_function_costs_more() -> None:
    call = _conv(16, 3)
    assert instructions(call, specialized=False) > instructions(call)


def test_estimating_takes_microseconds() -> None:
    call = _conv(16, 3)
    instructions(call)
    start = time.process_time()
    for _ in range(1000):
        instructions(call)
    assert time.process_time() - start < 0.25


def test_non_negative_least_squares() -> None:
    rng = np.random.default_rng(3)
    a = rng.random((40, 5))
    x = np.array([0.0, 2.0, 0.0, 0.5, 3.0])
    np.testing.assert_allclose(costs.non_negative(a, a @ x), x, atol=1e-9)
    # Where the best solution had a negative number it is zero, and no small step is better.
    b = a @ np.array([1.0, -1.0, 1.0, -0.5, 2.0])
    best = costs.non_negative(a, b)
    assert best.min() == 0
    gradient = a.T @ (a @ best - b)
    assert (gradient >= -1e-9).all()
    np.testing.assert_allclose(gradient[best > 0], 0, atol=1e-9)


def test_the_report_states_the_estimate() -> None:
    (model,) = [m for m in MODELS if m.name == "digits"]
    options = CompileOptions("nano33ble", calibration=model.calibration)
    content = report(compile_model(model.file, options))
    total = content["instructions_estimated"]
    assert total == sum(step["instructions_estimated"] for step in content["steps"])
    assert 1.0 < content["latency_ms_estimated"] * 64_000 / total < 2.5  # cycles per instruction
    assert f"estimate: {total:,} instructions" in render_text(content)


def test_rows_that_nobody_reads_are_not_estimated() -> None:
    """A pool of 3x3 with stride 3 leaves the last 2 of 14 rows alone."""
    pool = helper.make_node("MaxPool", ["c"], ["y"], "pool", kernel_shape=[3, 3], strides=[3, 3])
    conv = helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[2, 2, 2, 2])
    weights = {"w": np.random.default_rng(1).normal(size=(16, 8, 5, 5))}
    model = model_of([conv, pool], {"x": (1, 8, 14, 14)}, {"y": (1, 16, 4, 4)}, weights)
    whole, rows = (
        plan_model(model, CompileOptions("nano33ble", schedule=schedule, winograd=False)).plan
        for schedule in ("whole", "stream")
    )
    estimates = []
    for plan in (whole, rows):
        (k,) = (k for k, s in enumerate(plan.steps) if s.call.kernel.startswith("mcuc_conv2d"))
        estimates.append(step_instructions(plan, [False] * len(plan.steps))[k])
        computed = sum(end - begin for step, begin, end in plan.events() if step == k)
        assert computed == (14 if plan is whole else 12)
    assert estimates[1] == pytest.approx(estimates[0] * 12 / 14, rel=0.1)


@needs_qemu
def test_layers_are_estimated_within_15_percent() -> None:
    if compiler_version() != fitted_compiler():
        pytest.skip(f"the fit holds for version {fitted_compiler()} of the cross compiler")
    pointwise, depthwise, conv = _conv(40, 1), _conv(24, 3, groups=24), _conv(16, 3)
    cases = [
        *(Case(call) for call in (pointwise, depthwise, conv)),
        Case(cost_parts.by_rows(pointwise, 18), 1),
        Case(depthwise, 2),
        Case(conv, 2),
        Case(conv, specialized=False),
        Case(pointwise, specialized=False),
    ]
    for sample in costs.measure(cases):
        what = f"{sample.case.call.kernel}, {sample.mode}"
        assert sample.estimated == pytest.approx(sample.counted, rel=0.15), what


@needs_qemu
@pytest.mark.parametrize("name", ["digits", "mlperf_kws_int8qdq", "mlperf_ad01_int8qdq"])
def test_models_are_estimated_within_5_percent(name: str) -> None:
    (model,) = [m for m in MODELS if m.name == name]
    if not model.is_there:
        pytest.skip(f"no model zoo at {ZOO} (set MCUCOMPILE_ZOO)")
    if compiler_version() != fitted_compiler():
        pytest.skip(f"the fit holds for version {fitted_compiler()} of the cross compiler")
    checked = check_model(model.file, costs.CORE, "balanced")
    assert abs(checked.error) < 0.05, checked
