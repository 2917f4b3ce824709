"""Cached calibration: the same result, sooner, whatever happens to the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant import calibrate
from mcucompile.quant.cache import Ranges, cached, default_folder, fingerprint
from tests.support import models

ANSWER: Ranges = {"x": (-0.1, 1 / 3), "y": (0.0, 1e-30)}


def forbidden() -> Ranges:
    raise AssertionError("computed again")


def test_what_was_computed_once_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    assert cached(folder, "k", lambda: ANSWER) == ANSWER
    assert cached(folder, "k", forbidden) == ANSWER
    assert [p.name for p in folder.iterdir()] == ["k.json"]
    assert cached(folder, "other", dict) == {}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"x": 1}', '{"x": [1, NaN]}', '{"x": [2, 1]}', '{"x": [1]}']
)
def test_corrupted_file_is_ignored_and_written_again(tmp_path: Path, content: str) -> None:
    (tmp_path / "k.json").write_text(content)
    assert cached(tmp_path, "k", lambda: ANSWER) == ANSWER
    assert cached(tmp_path, "k", forbidden) == ANSWER


def test_binary_garbage(tmp_path: Path) -> None:
    (tmp_path / "k.json").write_bytes(bytes(range(256)))
    assert cached(tmp_path, "k", lambda: ANSWER) == ANSWER


def test_folder_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert cached(tmp_path / "file", "k", lambda: ANSWER) == ANSWER


def test_no_folder_no_cache() -> None:
    assert cached(None, "k", lambda: ANSWER) == ANSWER


def test_fingerprint_depends_on_everything() -> None:
    x = np.float32([[1, 2]])
    base = fingerprint(b"model", [x], "mse")
    others = [
        fingerprint(b"modeM", [x], "mse"),
        fingerprint(b"model", [x + 1], "mse"),
        fingerprint(b"model", [x.T], "mse"),
        fingerprint(b"model", [x.view(np.int32)], "mse"),
        fingerprint(b"model", [x, x], "mse"),
        fingerprint(b"model", [x], "minmax"),
        fingerprint(b"modelm", [x], "se"),
    ]
    assert base == fingerprint(b"model", [x.copy()], "mse")
    assert len({base, *others}) == len(others) + 1


def test_default_folder_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_folder() == Path("/somewhere/mcucompile")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_folder() == Path.home() / ".cache" / "mcucompile"


# -- the compiler -----------------------------------------------------------------------------


def compiled(tmp_path: Path, method: str = "mse", cache: bool = True, **data: float) -> Compilation:
    model = tmp_path / "cnn.onnx"
    if not model.exists():
        models.save(models.small_cnn(), model)
        rng = np.random.default_rng(4)
        (port,) = models.small_cnn().graph.input
        shape = [max(d.dim_value, 1) for d in port.type.tensor_type.shape.dim]
        np.save(tmp_path / "calib.npy", rng.normal(size=(6, *shape[1:])).astype(np.float32))
    samples = SampleOptions(str(tmp_path / "calib.npy"), **data)
    options = CompileOptions(
        "stm32f746",
        calibration=samples,
        calibration_method=method,  # type: ignore[arg-type]
        calibration_cache=tmp_path / "cache" if cache else None,
    )
    return compile_model(model, options)


def test_output_is_the_same_with_and_without_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = compiled(tmp_path, cache=False)
    first = compiled(tmp_path)
    monkeypatch.setattr(calibrate, "observe", lambda *args: forbidden())
    second = compiled(tmp_path)
    assert without.files == first.files == second.files


def test_data_mapping_and_method_are_part_of_the_question(tmp_path: Path) -> None:
    compiled(tmp_path)
    compiled(tmp_path, scale=2.0)
    compiled(tmp_path, method="minmax")
    assert len(list((tmp_path / "cache").iterdir())) == 3
