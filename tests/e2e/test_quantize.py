"""`mcucompile quantize`: the integers of the compiled model as a file that other tools read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.accuracy import case
from mcucompile.compiler import compile_model, quantize_model
from mcucompile.export import qdq_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Array
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import load_samples
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from tests.support import zoo
from tests.support.exported import calls, computations, steps_by_operator, stored_inputs
from tests.support.zoo import ROOT

DIGITS = ROOT / "examples" / "digits"
BOARD = "stm32f746"
AGREEMENT = 0.995  # of predictions


def _quantize(*args: str | Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "mcucompile", "quantize", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == code, done.stderr
    return done.stderr


def _check(path: Path, written: Path, calibration: SampleOptions | None, x: Array) -> float:
    """Assert that the file `written` for the model `path` is valid, keeps its ports, computes what
    its integers say and compiles to the same code; returns the agreement on the samples `x`."""
    options = CompileOptions(BOARD, name="model", calibration=calibration)
    original, again = compile_model(path, options), compile_model(written, CompileOptions(BOARD))
    graph = original.quantized.graph
    assert computations(again.quantized.graph) == computations(graph)
    assert again.quantized.source == "model"
    assert calls(again) == calls(original)
    model = onnx.load(written)
    onnx.checker.check_model(model, full_check=True)
    assert again.graph.input_ports == original.graph.input_ports
    assert again.graph.output_ports == original.graph.output_ports
    few = x[:8]
    steps = steps_by_operator(graph, model, [few])
    assert len(steps) == len(list(graph.ops()))
    assert max(steps.values()) <= 1, steps
    (want,) = run_int(graph, stored_inputs(graph, [x]))
    (have,) = OnnxSession(model).run([x])
    shape = (len(x), -1)
    return float((have.reshape(shape).argmax(1) == want.reshape(shape).argmax(1)).mean())


def test_example(tmp_path: Path) -> None:
    written = tmp_path / "digits.onnx"
    calib = DIGITS / "calib.npz"
    text = _quantize(DIGITS / "digits.onnx", "--calib", calib, "-o", written)
    assert f"wrote {written}" in text
    assert "WARNING" not in text
    x = np.load(DIGITS / "test.npz")["x"]
    assert _check(DIGITS / "digits.onnx", written, SampleOptions(str(calib)), x) >= AGREEMENT


def test_options_reach_the_numbers(tmp_path: Path) -> None:
    written = [tmp_path / f"{method}.onnx" for method in ("minmax", "mse")]
    for file in written:
        args = ("--calib", DIGITS / "calib.npz", "--calib-method", file.stem, "-o", file)
        assert _quantize(DIGITS / "digits.onnx", *args, "--quiet") == ""
    minmax, mse = (file.read_bytes() for file in written)
    assert minmax != mse


def test_without_calibration_there_is_a_warning(tmp_path: Path) -> None:
    text = _quantize(DIGITS / "digits.onnx", "-o", tmp_path / "digits.onnx")
    assert "WARNING: no calibration data" in text


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = _quantize(DIGITS / "digits.onnx", "-o", tmp_path / "file" / "digits.onnx", code=2)
    assert "error MC022" in text


# Models that bench.accuracy has no case of, and their samples.
SAMPLES = {
    "mlperf_ad01_float": SampleOptions(f"{zoo.ZOO}/data/ad01_sample.npz:x", limit=64),
    "mlperf_vww96_int8qdq": SampleOptions(f"{zoo.ZOO}/data/vww01_test.npz", offset=-128.0),
}
FLOAT = ("mlperf_kws_float", "mlperf_resnet8_float", "tt_mbv2_w035_128_float")
# Of 1000 classes, on pictures that show none of them, the best two are often a step apart: the few
# numbers per picture that onnxruntime rounds otherwise decide between them.
CLOSE = {"tt_mbv2_w035_128_float": 0.9}


@zoo.needs_zoo
@pytest.mark.slow
def test_one_step_of_the_input_changes_predictions_of_close_classes(tmp_path: Path) -> None:
    """What CLOSE allows is no more than what the model does by itself."""
    (name,) = CLOSE
    calibration, test = case(name).samples(tmp_path)
    options = CompileOptions("", calibration=calibration)
    graph = quantize_model(load_model(zoo.model(name)), "model", options, lambda text: None).graph
    (x,) = stored_inputs(graph, load_samples(test, graph.input_ports).arrays)
    moved = x.reshape(len(x), -1).copy()
    at = np.random.default_rng(0).integers(0, moved.shape[1], len(x))
    one = moved[np.arange(len(x)), at]
    moved[np.arange(len(x)), at] = np.where(one < 127, one + 1, one - 1)
    before, after = (
        run_int(graph, [a.reshape(x.shape)])[0].reshape(len(x), -1) for a in (x, moved)
    )
    assert np.mean(before != after) > 0.4
    assert np.mean(before.argmax(1) == after.argmax(1)) < 0.95


@zoo.needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("name", [*FLOAT, *SAMPLES])
def test_zoo(name: str, tmp_path: Path) -> None:
    path, written = zoo.model(name), tmp_path / "model.onnx"
    calibration, test = case(name).samples(tmp_path) if name in FLOAT else (None, SAMPLES[name])
    if name == "mlperf_ad01_float":
        calibration = test
    options = CompileOptions("", calibration=calibration)
    graph = quantize_model(load_model(path), "model", options, lambda text: None).graph
    written.write_bytes(qdq_model(graph).SerializeToString())
    (x,) = load_samples(test, graph.input_ports).arrays
    assert _check(path, written, calibration, x) >= CLOSE.get(name, AGREEMENT)
