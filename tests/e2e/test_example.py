"""The shipped example does what its README says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.support.tools import needs, needs_qemu
from tests.support.zoo import ROOT

EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "digits"
ONE_IMAGE = 0.26  # percent; float arithmetic differs a little from machine to machine
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def validated(where: str, tmp_path: Path) -> dict[str, float]:
    """What `mcucompile validate` says of the example on its test images."""
    command = [sys.executable, "-m", "mcucompile", "validate", "digits.onnx", "--quiet"]
    command += ["--board", "stm32f746", "--calib", "calib.npz", "--data", "test.npz"]
    command += ["--labels", "y", "--on", where, "--json", str(tmp_path / "result.json")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=EXAMPLE, env=env, check=True, capture_output=True)
    result: dict[str, float] = json.loads((tmp_path / "result.json").read_text())
    return result


@pytest.mark.parametrize(
    ("where", "name"),
    [("host", "on the host"), pytest.param("qemu", "under QEMU", marks=needs_qemu)],
)
def test_accuracy(where: str, name: str, tmp_path: Path) -> None:
    result = validated(where, tmp_path)
    assert result["mismatches_vs_reference"] == 0
    assert result["accuracy_compiled"] >= 0.98
    assert said(f"C {name}") == pytest.approx(100 * result["accuracy_compiled"], abs=ONE_IMAGE)
    assert said("float, onnx") == pytest.approx(100 * result["accuracy_float"], abs=ONE_IMAGE)


def said(row: str) -> float:
    """The accuracy in percent that the README's table gives for `row`."""
    found = re.search(rf"{row}[^|]*\| ([\d.]+) %", README)
    assert found is not None
    return float(found[1])


def test_samples_of_the_firmware_are_test_images() -> None:
    numbers = re.findall(r"\b\d+\b", re.sub(r"/\*.*?\*/|\[\d+\]|uint8_t|<.*?>", "", header()))
    images = np.array(numbers, dtype=np.int64).reshape(10, 64)
    with np.load(EXAMPLE / "test.npz") as data:
        pixels = np.rint(data["x"].reshape(-1, 64) * 16)
        for label, image in enumerate(images):
            assert (pixels[data["y"] == label] == image).all(axis=1).any()


def header() -> str:
    return (EXAMPLE / "samples.h").read_text(encoding="utf-8")


def test_calibration_and_test_images_differ() -> None:
    with np.load(EXAMPLE / "calib.npz") as calib, np.load(EXAMPLE / "test.npz") as test:
        a, b = calib["x"].reshape(-1, 64), test["x"].reshape(-1, 64)
    assert len(a) == 100
    assert len(b) == 400
    assert not any((b == row).all(axis=1).any() for row in a)


@needs_qemu
@needs("cmake")
@pytest.mark.parametrize(
    ("example", "core", "programs"),
    [
        ("digits", "m7", ("digits_demo", "digits_camera")),
        ("gestures", "m4f", ("gestures_demo",)),
        ("keywords", "m4f", ("keywords_demo",)),
    ],
)
def test_firmware_prints_what_the_readme_says(
    example: str, core: str, programs: tuple[str, ...], tmp_path: Path
) -> None:
    """Built outside of the source tree, run under QEMU."""
    shutil.copytree(EXAMPLES / example, tmp_path / example)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    toolchain = ROOT / "cmake" / f"arm-none-eabi-{core}.cmake"
    configure = ["cmake", "-S", example, "-B", "build", "--toolchain", str(toolchain)]
    configure += [f"-Dmcucompile_DIR={ROOT}/cmake"]
    subprocess.run(configure, cwd=tmp_path, env=env, check=True, capture_output=True)
    build = ["cmake", "--build", "build"]
    subprocess.run(build, cwd=tmp_path, env=env, check=True, capture_output=True)
    ctest = ["ctest", "--test-dir", "build", "--verbose"]
    done = subprocess.run(ctest, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    for program in programs:
        number = re.search(rf"test (\d+)\n +Start +\d+: {program}", done.stdout)
        assert number is not None
        lines = re.findall(rf"^{number[1]}: (?!Test|Working)(.+)$", done.stdout, re.MULTILINE)
        assert len(lines) >= 5
        assert "\n".join(f"    {line}" for line in lines) in readme


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "board"), [("gestures", "sparkfun-edge"), ("keywords", "nano33ble")]
)
def test_validation_prints_what_the_readme_says(example: str, board: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mcucompile", "validate", f"{example}.onnx", "--quiet"]
    command += ["--board", board, "--calib", "calib.npz", "--data", "test.npz"]
    command += ["--labels", "y", "--on", "qemu"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=EXAMPLES / example, env=env, check=True, capture_output=True, text=True
    )
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    for line in done.stdout.splitlines():
        if not line.startswith("max error"):  # differs from machine to machine
            assert f"    {line}" in readme
