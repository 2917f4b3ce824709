"""The compiled C code on all test data of the zoo's float models: the accuracy that users get."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from bench.accuracy import case
from mcucompile.compiler import compile_model
from mcucompile.options import CalibrationMethod, CompileOptions
from mcucompile.quant.samples import load_samples
from mcucompile.validate import Validation, Where, validate
from tests.support.zoo import model, needs_zoo

pytestmark = [needs_zoo, pytest.mark.slow]

GOALS = {
    "mlperf_kws_float": 0.913,
    "mlperf_resnet8_float": 0.885,
    "mlperf_vww96_float": 0.874,
    "tinyengine_mcunet_vww_float": 0.883,
}
LOSS = 0.005  # of digits
DIGITS = (
    "onnx2c_mnist_cntk",
    "onnx2c_atmega_mnist",
    "tinymaix_mnist_arduino_float",
    "tinymaix_mnist_dw_float",
    "tinymaix_mnist_fc_float",
    "tinymaix_mnist_valid_float",
)


def validated(
    name: str,
    folder: Path,
    where: Where = "host",
    limit: int | None = None,
    method: CalibrationMethod = "mse",
) -> Validation:
    calibration, test = case(name).samples(folder)
    options = CompileOptions("stm32f746", calibration=calibration, calibration_method=method)
    compilation = compile_model(model(name), options)
    ports = compilation.graph.input_ports
    return validate(compilation, load_samples(replace(test, limit=limit), ports, "y"), where)


@pytest.mark.parametrize("name", [*GOALS, *DIGITS])
def test_accuracy_on_the_host(name: str, tmp_path: Path) -> None:
    result = validated(name, tmp_path)
    assert result.mismatches_vs_reference == 0
    assert result.accuracy_float is not None
    assert result.accuracy_compiled is not None
    assert result.accuracy_compiled >= GOALS.get(name, result.accuracy_float - LOSS)


@pytest.mark.parametrize("name", GOALS)
def test_bytes_under_qemu(name: str, tmp_path: Path) -> None:
    assert validated(name, tmp_path, "qemu", limit=50).mismatches_vs_reference == 0


@pytest.mark.parametrize("method", get_args(CalibrationMethod))
def test_imagenet_model_predicts_what_its_original_predicts(
    method: CalibrationMethod, tmp_path: Path
) -> None:
    """1000 classes, on pictures of other things: far from any decision that it was trained for."""
    result = validated("tt_mbv2_w035_128_float", tmp_path, method=method)
    assert result.mismatches_vs_reference == 0
    assert result.top1_agreement is not None
    assert result.top1_agreement >= 0.8
