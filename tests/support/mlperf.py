"""The 13 MLPerf Tiny models of the zoo, each with the data to calibrate and to test it."""

from __future__ import annotations

from dataclasses import dataclass

from mcucompile.options import CompileOptions, SampleOptions
from tests.support.zoo import ZOO


@dataclass(frozen=True)
class Entry:
    """One model: sample options for calibration (float models) and test, labels if it has any."""

    name: str
    test: SampleOptions
    calibration: SampleOptions | None = None
    labels: str | None = None

    def options(self, board: str = "stm32f746") -> CompileOptions:
        return CompileOptions(board=board, calibration=self.calibration)


def _data(file: str, array: str, scale: float = 1.0, offset: float = 0.0) -> SampleOptions:
    return SampleOptions(f"{ZOO}/data/{file}.npz:{array}", scale, offset)


_AD = _data("ad01_sample", "x")
_KWS = (_data("kws01_test", "x_float"), _data("kws01_calib", "x_float"), "y")
_IC = (_data("ic01_test", "x"), _data("ic01_calib", "x"), "y")
_SWW = (_data("sww01_calib", "x"), _data("sww01_calib", "x"), "y")
_VWW = (_data("vww01_test", "x", 1 / 255), _data("vww01_calib", "x", 1 / 255), "y")

ENTRIES = (
    Entry("mlperf_ad01_float", _AD, _AD),
    Entry("mlperf_ad01_float_keras", _AD, _AD),
    Entry("mlperf_ad01_int8qdq", _data("ad01_sample", "x_int8")),
    Entry("mlperf_kws_float", *_KWS),
    Entry("mlperf_kws_int8qdq", _data("kws01_test", "x_int8"), labels="y"),
    Entry("mlperf_resnet8_float", *_IC),
    Entry("mlperf_resnet8_float_keras", *_IC),
    Entry("mlperf_resnet8_int8qdq", _data("ic01_test", "x", 1.0, -128.0), labels="y"),
    Entry("mlperf_sww_float", *_SWW),
    Entry("mlperf_sww_int8qdq", _data("sww01_calib", "x", 1 / 0.0037010, -128.0), labels="y"),
    Entry("mlperf_vww96_float", *_VWW),
    Entry("mlperf_vww96_float_keras", *_VWW),
    Entry("mlperf_vww96_int8qdq", _data("vww01_test", "x", 1.0, -128.0), labels="y"),
)
