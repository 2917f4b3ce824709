"""The models whose figures are published and gated, and the goals for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.figures import BOARDS, RAM, Figures, model_figures
from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions, SampleOptions
from tests.support import zoo
from tests.support.mlperf import ENTRIES

_DIGITS = zoo.ROOT / "examples" / "digits"


@dataclass(frozen=True)
class Model:
    """A model with its goals, None where there is none: instructions on a Cortex-M4, bytes of SRAM
    and of flash.

    calibration: for a float model; without it, random inputs calibrate it. always: every run of the
    tests checks the budget; others take long, or the same kernels as their int8 twins.
    """

    name: str
    instructions: int | None = None
    sram: int | None = None
    flash: int | None = None
    path: Path | None = None
    calibration: SampleOptions | None = None
    always: bool = True

    @property
    def file(self) -> Path:
        return self.path or zoo.model(self.name)

    @property
    def is_there(self) -> bool:
        return self.file.is_file()

    def figures(self, core: str) -> Figures:
        """Raises McuCompileError where the model cannot be compiled."""
        options = CompileOptions(BOARDS[core], calibration=self.calibration, ram=RAM)
        return model_figures(self.name, compile_model(self.file, options))


MODELS = (
    Model(
        "digits",
        path=_DIGITS / "digits.onnx",
        calibration=SampleOptions(str(_DIGITS / "calib.npz")),
    ),
    Model("mlperf_ad01_int8qdq", 270_000, 1_800, 275_000),
    Model("mlperf_kws_int8qdq", 3_000_000, 9_800, 40_000),
    Model("mlperf_sww_int8qdq", 1_000_000, 6_000),
    Model("mlperf_resnet8_int8qdq", 8_000_000, 26_000, 95_000),
    Model("mlperf_vww96_int8qdq", 8_200_000, 33_000, 70_000),
    Model("tflm_micro_speech_int8qdq", 500_000),
    Model("tinyengine_mcunet_vww_int8qdq", 13_000_000, 27_000, 470_000),
    Model("rand_mbv2_w035_144", 29_000_000, 74_000, always=False),
    *(Model(e.name, calibration=e.calibration, always=False) for e in ENTRIES if e.calibration),
)
