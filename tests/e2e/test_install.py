"""The wheel: all data files travel, and everything works from any folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.support import models
from tests.support.tools import needs, needs_qemu
from tests.support.zoo import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("hatchling") is None, reason="no build backend (pip install '.[dev]')"
)

EXAMPLE = ROOT / "examples" / "digits"


def run(*command: str | Path, cwd: Path, site: Path | None = None) -> str:
    """What `command` prints; asserts that it succeeds."""
    env = dict(os.environ) if site is None else {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built wheel, and nothing else, is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", wheel, "--no-deps", "--target", folder / "site", cwd=folder)
    return folder / "site"


def mcucompile(*arguments: str | Path, cwd: Path, site: Path) -> str:
    return run(sys.executable, "-m", "mcucompile", *arguments, cwd=cwd, site=site)


def test_data_files_travel(site: Path, tmp_path: Path) -> None:
    installed = Path(mcucompile("runtime-dir", cwd=tmp_path, site=site).strip())
    assert installed.is_relative_to(site)
    source = ROOT / "runtime_c" / "include"
    names = sorted(p.relative_to(source) for p in source.rglob("*.h"))
    assert sorted(p.relative_to(installed) for p in installed.rglob("*.h")) == names
    assert "stm32f746" in mcucompile("boards", cwd=tmp_path, site=site)


def test_installed_wheel_compiles_the_example(site: Path, tmp_path: Path) -> None:
    model = shutil.copy(EXAMPLE / "digits.onnx", tmp_path)
    options = ("--board", "stm32f746", "--calib", EXAMPLE / "calib.npz", "-o", "out", "--quiet")
    mcucompile(model, *options, cwd=tmp_path, site=site)
    assert (tmp_path / "out" / "digits_report.json").is_file()
    (tmp_path / "main.c").write_text('#include "digits.h"\nint main(void) { return 0; }\n')
    sources = [*(tmp_path / "out").glob("*.c"), "main.c"]
    run("gcc", "-std=c99", "-Wall", "-Werror", "-Iout", *sources, "-o", "main", cwd=tmp_path)
    run(tmp_path / "main", cwd=tmp_path)


FIRMWARE = """\
cmake_minimum_required(VERSION 3.21)
project(firmware LANGUAGES C)
find_package(mcucompile CONFIG REQUIRED)
mcucompile_add_model(net MODEL net.onnx BOARD ${BOARD} CALIBRATION x.npy)
add_executable(firmware main.c)
target_link_libraries(firmware PRIVATE net)
mcucompile_qemu_program(firmware)
enable_testing()
add_test(NAME firmware COMMAND firmware)
set_tests_properties(firmware PROPERTIES PASS_REGULAR_EXPRESSION "4 scores")
"""
MAIN = """\
#include <stdio.h>
#include <string.h>
#include "net.h"

static uint8_t arena[NET_ARENA_SIZE] __attribute__((aligned(NET_ARENA_ALIGN)));

int main(void) {
    net_context ctx;
    net_init(&ctx, arena);
    memset(net_input(&ctx, 0), 0, NET_INPUT0_SIZE);
    net_run(&ctx);
    printf("%d scores, the first is %d\\n", NET_OUTPUT0_SIZE, net_output(&ctx, 0)[0]);
    return 0;
}
"""


@needs_qemu
@needs("cmake")
@pytest.mark.parametrize(
    ("board", "core"),
    [
        ("stm32f746", "m7"),
        pytest.param("nano33ble", "m4f", marks=pytest.mark.slow),
        pytest.param("sparkfun-edge", "m4f", marks=pytest.mark.slow),
    ],
)
def test_a_firmware_needs_only_the_wheel_cmake_and_the_toolchain(
    board: str, core: str, site: Path, tmp_path: Path
) -> None:
    models.save(models.small_cnn(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.ones((4, 1, 12, 12), np.float32))
    (tmp_path / "CMakeLists.txt").write_text(FIRMWARE)
    (tmp_path / "main.c").write_text(MAIN)
    package = mcucompile("cmake-dir", cwd=tmp_path, site=site).strip()
    toolchain = f"{package}/arm-none-eabi-{core}.cmake"
    options = (f"-DBOARD={board}", f"-Dmcucompile_DIR={package}", "--toolchain", toolchain)
    run("cmake", "-S", ".", "-B", "build", *options, cwd=tmp_path, site=site)
    run("cmake", "--build", "build", cwd=tmp_path, site=site)
    assert "100% tests passed" in run("ctest", "--test-dir", "build", cwd=tmp_path, site=site)

    sizes = run("arm-none-eabi-size", "-A", *(tmp_path / "build").rglob("net*.obj"), cwd=tmp_path)
    assert [int(n) for n in re.findall(r"^\.data\S*\s+(\d+)", sizes, re.MULTILINE)] == [0, 0]
    nm = ("arm-none-eabi-nm", "--defined-only", "--format=posix", "build/libnet.a")
    names = re.findall(r"^(\S+) \w [0-9a-f]+", run(*nm, cwd=tmp_path), re.MULTILINE)
    assert "net_run" in names
    assert [n for n in names if not n.startswith(("net_", "mcuc_", "$"))] == []
