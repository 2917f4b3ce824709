"""The MLPerf Tiny models, end to end: same bytes in every execution, and the limits we promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model
from mcucompile.measure import measure, profile, report
from mcucompile.quant.samples import Samples, load_samples, to_model_int8
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.validate import validate
from tests.support import zoo
from tests.support.mlperf import ENTRIES, Entry

pytestmark = zoo.needs_zoo

# Cortex-M4F instructions and bytes of SRAM in total, per inference.
LIMITS = {
    "mlperf_vww96_int8qdq": (24_100_000, 62_000),
    "mlperf_resnet8_int8qdq": (29_900_000, None),
    "mlperf_kws_int8qdq": (7_700_000, 19_000),
    "mlperf_ad01_int8qdq": (600_000, 3_200),
}
BOARDS = ("stm32f746", "nano33ble", "sparkfun-edge")


def _compile(entry: Entry, board: str = "stm32f746") -> Compilation:
    return compile_model(zoo.model(entry.name), entry.options(board))


def _samples(entry: Entry, compilation: Compilation, limit: int) -> Samples:
    options = replace(entry.test, limit=limit)
    return load_samples(options, compilation.graph.input_ports, entry.labels)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_arena_and_qemu_equal_the_integer_reference(entry: Entry) -> None:
    compilation = _compile(entry, "nano33ble")
    samples = _samples(entry, compilation, 2)
    graph = compilation.graph
    inputs = [
        to_model_int8(a, p, graph.value(n).q)
        for a, p, n in zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    ]
    expected = run_int(graph, inputs)
    for have, want in zip(run_plan(compilation.plan, graph, inputs), expected, strict=True):
        np.testing.assert_array_equal(have, want)
    assert validate(compilation, samples, "qemu").mismatches_vs_reference == 0


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_host_code_equals_the_integer_reference(entry: Entry) -> None:
    compilation = _compile(entry)
    result = validate(compilation, _samples(entry, compilation, 3), "host")
    assert result.mismatches_vs_reference == 0


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_many_samples_under_qemu(entry: Entry, board: str) -> None:
    compilation = _compile(entry, board)
    count = 400 if "kws" in entry.name else 20
    result = validate(compilation, _samples(entry, compilation, count), "qemu")
    assert result.samples == count
    assert result.mismatches_vs_reference == 0


@pytest.mark.parametrize("name", LIMITS)
def test_instructions_and_sram(name: str) -> None:
    instructions, sram = LIMITS[name]
    compilation = _compile(next(e for e in ENTRIES if e.name == name), "nano33ble")
    result = report(compilation, measure(compilation), profile(compilation))
    assert result["instructions_total"] <= instructions
    if sram is not None:
        assert result["sram"]["total_bytes"] <= sram


def test_two_compilations_are_identical() -> None:
    entry = next(e for e in ENTRIES if e.name == "mlperf_kws_float")
    assert _compile(entry).files == _compile(entry).files
