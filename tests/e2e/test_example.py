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

from mcucompile.board import load_board
from tests.support.boards import on_nrf51, segments
from tests.support.tools import needs, needs_cross, needs_qemu
from tests.support.zoo import ROOT

EXAMPLES = ROOT / "examples"
EXAMPLE = EXAMPLES / "digits"
ONE_IMAGE = 0.26  # percent; float arithmetic differs a little from machine to machine
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def validated(
    where: str, tmp_path: Path, example: str = "digits", board: str = "stm32f746"
) -> dict[str, float]:
    """What `mcucompile validate` says of an example on its test samples."""
    command = [sys.executable, "-m", "mcucompile", "validate", f"{example}.onnx", "--quiet"]
    command += ["--board", board, "--calib", "calib.npz", "--data", "test.npz"]
    command += ["--labels", "y", "--on", where, "--json", str(tmp_path / "result.json")]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    folder = EXAMPLES / example
    subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True)
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


def built(folder: Path, example: str, toolchain: str, *options: str) -> Path:
    """The build folder of an example, outside of the source tree."""
    shutil.copytree(EXAMPLES / example, folder / example)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    configure = ["cmake", "-S", example, "-B", "build", "--toolchain", f"{ROOT}/cmake/{toolchain}"]
    configure += [f"-Dmcucompile_DIR={ROOT}/cmake", *options]
    for command in (configure, ["cmake", "--build", "build"]):
        done = subprocess.run(
            command, cwd=folder, env=env, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "build"


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
    built(tmp_path, example, f"arm-none-eabi-{core}.cmake")
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
@needs("cmake")
def test_firmware_for_the_board_prints_on_its_uart(tmp_path: Path) -> None:
    """At the address where the Arduino bootloader starts it, built for the core that QEMU has."""
    options = ("-DMCUC_CPU_FLAGS=-mcpu=cortex-m0 -mthumb", "-DBOARD=nano33ble", "-DFOR_HARDWARE=ON")
    build = built(tmp_path, "gestures", "arm-none-eabi.cmake", *options)
    text = on_nrf51(build / "gestures_demo.elf", r"bytes of arena\s")
    lines = (EXAMPLES / "gestures" / "README.md").read_text(encoding="utf-8").splitlines()
    assert all(f"    {line}" in lines for line in text.splitlines())
    assert len(text.splitlines()) == 5
    assert (build / "gestures_demo.hex").read_text().startswith(":")
    assert (build / "gestures_demo.bin").stat().st_size > 4096


@needs_cross
@needs("cmake")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "board", "core"),
    [
        ("digits", "stm32f746", "m7"),
        ("keywords", "nano33ble", "m4f"),
        ("gestures", "sparkfun-edge", "m4f"),
    ],
)
def test_firmware_for_the_board_lies_in_its_memories(
    example: str, board: str, core: str, tmp_path: Path
) -> None:
    build = built(tmp_path, example, f"arm-none-eabi-{core}.cmake", "-DFOR_HARDWARE=ON")
    flash, ram = load_board(board).main_flash, load_board(board).main_ram
    for elf in build.glob("*.elf"):
        for address, load, in_file, in_memory in segments(elf):
            memory = flash if address < ram.start or address >= ram.end else ram
            assert memory.start <= address <= address + in_memory <= memory.end
            if in_file:
                assert flash.start <= load <= load + in_file <= flash.end


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "board"), [("gestures", "sparkfun-edge"), ("keywords", "nano33ble")]
)
def test_accuracy_is_what_the_readme_says(example: str, board: str, tmp_path: Path) -> None:
    result = validated("qemu", tmp_path, example, board)
    assert result["mismatches_vs_reference"] == 0
    readme = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    for key, words in (("accuracy_compiled", "compiled"), ("accuracy_float", "original model")):
        found = re.search(rf"([\d.]+)% {words}", readme)
        assert found is not None
        assert float(found[1]) == pytest.approx(100 * result[key], abs=1)


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize("name", ["binary", "sparse", "sparse, compiled dense"])
def test_compact_networks_do_what_their_readme_says(name: str, tmp_path: Path) -> None:
    """Accuracy to within two images, and the figures of the table."""
    folder = EXAMPLES / "compact"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| {name} \|(.+)\|$", readme, re.MULTILINE)
    said = [float(cell.strip(" %").replace(",", "")) for cell in row.split("|")]
    model = folder / f"{name.split(',')[0]}.onnx"
    common = ["--board", "nano33ble", "--calib", str(EXAMPLE / "calib.npz"), "--quiet"]
    common += ["--no-sparse"] if "dense" in name else []
    found = {}
    for command, *options in (
        ["validate", "--data", str(EXAMPLE / "test.npz"), "--labels", "y", "--on", "qemu"],
        ["profile"],
    ):
        arguments = [command, str(model), *common, *options, "--json", str(tmp_path / "json")]
        subprocess.run(
            [sys.executable, "-m", "mcucompile", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
        found[command] = json.loads((tmp_path / "json").read_text())
    result, report = found["validate"], found["profile"]
    assert result["mismatches_vs_reference"] == 0
    have = [100 * result["accuracy_float"], 100 * result["accuracy_compiled"]]
    assert said[:2] == pytest.approx(have, abs=2 * ONE_IMAGE)
    have = [report["model"]["macs"], report["model"]["params"], report["instructions_total"]]
    have += [report[part]["total_bytes"] for part in ("sram", "flash")]
    have.append(report["flash"]["const_bytes"])
    assert said[2:] == pytest.approx(have, rel=0.02)
