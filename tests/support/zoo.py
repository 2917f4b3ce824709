"""The zoo of real models and data that lies beside the project, and nothing of which is in it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
ZOO = Path(os.environ.get("MCUCOMPILE_ZOO", ROOT.parent / "shared" / "zoo"))

needs_zoo = pytest.mark.skipif(
    not (ZOO / "models").is_dir(), reason=f"no model zoo at {ZOO} (set MCUCOMPILE_ZOO)"
)

MLPERF = (
    "mlperf_ad01_float",
    "mlperf_ad01_float_keras",
    "mlperf_ad01_int8qdq",
    "mlperf_kws_float",
    "mlperf_kws_int8qdq",
    "mlperf_resnet8_float",
    "mlperf_resnet8_float_keras",
    "mlperf_resnet8_int8qdq",
    "mlperf_sww_float",
    "mlperf_sww_int8qdq",
    "mlperf_vww96_float",
    "mlperf_vww96_float_keras",
    "mlperf_vww96_int8qdq",
)

DIMS = {"onnx2c_lstm_k1": {"M1": 4}}  # of models with an input whose shape is not static


def model(name: str) -> Path:
    """Path of the zoo model `name`."""
    return ZOO / "models" / f"{name}.onnx"


def supported() -> list[Path]:
    """The models that can be compiled, sorted by name."""
    return [p for p in sorted(ZOO.glob("models/*.onnx")) if not p.stem.startswith("unsupported")]


def data(name: str) -> dict[str, np.ndarray]:
    """Arrays of the data file `name`, e.g. "kws01_test"."""
    with np.load(ZOO / "data" / f"{name}.npz", allow_pickle=False) as arrays:
        return dict(arrays)
