"""Models with float32 layers: exact in C, closer to the float model, without double precision."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate.build import build_firmware
from mcucompile.emulate.disassembly import instructions, symbols
from mcucompile.measure import report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import load_samples
from mcucompile.validate import Where, validate
from tests.support.tools import needs_qemu
from tests.support.zoo import ZOO, model, needs_zoo

CALIB = SampleOptions(str(ZOO / "data/kws01_calib.npz:x_float"))
SCOPE = "StatefulPartitionedCall/functional_1"
# All but softmax: convolutions of all kinds, the mean, the dense layer.
LAYERS = (
    *(f"{SCOPE}/conv2d/BiasAdd", "Conv__95", f"{SCOPE}/conv2d_1/BiasAdd", "Conv__97"),
    *(f"{SCOPE}/conv2d_2/BiasAdd", "Conv__99", f"{SCOPE}/conv2d_3/BiasAdd", "Conv__101"),
    *(f"{SCOPE}/conv2d_4/BiasAdd", f"{SCOPE}/average_pooling2d/AvgPool", f"{SCOPE}/dense/MatMul"),
)


def compiled(board: str, layers: tuple[str, ...] = LAYERS) -> Compilation:
    options = CompileOptions(board, calibration=CALIB, float_layers=",".join(layers))
    return compile_model(model("mlperf_kws_float"), options)


@needs_zoo
@pytest.mark.parametrize(
    ("board", "where", "count"),
    [
        ("stm32f746", "host", 20),
        pytest.param("stm32f746", "qemu", 3, marks=needs_qemu),
        pytest.param("nano33ble", "qemu", 3, marks=needs_qemu),
    ],
)
def test_keywords(board: str, where: Where, count: int) -> None:
    compilation = compiled(board)
    samples = load_samples(
        SampleOptions(str(ZOO / "data/kws01_test.npz:x_float"), limit=count),
        compilation.graph.input_ports,
    )
    result = validate(compilation, samples, where)
    assert result.mismatches_vs_reference == 0
    assert result.top1_agreement == 1.0
    assert result.precision_gain is not None
    assert result.precision_gain.chosen > result.precision_gain.int8 + 2


@needs_zoo
def test_the_report_counts_four_bytes_a_number() -> None:
    compilation = compiled("stm32f746", LAYERS[-1:])
    content = report(compilation)
    assert content["quantization"]["float32"] == list(LAYERS[-1:])
    steps = {step["op"]: step for step in content["steps"]}
    assert steps["FloatDense"]["why"] == "float32 (--float-layers)"
    assert steps["FloatDense"]["weight_bytes"] == 4 * (64 * 12 + 12)
    calls = {step.call.kernel: step.call for step in compilation.plan.steps}
    dense = calls["mcuc_conv2d_f32"]
    assert (dense.reads[0].size, dense.writes[0].size) == (4 * 64, 4 * 12)


@needs_zoo
@needs_qemu
@pytest.mark.parametrize("board", ["nano33ble", "stm32f746", "sparkfun-edge"])
def test_no_double_precision(board: str, tmp_path: Path) -> None:
    compilation = compiled(board)
    write_sources(compilation, tmp_path / "model")
    firmware = build_firmware(
        tmp_path / "model", compilation.name, compilation.board, compilation.plan, tmp_path / "fw"
    )
    mnemonics = [i.mnemonic for i in instructions(firmware.elf).values()]
    assert any(m.endswith("mul.f32") for m in mnemonics)
    assert not [m for m in mnemonics if m.endswith(".f64") and not m.startswith("vldr")]
    assert not [s.name for s in symbols(firmware.elf) if s.name.startswith("__aeabi_d")]
    assert not [m for m in mnemonics if m.startswith(("vfma", "vfms", "vfnm"))]  # rounded once
