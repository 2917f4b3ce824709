"""Binary networks: as accurate as onnxruntime, the same bits in C, and as fast as claimed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.figures import BOARDS
from mcucompile.board import load_board
from mcucompile.compiler import compile_model
from mcucompile.emit import EmitOptions, emit
from mcucompile.emulate import qemu
from mcucompile.emulate.build import build_firmware
from mcucompile.ir import Array, Graph
from mcucompile.lower import lower
from mcucompile.measure import report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.plan.planner import make_plan
from mcucompile.quant.samples import load_samples
from mcucompile.report.build import Report
from mcucompile.validate import validate
from tests.support import zoo
from tests.support.binary import binary_layer
from tests.support.tools import needs_qemu

MODELS = ["own_bnn_mnist_padone_float", "own_bnn_mnist_padone_pm1_float"]
PIXEL = 1 / 255


def _options() -> CompileOptions:
    calibration = SampleOptions(str(zoo.ZOO / "data/mnist_calib.npz:x"), PIXEL)
    return CompileOptions("nano33ble", calibration=calibration)


@zoo.needs_zoo
@pytest.mark.parametrize("model", [MODELS[0], pytest.param(MODELS[1], marks=pytest.mark.slow)])
def test_accuracy(model: str) -> None:
    """On all 1000 images that of onnxruntime to within 0.2 points, and no byte is different."""
    compilation = compile_model(zoo.model(model), _options())
    source = SampleOptions(str(zoo.ZOO / "data/mnist_test.npz:x"), PIXEL)
    samples = load_samples(source, compilation.graph.input_ports, "y")
    result = validate(compilation, samples, "host")
    assert result.mismatches_vs_reference == 0
    assert result.accuracy_float is not None
    assert result.accuracy_compiled is not None
    assert abs(result.accuracy_compiled - result.accuracy_float) <= 0.002


@zoo.needs_zoo
def test_beside_layers_that_round_as_tflite() -> None:
    compilation = compile_model(zoo.model(MODELS[0]), replace(_options(), requant="tflite"))
    source = SampleOptions(str(zoo.ZOO / "data/mnist_test.npz:x"), PIXEL, limit=5)
    samples = load_samples(source, compilation.graph.input_ports)
    assert validate(compilation, samples, "host").mismatches_vs_reference == 0


@needs_qemu
@zoo.needs_zoo
def test_on_a_core() -> None:
    compilation = compile_model(zoo.model(MODELS[0]), _options())
    source = SampleOptions(str(zoo.ZOO / "data/mnist_test.npz:x"), PIXEL, limit=3)
    samples = load_samples(source, compilation.graph.input_ports)
    assert validate(compilation, samples, "qemu").mismatches_vs_reference == 0


@zoo.needs_zoo
def test_a_bit_is_a_bit_in_the_report() -> None:
    """Activations take a bit each; weights too, with what else a layer needs one in ten more."""
    content: Report = report(compile_model(zoo.model(MODELS[0]), _options()))
    first, *_ = (s for s in content["steps"] if s["op"] == "BinaryConv2dSign")
    weights = 64 * 32 * 9
    assert weights <= 8 * first["weight_bytes"] <= 1.15 * weights
    (packed,) = (s for s in content["steps"] if s["name"] == first["name"])
    (read,) = (b for b in packed["buffers"] if b["role"] == "read")
    rows = (read["end"] - read["offset"]) * 8 // (14 * 32)
    assert read["end"] - read["offset"] == rows * 14 * 32 // 8
    assert rows <= 14


# What the activations of a layer may be, for the cost depends on them: random; half of each pixel;
# such that the lists of each pixel are filled up as far as they can; all of one sign.
def _activations(kind: str, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(7)
    if kind == "random":
        return np.where(rng.random(shape) < 0.5, 1, -1).astype(np.int8)
    channels = shape[-1]
    ones = {"half": channels // 2, "filled": channels // 2 - 3, "none": 0, "all": channels}[kind]
    order = rng.random(shape).argsort(axis=-1)
    return np.where(order < ones, 1, -1).astype(np.int8)


@needs_qemu
@pytest.mark.parametrize(
    ("image", "kernel", "pad", "wanted"),
    [((14, 14, 64), 3, 1, 6.0), ((14, 14, 64), 3, 0, 6.0), ((14, 14, 128), 1, 0, 5.0)],
)
def test_speed(
    image: tuple[int, int, int], kernel: int, pad: int, wanted: float, tmp_path: Path
) -> None:
    """Multiply-accumulates per instruction, on random data and on the worst."""
    rng = np.random.default_rng(4242)
    around = ((kernel - 1) // 2,) * 4
    graph = binary_layer(image, image[2], (kernel, kernel), rng, sign=True, pads=around, pad=pad)
    kinds = ["random", "half", "filled", "none", "all"]
    counted = _instructions(graph, [_activations(kind, (1, *image)) for kind in kinds], tmp_path)
    (call,) = lower(graph, load_board(BOARDS["cortex-m4"]).target()).calls
    speed = {kind: call.macs / n for kind, n in zip(kinds, counted, strict=True)}
    assert speed["random"] >= wanted, speed
    assert min(speed.values()) >= 4.0, speed


def _instructions(graph: Graph, inputs: list[Array], folder: Path) -> list[int]:
    """Executed instructions of the only step of `graph` for each input."""
    board = load_board(BOARDS["cortex-m4"])
    plan = make_plan(lower(graph, board.target()))
    for path, text in emit(graph, plan, EmitOptions("layer", board=board.name)).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    firmware = build_firmware(folder, "layer", board, plan, folder / "work")
    return [qemu.profile(firmware, [x]).steps[0] for x in inputs]
