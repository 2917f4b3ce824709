"""Reading a model file: what can be wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mcucompile.errors import UnsupportedModelError, UsageError
from mcucompile.frontend.onnx_model import load_model
from tests.support.imports import assert_same_numbers, node
from tests.support.models import model_of, save, small_cnn


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"MC001: file '.*nothing.onnx' does not exist"):
        load_model(tmp_path / "nothing.onnx")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"MC001: .* cannot be read\n  why: it is a folder"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello world, this is no model", b"\x08\x07", b"PK\x03\x04" + bytes(200)]
)
def test_no_onnx(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"MC102: .* is not a valid ONNX model"):
        load_model(path)


@pytest.mark.parametrize("percent", [1, 10, 50, 90, 99])
def test_truncated(tmp_path: Path, percent: int) -> None:
    content = small_cnn().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: len(content) * percent // 100])
    with pytest.raises(UnsupportedModelError, match=r"MC102"):
        load_model(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    """Cutting at any byte before the operator set, the last field, gives MC102 and nothing else."""
    content = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    data = content.SerializeToString()
    path = tmp_path / "model.onnx"
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(UnsupportedModelError, match=r"MC102"):
            load_model(path)


def test_opset_too_old(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {}, opset=6)
    with pytest.raises(UnsupportedModelError, match=r"MC103.*\n  why: .* opset 6; the oldest"):
        load_model(save(model, tmp_path / "model.onnx"))


def test_opset_too_new(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {}, opset=9999)
    with pytest.raises(UnsupportedModelError, match=r"MC103.*\n  why: .* opset 9999; the inst"):
        load_model(save(model, tmp_path / "model.onnx"))


def test_checker_message_is_passed_on(tmp_path: Path) -> None:
    model = model_of([node("Relu", ["nobody"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: .*nobody"):
        load_model(save(model, tmp_path / "model.onnx"))


def external_model() -> onnx.ModelProto:
    model = model_of(
        [node("Add", ["x", "w"], ["y"])], {"x": (1, 400)}, {"y": (1, 400)}, {"w": np.ones((1, 400))}
    )
    onnx.external_data_helper.convert_model_to_external_data(model, location="weights.bin")
    return model


def test_external_data(tmp_path: Path) -> None:
    onnx.save(external_model(), tmp_path / "model.onnx")
    model = load_model(tmp_path / "model.onnx")
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), 1.0)


def test_external_data_missing(tmp_path: Path) -> None:
    onnx.save(external_model(), tmp_path / "model.onnx")
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: its external data"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("location", ["../weights.bin", "{0}/weights.bin", "link.bin"])
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    onnx.save(external_model(), folder / "model.onnx")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location.format(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"MC102.*\n  why: its external data"):
        load_model(save(model, folder / "model.onnx"))


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    twice = helper.make_function(
        "mine",
        "Twice",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    model = model_of(
        [node("Twice", ["x"], ["y"], "twice", domain="mine")], {"x": (1, 4)}, {"y": (1, 4)}, {}
    )
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    assert_same_numbers(load_model(save(model, tmp_path / "model.onnx")))
