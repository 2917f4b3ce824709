"""The depfile names everything that a compilation reads, in the syntax of Make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mcucompile import depfile as module
from mcucompile import resources
from mcucompile.compiler import compile_model
from mcucompile.depfile import depfile
from mcucompile.options import CompileOptions, SampleOptions
from tests.support import models


def _files(rule: str) -> tuple[str, set[Path]]:
    """Target and files of a rule, without the escapes."""
    target, _, rest = rule.replace("\\\n", " ").replace("\\ ", "\0").partition(":")
    return target.replace("\0", " "), {Path(f.replace("\0", " ")) for f in rest.split()}


def test_everything_that_is_read_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    model = folder / "net.onnx"
    onnx.save(models.small_cnn(), model, save_as_external_data=True, location="net.bin",
              size_threshold=0)  # fmt: skip
    np.save(folder / "x.npy", np.zeros((4, 1, 12, 12), np.float32))
    options = CompileOptions(board="nano33ble", calibration=SampleOptions(f"{folder}:x"))
    compile_model(model, options)
    target, files = _files(depfile(tmp_path / "out.stamp", model, options))
    assert target == str(tmp_path / "out.stamp")
    assert {model, folder / "net.bin", folder / "x.npy"} <= files
    assert resources.boards_dir() / "nano33ble.toml" in files
    assert resources.boards_dir() / "stm32f746.toml" not in files
    assert resources.templates_dir() / "model.c.j2" in files
    assert resources.runtime_dir() / "mcuc" / "conv2d.h" in files
    assert Path(module.__file__) in files
    assert all(f.exists() for f in files)


@pytest.mark.parametrize(("name", "text"), [("a b", "a\\ b"), ("a$b", "a$$b"), ("a#b", "a\\#b")])
def test_special_characters_are_escaped(name: str, text: str) -> None:
    assert module._escaped(Path(name)) == text
