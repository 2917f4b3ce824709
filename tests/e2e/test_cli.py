"""The command line on a small model: what is printed, written and returned."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mcucompile import commands
from mcucompile.cli import cli
from mcucompile.errors import UsageError
from mcucompile.options import CompileOptions
from tests.support import models

BOARD = ["--board", "nano33ble"]


def _run(*args: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mcucompile", *map(str, args)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    d = tmp_path_factory.mktemp("cli")
    models.save(models.small_cnn(), d / "Small CNN-1.onnx")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 1, 12, 12)).astype(np.float32)
    np.savez(d / "data.npz", x=x, y=rng.integers(0, 4, 20))
    return d


@pytest.fixture(scope="module")
def compiled(folder: Path) -> Path:
    _run("Small CNN-1.onnx", *BOARD, "--calib", "data.npz", "-o", "out", cwd=folder)
    return folder / "out"


def test_folder_holds_sources_and_report(compiled: Path) -> None:
    names = {p.name for p in compiled.iterdir()}
    assert {
        "small_cnn_1.h",
        "small_cnn_1.c",
        "small_cnn_1_weights.c",
        "small_cnn_1_report.json",
        "small_cnn_1_report.txt",
        "small_cnn_1_report.html",
        "CMakeLists.txt",
        "mcuc",
    } == names


def test_report_has_every_number(compiled: Path) -> None:
    report = json.loads((compiled / "small_cnn_1_report.json").read_text())
    assert report["model"]["macs"] == 12 * 12 * 8 * 9 + 8 * 4
    assert report["board"]["name"] == "nano33ble"
    sram = report["sram"]
    parts = (sram["arena_bytes"], sram["stack_bytes"], sram["static_bytes"])
    assert sram["total_bytes"] == sum(parts)
    assert sram["lower_bound_bytes"] <= sram["arena_bytes"]
    flash = report["flash"]
    assert flash["total_bytes"] == flash["code_bytes"] + flash["const_bytes"]
    assert report["warnings"] == []
    assert report["steps"][0]["onnx_names"] == ["conv", "relu"]
    assert all(step["kernel"] and step["why"] and step["code_bytes"] for step in report["steps"])
    shared = sum(function["bytes"] for function in report["shared_code"])
    assert 0 < sum(s["code_bytes"] for s in report["steps"]) + shared < flash["code_bytes"]


def test_output_is_the_same_every_time(folder: Path, compiled: Path) -> None:
    _run("Small CNN-1.onnx", *BOARD, "--calib", "data.npz", "-o", "again", cwd=folder)
    for path in sorted(compiled.rglob("*")):
        if path.is_file():
            twin = folder / "again" / path.relative_to(compiled)
            assert path.read_bytes() == twin.read_bytes(), path.name


def test_float_model_without_calibration_warns(folder: Path) -> None:
    done = _run("Small CNN-1.onnx", *BOARD, "-o", "synthetic", "-n", "tiny", cwd=folder)
    assert "WARNING" in done.stderr
    assert "--calib" in done.stderr
    report = json.loads((folder / "synthetic" / "tiny_report.json").read_text())
    assert any("--calib" in w for w in report["warnings"])
    assert report["quantization"]["accuracy"] == "unknown"
    text = (folder / "synthetic" / "tiny_report.txt").read_text()
    assert "--calib" in text
    assert "accuracy   UNKNOWN" in text


def test_ways_of_quantization_are_reported(folder: Path) -> None:
    args = ["Small CNN-1.onnx", *BOARD, "--calib", "data.npz"]
    methods = ["--calib-method", "entropy", "--equalize", "--round", "adaptive"]
    _run(*args, *methods, "--calib-cache", "kept", "-o", "much", "-n", "tiny", cwd=folder)
    _run(*args, "--no-bias-correction", "--no-calib-cache", "-o", "little", cwd=folder)
    report = json.loads((folder / "much" / "tiny_report.json").read_text())
    assert report["quantization"] == {
        "ranges": "samples",
        "samples": 20,
        "method": "entropy",
        "bias_correction": True,
        "equalize": True,
        "rounding": "adaptive",
        "int16": [],
        "float32": [],
        "precision_gain": None,
        "accuracy": "unmeasured",
    }
    assert len(list((folder / "kept").iterdir())) == 1
    report = json.loads((folder / "little" / "small_cnn_1_report.json").read_text())
    assert report["quantization"]["bias_correction"] is False


@pytest.mark.parametrize("where", ["host", "qemu"])
def test_validate(where: str, folder: Path) -> None:
    args = ["Small CNN-1.onnx", *BOARD, "--calib", "data.npz", "--data", "data.npz:x"]
    args += ["--labels", "y", "--on", where, "--json", f"{where}.json"]
    done = _run("validate", *args, cwd=folder)
    result = json.loads((folder / f"{where}.json").read_text())
    assert result["samples"] == 20
    assert result["mismatches_vs_reference"] == 0
    assert result["first_diverging_step"] is None
    assert result["top1_agreement"] >= 0.9
    assert result["cosine"] > 0.99
    assert result["sqnr"] > 20
    assert [e["op"] for e in result["layers"]][-1] == "Softmax"
    assert all(e["own"] > 25 for e in result["layers"])
    assert "noisiest layers" in done.stdout
    assert "0 bytes against the integer reference" in done.stdout


def test_profile_is_repeatable(folder: Path) -> None:
    for name in ("a.json", "b.json"):
        _run("profile", "Small CNN-1.onnx", *BOARD, "--calib", "data.npz", "--json", name,
             "-q", cwd=folder)  # fmt: skip
    a, b = (json.loads((folder / n).read_text()) for n in ("a.json", "b.json"))
    assert a == b
    assert a["instructions_total"] > 10_000
    assert all(s["instructions"] > 0 for s in a["steps"])
    assert all(s["cycles"] > s["executed"]["flash_reads"] > 0 for s in a["steps"])
    assert a["latency_ms"] > sum(s["latency_ms"] for s in a["steps"]) > 0


def test_image(folder: Path) -> None:
    args = ["Small CNN-1.onnx", *BOARD, "--calib", "data.npz", "-o", "image", "-n", "tiny"]
    done = _run("image", *args, cwd=folder)
    assert "from 0x00010000" in done.stdout
    raw = (folder / "image" / "tiny.bin").read_bytes()
    assert (folder / "image" / "tiny.elf").read_bytes().startswith(b"\x7fELF")
    hex_lines = (folder / "image" / "tiny.hex").read_text().split()
    data = b"".join(bytes.fromhex(n[9:-2]) for n in hex_lines if n[7:9] == "00")
    assert data == raw


def test_report_command_repeats_the_text(compiled: Path, folder: Path) -> None:
    text = (compiled / "small_cnn_1_report.txt").read_text()
    assert _run("report", compiled, cwd=folder).stdout == text
    assert _run("report", compiled / "small_cnn_1_report.json", cwd=folder).stdout == text


def test_input_layout_changes_the_api_not_the_result(folder: Path) -> None:
    model = models.small_cnn()
    models.save(model, folder / "planar.onnx")
    args = ["planar.onnx", *BOARD, "--calib", "data.npz"]
    _run(*args, "-o", "nchw", cwd=folder)
    _run(*args, "-o", "nhwc", "--input-layout", "nhwc", cwd=folder)
    assert 'INPUT0_LAYOUT "NCHW"' in (folder / "nchw" / "planar.h").read_text()
    assert 'INPUT0_LAYOUT "NHWC"' in (folder / "nhwc" / "planar.h").read_text()


@pytest.mark.parametrize("kind", ["winograd", "sparse"])
@pytest.mark.parametrize(("flag", "wish"), [("--{}", True), ("--no-{}", False), ("-q", None)])
def test_kinds_of_kernels_are_a_wish(
    kind: str, flag: str, wish: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool | None] = []

    def compile_to_folder(model: Path, options: CompileOptions, *rest: object) -> None:
        asked.append(getattr(options, kind))
        raise UsageError("MC000", "", "", "", "")

    monkeypatch.setattr(commands, "compile_to_folder", compile_to_folder)
    CliRunner().invoke(cli, ["model.onnx", *BOARD, flag.format(kind)])
    assert asked == [wish]


def test_boards_and_ops_are_listed(folder: Path) -> None:
    assert "stm32f746" in _run("boards", cwd=folder).stdout
    assert "Conv" in _run("ops", cwd=folder).stdout.split()


def test_linker_script(folder: Path) -> None:
    text = _run("linker-script", *BOARD, "--stack", "1000", cwd=folder).stdout
    assert "FLASH (rwx) : ORIGIN = 0x00010000, LENGTH = 983040" in text
    assert "RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 262144" in text
    assert ". += 1000;" in text


def test_dirs_exist(folder: Path) -> None:
    assert Path(_run("cmake-dir", cwd=folder).stdout.strip()).is_dir()
    runtime = Path(_run("runtime-dir", cwd=folder).stdout.strip())
    assert (runtime / "mcuc" / "mcuc.h").is_file()
