"""The CMake package: models become libraries, and are compiled again when they change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.tools import needs, needs_qemu
from tests.support.zoo import ROOT

pytestmark = needs("cmake")

EXAMPLE = ROOT / "examples" / "digits"
COMMAND = f"-DMCUCOMPILE_COMMAND={sys.executable};-m;mcucompile"


def run(*command: str | Path, ok: bool = True) -> str:
    """What `command` prints; asserts whether it succeeds."""
    generator = {"CMAKE_GENERATOR": "Ninja"} if shutil.which("ninja") else {}
    env = {**os.environ, **generator, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text[-4000:]
    return text


def test_project_builds_and_example_runs(tmp_path: Path) -> None:
    run("cmake", "-S", ROOT, "-B", tmp_path, "-DMCUCOMPILE_EXAMPLES=ON", COMMAND)
    run("cmake", "--build", tmp_path)
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path, "--output-on-failure")
    lines = run(tmp_path / "examples" / "digits" / "digits_demo").splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("10 of 10 right, ")


@needs_qemu
@pytest.mark.parametrize("core", ["m4f", "m7"])
def test_example_runs_under_qemu(tmp_path: Path, core: str) -> None:
    toolchain = ROOT / "cmake" / f"arm-none-eabi-{core}.cmake"
    run("cmake", "-S", EXAMPLE, "-B", tmp_path, "--toolchain", toolchain, COMMAND)
    run("cmake", "--build", tmp_path)
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path, "--output-on-failure")


def test_model_is_compiled_again_when_it_changes(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "digits")
    package = f"-Dmcucompile_DIR={ROOT / 'cmake'}"
    build = tmp_path / "build"
    run("cmake", "-S", tmp_path / "digits", "-B", build, package, COMMAND)
    assert "Compiling " in run("cmake", "--build", build)
    assert "Compiling " not in run("cmake", "--build", build)
    (tmp_path / "digits" / "calib.npz").touch()
    assert "Compiling " in run("cmake", "--build", build)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("MODEL m.onnx", "mcucompile_add_model(net MODEL file BOARD board"),
        ("MODEL m.onnx BOARD stm32f746 BORED 1", "mcucompile_add_model(net MODEL file BOARD board"),
        ("MODEL m.onnx BOARD stm32f746 NAME My-Net", "'My-Net' cannot prefix C symbols"),
    ],
)
def test_wrong_use_stops_the_configuration(tmp_path: Path, arguments: str, message: str) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(x LANGUAGES NONE)\n"
        f"find_package(mcucompile REQUIRED)\nmcucompile_add_model(net {arguments})\n"
    )
    package = f"-Dmcucompile_DIR={ROOT / 'cmake'}"
    text = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", package, COMMAND, ok=False)
    assert message in " ".join(text.split())
