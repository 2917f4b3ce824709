"""Whatever the schedule and what is optimized for, host and core compute the same bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.errors import DoesNotFitError, UsageError
from mcucompile.ir.types import Array
from mcucompile.measure import measure, report
from mcucompile.options import CompileOptions
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.report.fit import fit_or_raise
from tests.support import zoo
from tests.support.ckit import random_inputs
from tests.support.tools import needs_qemu

Mode = Mapping[str, Any]

MODES: Mapping[str, Mode] = {
    "time": {"optimize": "time"},
    "balanced": {"optimize": "balanced"},
    "ram": {"optimize": "ram"},
    "whole": {"schedule": "whole"},
    "stream": {"schedule": "stream"},
    "patch": {"schedule": "patch"},
    "rows-balanced": {"stream_input": True, "input_layout": "nhwc"},
    "rows-ram": {"stream_input": True, "input_layout": "nhwc", "optimize": "ram"},
}
IMPOSSIBLE = {  # no operator can be cut into patches; the input has no rows, or is no image
    "MC034": ("patch",),
    "MC033": ("rows-balanced", "rows-ram"),
    "MC003": ("rows-balanced", "rows-ram"),
}
BOARDS = ("nano33ble", "stm32f746", "sparkfun-edge")  # in the order of their RAM
DIGITS = zoo.ROOT / "examples" / "digits" / "digits.onnx"


def compiled(path: Path, mode: str, board: str) -> Compilation:
    """The model; skips the test where `mode` makes no sense for it."""
    dims = zoo.DIMS.get(path.stem, {})
    try:
        return compile_model(path, CompileOptions(board, "net", dims=dims, **MODES[mode]))
    except UsageError as error:
        if mode not in IMPOSSIBLE.get(error.id, ()):
            raise
        pytest.skip(error.why)


def inputs_of(c: Compilation) -> list[Array]:
    return random_inputs(c.graph, 1, np.random.default_rng(0))


def assert_right(c: Compilation, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
    """`outputs` are what the quantized graph means."""
    for have, want in zip(outputs, run_int(c.quantized.graph, inputs), strict=True):
        np.testing.assert_array_equal(have.reshape(want.shape), want)


def check_on_host(path: Path, folder: Path, mode: str) -> None:
    c = compiled(path, mode, "stm32f746")
    inputs = inputs_of(c)
    write_sources(c, folder / "model")
    outputs = host.run(folder / "model", c.name, c.plan, inputs, sanitize=False)
    assert_right(c, inputs, outputs)


def check_on_core(path: Path, folder: Path, mode: str) -> None:
    c = first_that_fits(path, mode)
    inputs = inputs_of(c)
    write_sources(c, folder / "model")
    firmware = build.build_firmware(folder / "model", c.name, c.board, c.plan, folder / "firmware")
    assert_right(c, inputs, qemu.run(firmware, inputs).outputs)


def first_that_fits(path: Path, mode: str) -> Compilation:
    """The model for the first board with room for it; skips the test if there is none."""
    for board in BOARDS:
        c = compiled(path, mode, board)
        try:
            fit_or_raise(report(c))
            fit_or_raise(report(c, measure(c)))
        except DoesNotFitError:
            continue
        return c
    pytest.skip("fits no board")


@pytest.mark.parametrize("mode", MODES)
def test_digits(mode: str, tmp_path: Path) -> None:
    check_on_host(DIGITS, tmp_path, mode)


@needs_qemu
@pytest.mark.parametrize("mode", ["ram", "rows-ram"])
def test_digits_on_a_core(mode: str, tmp_path: Path) -> None:
    check_on_core(DIGITS, tmp_path, mode)


@zoo.needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", zoo.supported(), ids=lambda p: p.stem)
def test_zoo_models(path: Path, mode: str, tmp_path: Path) -> None:
    check_on_host(path, tmp_path, mode)


@needs_qemu
@zoo.needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", zoo.supported(), ids=lambda p: p.stem)
def test_zoo_models_on_a_core(path: Path, mode: str, tmp_path: Path) -> None:
    check_on_core(path, tmp_path, mode)
