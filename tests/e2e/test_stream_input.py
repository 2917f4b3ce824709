"""An input that arrives row by row gives the same result, with less memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.options import CompileOptions
from mcucompile.plan.program import Optimize
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support import models, zoo
from tests.support.tools import needs_qemu


def compiled(path: Path, optimize: Optimize, stream_input: bool = True) -> Compilation:
    options = CompileOptions(
        "nano33ble", "net", optimize=optimize, input_layout="nhwc", stream_input=stream_input
    )
    return compile_model(path, options)


def check(c: Compilation, folder: Path, samples: int, on_core: bool) -> None:
    """The arena, the host and the core give the integer reference."""
    rng = np.random.default_rng(0)
    (name,) = c.graph.inputs
    shape = (samples, *c.graph.value(name).shape[1:])
    inputs = [rng.integers(-128, 128, shape).astype(np.int8)]
    expected = run_int(c.graph, inputs)
    write_sources(c, folder / "model")
    results = [
        run_plan(c.plan, c.graph, inputs),
        host.run(folder / "model", c.name, c.plan, inputs),
    ]
    if on_core:
        firmware = build.build_firmware(folder / "model", c.name, c.board, c.plan, folder / "fw")
        results.append(qemu.run(firmware, inputs).outputs)
    for outputs in results:
        for have, want in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(have.reshape(want.shape), want)


@needs_qemu
@pytest.mark.parametrize("optimize", ["time", "ram"])
def test_small_network(tmp_path: Path, optimize: Optimize) -> None:
    path = models.save(models.small_cnn(), tmp_path / "cnn.onnx")
    c = compiled(path, optimize)
    assert c.plan.pushed is not None
    assert c.plan.pushed.rows < 12
    check(c, tmp_path, samples=3, on_core=True)


@zoo.needs_zoo
@pytest.mark.parametrize(
    "name",
    ["mlperf_resnet8_int8qdq", pytest.param("mlperf_vww96_int8qdq", marks=pytest.mark.slow)],
)
def test_the_whole_image_is_never_there(tmp_path: Path, name: str) -> None:
    c = compiled(zoo.model(name), "ram")
    stored = compiled(zoo.model(name), "ram", stream_input=False)
    assert c.plan.arena_size <= stored.plan.arena_size
    check(c, tmp_path, samples=1, on_core=False)
