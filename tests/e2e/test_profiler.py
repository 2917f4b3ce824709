"""The hook of a model's steps, the example that measures with it, and what its figures become."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcucompile.board import load_board
from mcucompile.cli import cli
from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import toolchain
from mcucompile.emulate.build import WARNINGS, model_cflags
from mcucompile.errors import UsageError
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.report.csv import render_csv
from mcucompile.report.html import render_html
from mcucompile.report.measured_cycles import read_cycles, with_measured
from mcucompile.report.text import render_text
from tests.support.tools import needs, needs_cross, needs_qemu
from tests.support.zoo import ROOT
from tests.unit.test_report import report_of

DIGITS = ROOT / "examples" / "digits"
NAME = "digits_profiled"

HOST = """
#include <stdio.h>
#include "digits_profiled.h"
static uint8_t arena[DIGITS_PROFILED_ARENA_SIZE] __attribute__((aligned(16)));
static int32_t open_step = -1;
static void on_step(void *user, int32_t step, int32_t done) {
    if (open_step != (done ? step : -1)) {
        printf("not nested\\n");
    }
    open_step = done ? -1 : step;
    ((int32_t *)user)[step] += done;
}
int main(void) {
    int32_t calls[DIGITS_PROFILED_STEPS] = {0};
    digits_profiled_context model;
    digits_profiled_init(&model, arena);
    digits_profiled_run(&model); /* without a profiler */
    digits_profiled_set_profiler(on_step, calls);
    digits_profiled_run(&model);
    digits_profiled_set_profiler(NULL, NULL);
    digits_profiled_run(&model);
    for (int i = 0; i < DIGITS_PROFILED_STEPS; i++) {
        printf("%d ", (int)calls[i]);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def compilation() -> Compilation:
    samples = SampleOptions(f"{DIGITS}/calib.npz:x")
    options = CompileOptions("nano33ble", name=NAME, calibration=samples)
    return compile_model(DIGITS / "digits.onnx", options)


@pytest.fixture(scope="module")
def folder(compilation: Compilation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profiler") / "model"
    write_sources(compilation, folder)
    return folder


def _build(compiler: str, folder: Path, source: Path, *flags: str) -> Path:
    program = source.with_suffix(".out")
    sources = [source, folder / f"{NAME}.c", folder / f"{NAME}_weights.c"]
    command = [compiler, "-std=c99", *WARNINGS, *flags, "-I", folder, "-I", DIGITS, *sources]
    done = subprocess.run([*command, "-o", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program


@needs("gcc")
def test_every_step_begins_and_ends(compilation: Compilation, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(HOST)
    program = _build("gcc", folder, tmp_path / "main.c", "-DMCUC_PROFILER", "-fsanitize=undefined")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    plan = compilation.plan
    turns = [sum(step == k for step, _, _ in plan.events()) for k in range(len(plan.steps))]
    assert said.split() == [str(n) for n in turns]
    assert max(turns) > 1  # some of them run row by row


@needs_cross
def test_without_it_nothing_is_there(folder: Path, tmp_path: Path) -> None:
    """Not a byte of the objects tells that there is such a thing."""
    source = (folder / f"{NAME}.c").read_text()
    without = re.sub(r"#elif defined\(MCUC_PROFILER\).*?(?=#else)", "", source, flags=re.DOTALL)
    assert without != source
    objects = []
    for name, text in (("with", source), ("without", without)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.c").write_text(text)
        flags = [*model_cflags(load_board("nano33ble")), "-I", folder, "-c", "model.c"]
        subprocess.run([toolchain.cross_gcc(), *flags], cwd=tmp_path / name, check=True)
        objects.append((tmp_path / name / "model.o").read_bytes())
    assert objects[0] == objects[1]


@needs_cross
def test_the_example_builds_for_a_core_with_a_cycle_counter(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "profile.c"
    source.write_bytes((DIGITS / "profile.c").read_bytes())
    flags = (*load_board("nano33ble").cflags, "-O2", "-DMCUC_PROFILER", "--specs=nosys.specs")
    program = _build(toolchain.cross_gcc(), folder, source, *flags)
    code = subprocess.run(
        [toolchain.binutil("objdump"), "-d", program], capture_output=True, text=True, check=True
    ).stdout
    assert "digits_profiled_set_profiler" in code
    assert re.search(r"e0001000|#3758096384", code)  # where the counter is


@needs("gcc")
@needs_qemu
def test_what_the_example_prints_can_be_imported(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "profile.c"
    source.write_bytes((DIGITS / "profile.c").read_bytes())
    program = _build("gcc", folder, source, "-O2", "-DMCUC_PROFILER")
    file = tmp_path / "cycles.csv"
    file.write_text(subprocess.run([program], capture_output=True, text=True, check=True).stdout)
    report = tmp_path / "report.json"
    model = [str(DIGITS / "digits.onnx"), "-b", "nano33ble", "--calib", f"{DIGITS}/calib.npz"]
    args = ["profile", *model, "--import", str(file), "--json", str(report), "-q"]
    done = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert done.exit_code == 0
    content = json.loads(report.read_text())
    measured = [step["cycles_measured"] for step in content["steps"]]
    lines = file.read_text().splitlines()[1:]
    assert [f"{k},{cycles}" for k, cycles in enumerate(measured)] == lines
    assert content["cycles_measured"] == sum(measured)
    assert f"measured   {sum(measured):,} cycles in the steps" in done.stdout


def test_measured_cycles_stand_beside_the_modelled_ones() -> None:
    report = with_measured(report_of(instructions=[1000, 2000, 500, 10]), [1500, 1900, 700, 9])
    assert report["cycles_measured"] == 4109
    clock = report["board"]["clock_hz"]
    assert report["latency_ms_measured"] == pytest.approx(4109 / clock * 1000)
    text = render_text(report)
    modelled = sum(step["cycles"] for step in report["steps"])
    off = f"the model says {modelled / 4109 - 1:+.1%}"
    assert f"measured   4,109 cycles in the steps, {4109 / clock * 1000:.3g} ms, {off}" in text
    assert re.search(r"cycles +measured", text)
    assert "4,109 cycles measured" in render_html(report)
    rows = list(csv.DictReader(io.StringIO(render_csv(report))))
    assert [row["cycles_measured"] for row in rows] == ["1500", "1900", "700", "9"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "its first line is not 'step,cycles'"),
        ("cycles,step\n0,1\n1,2\n", "its first line is not 'step,cycles'"),
        ("step,cycles\n0,1\n", "it has 1 steps, the model 2"),
        ("step,cycles\n0,1\n2,2\n", "it has 2 steps, the model 2, counted from 0"),
        ("step,cycles\n0,1\n0,2\n", "line 3 gives step 0 again"),
        ("step,cycles\n0,1\n1,-2\n", "line 3 is not a step and its cycles: '1,-2'"),
        ("step,cycles\n0,1\n1,2,3\n", "line 3 is not a step and its cycles"),
        ("step,cycles\n0,1\n1,1.5\n", "line 3 is not a step and its cycles"),
    ],
)
def test_wrong_files_of_cycles(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "cycles.csv"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_cycles(file, 2)
    assert caught.value.id == "MC038"
    assert why in caught.value.why


def test_cycles_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "cycles.csv").write_bytes(b"\xff\xfe\x00step")
    for file in (tmp_path / "cycles.csv", tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(UsageError, match="MC038"):
            read_cycles(file, 2)


def test_spaces_and_empty_lines_are_no_matter(tmp_path: Path) -> None:
    file = tmp_path / "cycles.csv"
    file.write_text("step, cycles\r\n1, 20\r\n\r\n0, 10\r\n")
    assert read_cycles(file, 2) == [10, 20]
