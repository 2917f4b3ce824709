"""Every mistake a person can make gets a clear text, the right exit code and no leftovers.

The texts are golden: `pytest tests/e2e/test_errors.py --update-golden` rewrites them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import mcucompile
from tests.support import models, zoo
from tests.support.recurrent import recurrent_model

GOLDEN = zoo.ROOT / "tests" / "golden" / "errors"
# Numbers that change with the kernels.
_LARGE = re.compile(r" *\b(\d{1,3}(,\d{3})+\b|\d{2,}(?= bytes|, sta| are available))")


@dataclass(frozen=True)
class Case:
    """A command line that must fail; {d} stands for the folder with the fixtures."""

    args: str
    code: int
    env: dict[str, str] = field(default_factory=dict)


def _compile(model: str, extra: str = "", board: str = "stm32f746") -> str:
    return f"{{d}}/{model} --board {board} -o {{d}}/out {extra}"


def _calib(array: str) -> Case:
    return Case(_compile("cnn.onnx", f"--calib {{d}}/{array}"), 2)


def _validate(where: str, path: str) -> Case:
    command = f"validate {{d}}/cnn.onnx --board stm32f746 --data random --samples 1 --on {where}"
    return Case(command, 6, {"PATH": path})


CASES = {
    "missing_file": Case(_compile("nowhere.onnx"), 2),
    "folder_as_model": Case("{d} --board stm32f746 -o {d}/out", 2),
    "not_onnx": Case(_compile("text.onnx"), 3),
    "empty_file": Case(_compile("empty.onnx"), 3),
    "truncated": Case(_compile("truncated.onnx"), 3),
    "three_unsupported": Case(_compile("unsupported.onnx"), 3),
    "depends_on_data": Case(_compile("dependent.onnx"), 3),
    "symbolic_dim": Case(_compile("symbolic.onnx"), 3),
    "raw_numbers": Case(_compile("cnn.onnx", "--input-mean 128"), 2),
    "raw_channels": Case(_compile("cnn.onnx", "--input-type uint8 --input-scale 0.1,0.2,0.3"), 2),
    "unknown_board": Case(_compile("cnn.onnx", board="stm32f764"), 2),
    "no_region": Case(_compile("cnn.onnx") + " --regions DTCM+SRAM2", 2),
    "broken_board": Case(_compile("cnn.onnx", board="{d}/board.toml"), 2),
    "calib_shape": _calib("shape.npz"),
    "calib_dtype": _calib("dtype.npz"),
    "calib_nan": _calib("nan.npz"),
    "calib_empty": _calib("empty.npz"),
    "calib_missing_array": _calib("shape.npz:nosuch"),
    "calib_missing_file": _calib("nowhere.npz"),
    "calib_not_npz": _calib("text.onnx"),
    "output_not_writable": Case("{d}/cnn.onnx --board stm32f746 -o {d}/text.onnx/out", 2),
    "does_not_fit": Case(_compile("large.onnx", board="nano33ble"), 4),
    "ram_limit": Case(_compile("cnn.onnx", "--ram 500"), 4),
    "no_host_compiler": _validate("host", "/nowhere"),
    "no_cross_compiler": _validate("qemu", "{d}/qemu"),
    "no_qemu": _validate("qemu", "{d}/gcc"),
    "no_machine": Case(
        "validate {d}/cnn.onnx --board {d}/m33.toml --data random --samples 1 --on qemu", 2
    ),
    "labels_missing": Case(
        "validate {d}/cnn.onnx --board stm32f746 --data {d}/good.npz --labels y", 2
    ),
    "report_of_nothing": Case("report {d}/nowhere", 2),
    "cycles_of_nothing": Case(
        "profile {d}/cnn.onnx --board stm32f746 --import {d}/text.onnx --calib {d}/good.npz", 2
    ),
    "validation_of_nothing": Case("report {d}/planned.json --validation {d}/text.onnx", 2),
    "elf_is_none": Case("report {d}/linked.json --elf {d}/text.onnx", 2),
    "elf_of_another": Case("report {d}/linked.json --elf {d}/other.elf", 2),
    "elf_unmeasured": Case("report {d}/planned.json --elf {d}/other.elf", 2),
    "binary_without_data": Case(_compile("cnn.onnx", "--quantize binary"), 2),
    "binary_nothing": Case(_compile("cnn.onnx", "--quantize binary --calib {d}/good.npz"), 3),
    "binary_untrained": Case(
        _compile("digits.onnx", "--quantize binary --calib {d}/digits.npz"), 3
    ),
    "mixed_without_data": Case(_compile("cnn.onnx", "--mixed auto"), 2),
    "prune_without_data": Case(_compile("cnn.onnx", "--prune 1x4:0.5"), 2),
    "prune_no_blocks": Case(_compile("cnn.onnx", "--prune 1x4:0.5 --calib {d}/good.npz"), 3),
    "prune_bad_block": Case(_compile("cnn.onnx", "--prune 3x3:0.5"), 2),
    "weights_bad_form": Case(_compile("cnn.onnx", "--weights int3"), 2),
    "weights_unknown": Case(_compile("cnn.onnx", "--weights nosuch=int4"), 2),
    "weights_tflite": Case(_compile("cnn.onnx", "--weights palette4 --requant tflite"), 2),
    "weights_too_many": Case(_compile("cnn.onnx", "--weights auto --flash 900"), 4),
    "mixed_softmax": Case(_compile("cnn.onnx", "--mixed softmax"), 2),
    "mixed_unknown": Case(_compile("cnn.onnx", "--mixed nosuch"), 2),
    "mixed_tflite": Case(_compile("cnn.onnx", "--mixed auto --requant tflite"), 2),
    "float_without_data": Case(_compile("cnn.onnx", "--float-layers auto"), 2),
    "float_softmax": Case(_compile("cnn.onnx", "--float-layers softmax"), 2),
    "float_unknown": Case(_compile("cnn.onnx", "--float-layers nosuch"), 2),
    "float_without_fpu": Case(
        _compile("cnn.onnx", "--float-layers conv", board="{d}/soft.toml"), 2
    ),
    "no_state": Case(_compile("cnn.onnx", "--stateful"), 2),
    "state_backwards": Case(_compile("backwards.onnx", "--stateful"), 3),
    "recurrent": Case(_compile("recurrent.onnx"), 3),
    "no_patches": Case(_compile("cnn.onnx", "--schedule patch --patches 2x2"), 2),
    "patches_alone": Case(_compile("cnn.onnx", "--patches 2x2"), 2),
    "bad_grid": Case(_compile("cnn.onnx", "--schedule patch --patches 2by2"), 2),
    "no_qdq_form": Case("quantize {d}/backwards.onnx -o {d}/out.onnx", 3),
    "bad_option": Case(_compile("cnn.onnx", "--ram lots"), 2),
}


@pytest.fixture(scope="module")
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    d = tmp_path_factory.mktemp("errors")
    cnn = models.save(models.small_cnn(), d / "cnn.onnx")
    models.save(models.small_cnn(channels=4, size=600), d / "large.onnx")
    models.save(models.unsupported_cnn(), d / "unsupported.onnx")
    models.save(models.data_dependent(), d / "dependent.onnx")
    symbolic = models.small_cnn()
    symbolic.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    models.save(symbolic, d / "symbolic.onnx")
    backwards = recurrent_model("GRU", direction="bidirectional")
    models.save(backwards, d / "backwards.onnx")
    models.save(recurrent_model("RNN", activations=["Affine"]), d / "recurrent.onnx")
    (d / "text.onnx").write_text("this is no model\n" * 20)
    (d / "empty.onnx").write_bytes(b"")
    (d / "truncated.onnx").write_bytes(cnn.read_bytes()[:-200])
    (d / "board.toml").write_text('name = "mine"\ncolour = "red"\n')
    board = (zoo.ROOT / "boards" / "stm32f746.toml").read_text().replace("cortex-m7", "cortex-m33")
    board = board.replace('"mps2-an500"', '"none"').replace('console = "uart"', 'console = "itm"')
    (d / "m33.toml").write_text(re.sub(r"support = .*", "", board))
    soft = (zoo.ROOT / "boards" / "nano33ble.toml").read_text()
    soft = re.sub("fpv4-sp-d16|uart", "none", re.sub("support = .*", "", soft))
    (d / "soft.toml").write_text(soft)
    good = np.zeros((5, 1, 12, 12), np.float32)
    np.savez(d / "good.npz", x=good)
    np.savez(d / "shape.npz", x=np.zeros((5, 3, 7), np.float32))
    np.savez(d / "dtype.npz", x=np.full((5, 1, 12, 12), "a"))
    np.savez(d / "nan.npz", x=np.full_like(good, np.nan))
    np.savez(d / "empty.npz", x=good[:0])
    report = mcucompile.estimate(cnn, "nano33ble").report
    (d / "planned.json").write_text(json.dumps(report))
    symbols = [{"name": "cnn_run", "kind": "code", "bytes": 50}]
    report["linked"] = {"objects": symbols, "library": [], "padding_bytes": 0}
    (d / "linked.json").write_text(json.dumps(report))
    (d / "other.elf").symlink_to(Path(sys.executable).resolve())
    shutil.copy(zoo.ROOT / "examples/digits/digits.onnx", d)
    shutil.copy(zoo.ROOT / "examples/digits/calib.npz", d / "digits.npz")
    _link(d / "gcc", "arm-none-eabi-gcc", "arm-none-eabi-size", "arm-none-eabi-nm")
    _link(d / "qemu", "qemu-system-arm")
    return d


def _link(folder: Path, *tools: str) -> None:
    """A folder for PATH that holds nothing but `tools`."""
    folder.mkdir()
    for tool in tools:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)


@pytest.mark.parametrize("name", CASES)
def test_error(name: str, fixtures: Path, update_golden: bool) -> None:
    case = CASES[name]
    before = sorted(p.name for p in fixtures.iterdir())
    args = [a.format(d=fixtures) for a in case.args.split()]
    env = os.environ | {k: v.format(d=fixtures) for k, v in case.env.items()}
    done = subprocess.run(
        [sys.executable, "-m", "mcucompile", *args],
        capture_output=True,
        text=True,
        env=env,
        cwd=fixtures,
        check=False,
    )
    text = _LARGE.sub("#", _error_part(done.stderr).replace(str(fixtures), "{d}"))
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == case.code, done.stderr
    assert sorted(p.name for p in fixtures.iterdir()) == before, "something was left behind"
    golden = GOLDEN / f"{name}.txt"
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text(), f"text changed; look at it, then --update-golden:\n{text}"


def _error_part(stderr: str) -> str:
    """What follows the progress and warnings: from the first error line on."""
    match = re.search(r"^(error |Error|Usage)", stderr, re.MULTILINE)
    return stderr[match.start() :] if match else stderr


@zoo.needs_zoo
def test_unsupported_zoo_model_is_refused_with_its_node() -> None:
    path = zoo.model("unsupported_st_har_svc")
    done = subprocess.run(
        [sys.executable, "-m", "mcucompile", str(path), "--board", "stm32f746"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "MC101" in done.stderr
    assert "SVMClassifier" in done.stderr
    assert "Traceback" not in done.stderr
