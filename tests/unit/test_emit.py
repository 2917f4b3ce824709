"""The generated C: deterministic, prefixed, warning-free everywhere, safe against odd names."""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcucompile.emit import EmitOptions, ctext, emit
from mcucompile.ir import QParams, Value
from mcucompile.lower import lower
from mcucompile.ops.add import Add
from mcucompile.passes.split_patches import split_patches
from mcucompile.plan.planner import make_plan
from mcucompile.plan.program import Target
from tests.support.graphs import op_graph
from tests.support.stacks import Stack
from tests.support.tools import needs, needs_cross
from tests.support.zoo import ROOT

WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror".split()
HOSTILE = 'a/b;c:0 */ "q" \\ ??/ \n#define int é'


def _files(name: str = "demo") -> dict[str, str]:
    operands = [Value(n, (1, 5, 5, 3), "int8", QParams((0.5,), 3)) for n in (HOSTILE, "b")]
    graph = op_graph(Add("add", (HOSTILE,)), operands, QParams((0.6,), 1))
    return emit(graph, make_plan(lower(graph, Target())), EmitOptions(name, source=HOSTILE))


def _write(folder: Path) -> None:
    for path, text in _files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "compiler",
    ["gcc -std=c99", "clang -std=c99", "arm-none-eabi-gcc -std=c99 -mcpu=cortex-m4 -mthumb",
     "arm-none-eabi-gcc -std=c99 -mcpu=cortex-m0plus -mthumb"],
)  # fmt: skip
def test_sources_compile_without_a_warning(compiler: str, tmp_path: Path) -> None:
    command = compiler.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    _write(tmp_path)
    command += [*WARNINGS, "-O2", "-I.", "-c", "demo.c", "demo_weights.c"]
    for define in ([], ["-DMCUC_PROFILER"]):
        done = subprocess.run(
            [*command, *define], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("standard", ["c++11", "c++17"])
def test_header_is_cpp(standard: str, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    _write(tmp_path)
    (tmp_path / "use.cpp").write_text('#include "demo.h"\nint size = demo_info.arena_size;\n')
    command = ["g++", f"-std={standard}", *WARNINGS, "-I.", "-fsyntax-only", "use.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_two_emissions_are_identical() -> None:
    assert _files() == _files()


def test_every_file_the_sources_include_is_there() -> None:
    """Relative to the file that includes it: no include path is needed."""
    files = _files()
    for path, text in files.items():
        for line in text.splitlines():
            if line.startswith('#include "'):
                included = posixpath.join(posixpath.dirname(path), line.split('"')[1])
                assert posixpath.normpath(included) in files


@pytest.mark.parametrize(
    "commands",
    [
        pytest.param(["gcc -c demo.c demo_weights.c"], marks=needs("gcc")),
        pytest.param(["make"], marks=needs("make")),
        pytest.param(["cmake -B build", "cmake --build build"], marks=needs("cmake")),
        pytest.param(
            [
                f"cmake -B build --toolchain {ROOT}/cmake/arm-none-eabi-m7.cmake",
                "cmake --build build",
            ],
            marks=needs("cmake", "arm-none-eabi-gcc"),
        ),
    ],
    ids=["gcc", "make", "cmake", "cross"],
)
def test_the_folder_builds_alone(commands: list[str], tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "Makefile").write_text("CC = gcc\nlibdemo.a: demo.o demo_weights.o\n\tar r $@ $^\n")
    for command in commands:
        done = subprocess.run(
            command.split(), cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*.o")) + list(tmp_path.rglob("*.a"))


@needs_cross
def test_every_symbol_has_the_prefix_of_the_model_or_the_runtime(tmp_path: Path) -> None:
    _write(tmp_path)
    sources = [p.name for p in tmp_path.glob("*.c")]
    subprocess.run(
        ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-c", *sources], cwd=tmp_path, check=True
    )
    objects = [p.with_suffix(".o").name for p in tmp_path.glob("*.c")]
    done = subprocess.run(
        ["arm-none-eabi-nm", "--defined-only", "--format=posix", *objects],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = [line.split()[0] for line in done.stdout.splitlines() if " " in line]
    assert "demo_run" in names
    assert [n for n in names if not n.startswith(("demo_", "mcuc_", "$"))] == []


@pytest.mark.parametrize("value", [0.1, 1.0, 1e-30, 3.4e38, 123456789.0])
def test_float_literals_read_back(value: float) -> None:
    text = ctext.floating(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]) == np.float32(value)


def test_int32_min_has_a_literal() -> None:
    assert eval(ctext.integer(-(2**31))) == -(2**31)


def test_patches_share_weights_and_functions() -> None:
    """16 patches of a layer: one array of weights, and a function for each kind of border that
    several patches have: those at one side, and those in the middle."""
    stack = Stack((24, 24, 4))
    graph = stack.done(stack.conv(stack.last, 8))
    split = split_patches(graph, graph.ops(), (4, 4))
    files = emit(split, make_plan(lower(split, Target())), EmitOptions("net"))
    assert files["net_weights.c"].count("_weights[") == 2  # declared and defined
    code = files["net.c"]
    assert len(re.findall(r"static .* net_step\d+\(", code)) == 16
    assert len(re.findall(r"static .* net_layer\d+\(", code)) == 5
    assert len(re.findall(r"    net_layer\d+\(", code)) == 4 * 2 + 4
