"""The generated C: deterministic, prefixed, warning-free everywhere, safe against odd names."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcucompile.emit import EmitOptions, ctext, emit
from mcucompile.ir import QParams, Value
from mcucompile.lower import lower
from mcucompile.ops.add import Add
from mcucompile.plan.planner import make_plan
from mcucompile.plan.program import Target
from tests.support.graphs import op_graph

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
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
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
    files = _files()
    for text in files.values():
        for line in text.splitlines():
            if line.startswith('#include "'):
                assert line.split('"')[1] in files


@pytest.mark.parametrize("value", [0.1, 1.0, 1e-30, 3.4e38, 123456789.0])
def test_float_literals_read_back(value: float) -> None:
    text = ctext.floating(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]) == np.float32(value)


def test_int32_min_has_a_literal() -> None:
    assert eval(ctext.integer(-(2**31))) == -(2**31)
