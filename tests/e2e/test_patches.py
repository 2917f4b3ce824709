"""Patches of real networks: the bits of the whole network, less memory, and what it costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.errors import UsageError
from mcucompile.measure import report
from mcucompile.options import CompileOptions
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support import zoo
from tests.support.tools import needs_qemu

TINYENGINE = 62_352 + 19_200  # bytes of SRAM for mcunet_vww, the image included


def compiled(name: str, grid: tuple[int, int] | None = None) -> Compilation:
    options = CompileOptions("stm32f746", "net", schedule="patch", patches=grid)
    return compile_model(zoo.model(name), options)


@needs_qemu
@zoo.needs_zoo
@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("tinyengine_mcunet_vww_int8qdq", 32_500),
        pytest.param("rand_mbv2_w035_144", 86_500, marks=pytest.mark.slow),
    ],
)
def test_patches_give_the_same_bits(name: str, most: int, tmp_path: Path) -> None:
    """In the arena, on the host with sanitizers, and under QEMU, as without patches."""
    c = compiled(name)
    assert c.plan.arena_size <= most < TINYENGINE + 5_000
    found = report(c)["patches"]
    assert found["grid"] > [1, 1]
    assert 0 < found["macs_overhead"] < 0.05
    (shape,) = (c.graph.value(n).shape for n in c.graph.inputs)
    rng = np.random.default_rng(0)
    inputs = [rng.integers(-128, 128, (1, *shape[1:])).astype(np.int8)]
    (expected,) = run_int(c.quantized.graph, inputs)
    write_sources(c, tmp_path / "model")
    firmware = build.build_firmware(tmp_path / "model", c.name, c.board, c.plan, tmp_path / "fw")
    for (have,) in (
        run_plan(c.plan, c.graph, inputs),
        host.run(tmp_path / "model", c.name, c.plan, inputs),
        qemu.run(firmware, inputs).outputs,
    ):
        np.testing.assert_array_equal(have.reshape(expected.shape), expected)


@zoo.needs_zoo
def test_the_grid_can_be_chosen() -> None:
    c = compiled("mlperf_vww96_int8qdq", (2, 5))
    assert c.patches is not None
    assert c.patches.grid == (2, 5)
    with pytest.raises(UsageError, match="MC034"):
        compiled("mlperf_kws_int8qdq", (500, 1))
