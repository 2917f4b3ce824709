"""Every model of the zoo compiles, keeps its numbers pass by pass, and runs bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model
from mcucompile.errors import DoesNotFitError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir.dump import dump
from mcucompile.measure import measure, report
from mcucompile.options import CompileOptions
from mcucompile.passes import FLOAT_PASSES
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.samples import random_samples, to_real
from mcucompile.reference.float_interpreter import run_float
from mcucompile.report.fit import fit_or_raise
from mcucompile.validate import validate
from tests.support.tools import needs_qemu
from tests.support.zoo import DIMS, ZOO, model, needs_zoo

pytestmark = needs_zoo

BOARDS = ("nano33ble", "stm32f746", "sparkfun-edge")  # in the order of their RAM
UNSUPPORTED = "unsupported_st_har_svc"
NAMES = sorted(p.stem for p in (ZOO / "models").glob("*.onnx") if p.stem != UNSUPPORTED)
QUICK = (
    "st_har_ign_wisdm24_int8qdq",
    "tflm_hello_world_float",
    "tinymaix_mnist_arduino_float",
)
EVERY = [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in NAMES]


def compiled(name: str, board: str) -> Compilation:
    """The model compiled for `board`."""
    return compile_model(model(name), CompileOptions(board, dims=DIMS.get(name, {})))


@needs_qemu
@pytest.mark.parametrize("name", EVERY)
def test_runs_on_the_first_board_that_has_room(name: str) -> None:
    """What fits no board says so, with exit code 4, and runs on this machine."""
    assert DoesNotFitError.exit_code == 4
    where = "host"
    for board in BOARDS:
        compilation = compiled(name, board)
        try:
            fit_or_raise(report(compilation))
            fit_or_raise(report(compilation, measure(compilation)))
        except DoesNotFitError:
            continue
        where = "qemu"
        break
    samples = random_samples(compilation.graph.input_ports, 1)
    assert validate(compilation, samples, where).mismatches_vs_reference == 0


@pytest.mark.parametrize("name", EVERY)
def test_every_pass_keeps_the_numbers(name: str) -> None:
    compiled(name, BOARDS[0])
    graph = absorb_qdq(import_model(load_model(model(name)), dims=DIMS.get(name)))
    given = random_samples(graph.input_ports, 1).arrays
    inputs = [
        to_real(a, port, graph.value(value).qparams)
        for a, port, value in zip(given, graph.input_ports, graph.inputs, strict=True)
    ]
    wanted = run_float(graph, inputs)
    for run in FLOAT_PASSES:
        before, graph = graph, run(graph)
        if dump(graph) == dump(before):
            continue
        for have, want in zip(run_float(graph, inputs), wanted, strict=True):
            limit = 1e-4 * max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(have, want, rtol=1e-3, atol=limit, err_msg=run.__name__)


COMPILE = """
import sys
from pathlib import Path
from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions
compile_model(Path(sys.argv[1]), CompileOptions("nano33ble"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seconds"), [("mlperf_vww96_int8qdq", 10), ("tflm_mobilenetv2_224_int8qdq", 60)]
)
def test_time_and_memory_of_a_compilation(name: str, seconds: float) -> None:
    """Processor time, which other programs of this machine do not change, and resident memory."""
    path: Path = model(name)
    with subprocess.Popen([sys.executable, "-c", COMPILE, str(path)]) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_utime + usage.ru_stime <= seconds
    assert usage.ru_maxrss * 1024 <= 2e9  # Linux counts in KiB
