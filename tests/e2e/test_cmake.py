"""The CMake package: models become libraries, and are compiled again when they change."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mcucompile import __version__
from mcucompile.board import known_boards
from tests.support import models
from tests.support.tools import needs, needs_qemu
from tests.support.zoo import ROOT

pytestmark = needs("cmake")

EXAMPLE = ROOT / "examples" / "digits"
COMMAND = f"-DMCUCOMPILE_COMMAND={sys.executable};-m;mcucompile"


def run(*command: str | Path, ok: bool = True, generator: str = "") -> str:
    """What `command` prints; asserts whether it succeeds."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    generator = generator or ("Ninja" if shutil.which("ninja") else "")
    if generator:
        env["CMAKE_GENERATOR"] = generator
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert (done.returncode == 0) == ok, text[-4000:]
    return text


@needs_qemu
@pytest.mark.slow
def test_project_builds_and_examples_run_on_every_board(tmp_path: Path) -> None:
    run("cmake", "-S", ROOT, "-B", tmp_path, COMMAND)
    run("cmake", "--build", tmp_path)
    text = run("ctest", "--test-dir", tmp_path, "--output-on-failure")
    assert "100% tests passed" in text
    for example in ("digits", "gestures", "keywords"):
        assert all(f"{example}-{board} ." in text for board in known_boards())
    lines = run(tmp_path / "examples" / "digits" / "digits_demo").splitlines()
    assert len(lines) == 11
    assert lines[-1].startswith("10 of 10 right, ")


def test_runtime_tests_pass(tmp_path: Path) -> None:
    run("cmake", "-S", ROOT, "-B", tmp_path, "-DMCUCOMPILE_EXAMPLES=OFF")
    run("cmake", "--build", tmp_path)
    assert "100% tests passed" in run("ctest", "--test-dir", tmp_path, "--output-on-failure")


FIND = "find_package(mcucompile 0.1 CONFIG REQUIRED)"
FORMS = {
    "find_package": FIND,
    "add_subdirectory": f"add_subdirectory({ROOT} mcucompile)",
    "FetchContent": f"include(FetchContent)\nFetchContent_Declare(mcucompile SOURCE_DIR {ROOT})\n"
    "FetchContent_MakeAvailable(mcucompile)",
}
GENERATORS = pytest.mark.parametrize(
    "generator",
    [
        pytest.param("Ninja", marks=needs("ninja")),
        pytest.param("Unix Makefiles", marks=[needs("make"), pytest.mark.slow]),
    ],
)


def configure(folder: Path, form: str = FIND, generator: str = "") -> Path:
    """Writes a firmware with a model to `folder` and configures it; returns the build folder."""
    project = folder / "project"
    (project / "samples").mkdir(parents=True)
    models.save(models.small_cnn(), project / "net.onnx")
    np.save(project / "samples" / "x.npy", np.ones((4, 1, 12, 12), np.float32))
    (project / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.21)\nproject(firmware LANGUAGES C)\n{form}\n"
        "mcucompile_add_model(net MODEL net.onnx BOARD nano33ble CALIBRATION samples:x\n"
        "  NAME reader OPTIMIZE ram REPORT net.html OPTIONS --stream-input)\n"
        "add_executable(firmware main.c)\ntarget_link_libraries(firmware mcucompile::net)\n"
    )
    (project / "main.c").write_text(
        '#include "reader.h"\nint main(void) { return reader_info.input_count - 1; }\n'
    )
    package = f"-Dmcucompile_DIR={ROOT / 'cmake'}"
    run("cmake", "-S", project, "-B", folder / "build", package, COMMAND, generator=generator)
    return folder / "build"


def touch(file: Path) -> None:
    """Makes `file` newer than what was built before: file times go in steps of some ms."""
    time.sleep(0.1)
    file.touch()


@GENERATORS
def test_model_is_compiled_again_when_it_changes_and_not_otherwise(
    generator: str, tmp_path: Path
) -> None:
    build = configure(tmp_path, generator=generator)
    assert "Compiling " in run("cmake", "--build", build)
    assert "<html" in (build / "net.html").read_text()
    run(build / "firmware")
    text = run("cmake", "--build", build)
    assert "Compiling " not in text
    assert "Building" not in text
    for file in ("net.onnx", "samples/x.npy"):  # the second is only in the depfile
        touch(tmp_path / "project" / file)
        text = run("cmake", "--build", build)
        assert "Compiling " in text, file
        if generator == "Ninja":  # Make goes by times, whatever is in the files
            assert "Building" not in text, file
    touch(tmp_path / "project" / "main.c")
    text = run("cmake", "--build", build)
    assert "Compiling " not in text
    assert "reader_weights.c" not in text


@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
def test_errors_are_shown_once(generator: str, tmp_path: Path) -> None:
    build = configure(tmp_path, generator=generator)
    (tmp_path / "project" / "net.onnx").write_text("this is no model")
    text = run("cmake", "--build", build, ok=False)
    assert text.count("error MC102") == 1
    assert text.count("fix: ") == 1
    assert "Traceback" not in text


@pytest.mark.parametrize("form", ["add_subdirectory", "FetchContent"])
def test_every_form_of_the_package(form: str, tmp_path: Path) -> None:
    build = configure(tmp_path, FORMS[form])
    if form == "FetchContent":
        run("cmake", "--build", build)
        run(build / "firmware")


def test_package_has_the_version_of_the_compiler() -> None:
    versions = (ROOT / "cmake" / "mcucompile-config-version.cmake").read_text()
    assert f"set(PACKAGE_VERSION {__version__})" in versions
    assert f"VERSION {__version__} LANGUAGES" in (ROOT / "CMakeLists.txt").read_text()


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
