"""Whatever the schedule and what is optimized for, the host computes the same bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import host
from mcucompile.errors import UsageError
from mcucompile.options import CompileOptions
from mcucompile.reference.integer_interpreter import run_int
from tests.support import zoo
from tests.support.ckit import random_inputs

MODES = [
    {"optimize": "time"},
    {"optimize": "balanced"},
    {"optimize": "ram"},
    {"schedule": "whole"},
    {"schedule": "stream"},
    {"schedule": "patch"},
]
SUPPORTED = [p for p in sorted(zoo.ZOO.glob("models/*.onnx")) if "unsupported" not in p.stem]
DIMS = {"onnx2c_lstm_k1": {"M1": 4}}
DIGITS = zoo.ROOT / "examples" / "digits" / "digits.onnx"


def compiled(path: Path, mode: dict[str, str]) -> Compilation | None:
    """The model; None if nothing of it can be computed in patches."""
    try:
        dims = DIMS.get(path.stem, {})
        return compile_model(path, CompileOptions("stm32f746", "net", dims=dims, **mode))  # type: ignore[arg-type]
    except UsageError as error:
        if (error.id, mode) != ("MC034", {"schedule": "patch"}):
            raise
        return None


def check(path: Path, folder: Path, mode: dict[str, str]) -> bool:
    """Assert that `mode` gives what the quantized graph means; False if it is not possible."""
    c = compiled(path, mode)
    if c is None:
        return False
    inputs = random_inputs(c.graph, 1, np.random.default_rng(0))
    write_sources(c, folder / "model")
    outputs = host.run(folder / "model", c.name, c.plan, inputs, sanitize=False)
    for have, want in zip(outputs, run_int(c.quantized.graph, inputs), strict=True):
        np.testing.assert_array_equal(have.reshape(want.shape), want)
    return True


@pytest.mark.parametrize("mode", MODES, ids=lambda m: next(iter(m.values())))
def test_digits(mode: dict[str, str], tmp_path: Path) -> None:
    assert check(DIGITS, tmp_path, mode)


@zoo.needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda m: next(iter(m.values())))
@pytest.mark.parametrize("path", SUPPORTED, ids=lambda p: p.stem)
def test_zoo_models(path: Path, mode: dict[str, str], tmp_path: Path) -> None:
    if not check(path, tmp_path, mode):
        pytest.skip("nothing of it can be computed in patches")
