"""Accuracy of quantized models, by how their ranges were calibrated and what else was done.

    python -m bench.accuracy            all models
    python -m bench.accuracy kws tt_    those that have one of these in their name

What is measured is the integer reference, which the compiled code equals bit for bit. Pictures of
another size than a model's are resized with a triangle filter, as Pillow's BILINEAR does.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from bench.table import aligned
from mcucompile.ir import Array
from mcucompile.layer_errors import sqnr
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import from_model_int8, load_samples, to_model_int8
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from tests.support import zoo
from tests.support.stages import float_graph, quantized_graph

PIXEL = 1 / 255
BASE = CompileOptions("stm32f746")

# Columns of the tables: what differs from the defaults.
VARIANTS: dict[str, dict[str, Any]] = {
    "minmax": {"calibration_method": "minmax"},
    "percentile": {"calibration_method": "percentile"},
    "entropy": {"calibration_method": "entropy"},
    "mse": {"calibration_method": "mse"},
    "uncorrected": {"bias_correction": False},
    "equalized": {"equalize": True},
    "adaptive": {"rounding": "adaptive"},
    "mixed": {"mixed": "auto"},
}


@dataclass(frozen=True)
class Case:
    """A float model with calibration and test data, arrays of the zoo's files.

    size: of square pictures, which are resized from what the file has. scale, offset: then map
    them to the model's numbers. channels_first: the model takes NCHW.
    labelled: the model has learnt the labels `y`; if not, only its predictions are compared.
    """

    model: str
    data: str
    array: str = "x"
    scale: float = 1.0
    offset: float = 0.0
    size: int = 0
    channels_first: bool = False
    labelled: bool = True

    def samples(self, folder: Path) -> tuple[SampleOptions, SampleOptions]:
        """Samples for calibration and for test; files are made in `folder` where need be."""
        kinds = ("calib", "calib" if self.data == "sww01" else "test")
        calib, test = (self._source(f"{self.data}_{kind}", folder) for kind in kinds)
        return calib, test

    def _source(self, file: str, folder: Path) -> SampleOptions:
        path = zoo.ZOO / "data" / f"{file}.npz"
        if self.size:
            arrays = zoo.data(file)
            pictures = resized(arrays[self.array], self.size)
            if self.channels_first:
                pictures = pictures.transpose(0, 3, 1, 2)
            path = folder / f"{file}_{self.size}.npz"
            np.savez(path, **{self.array: pictures, "y": arrays["y"]})
        return SampleOptions(f"{path}:{self.array}", self.scale, self.offset)


def _mnist(model: str, **kwargs: int) -> Case:
    return Case(model, "mnist", scale=PIXEL, **kwargs)


def _picture(model: str, size: int, channels_first: bool = False, labelled: bool = False) -> Case:
    return Case(model, "vww01", "x", 1 / 127.5, -1.0, size, channels_first, labelled)


CASES = (
    Case("mlperf_kws_float", "kws01", "x_float"),
    Case("mlperf_resnet8_float", "ic01"),
    Case("mlperf_vww96_float", "vww01", scale=PIXEL),
    Case("mlperf_sww_float", "sww01"),
    _picture("tinyengine_mcunet_vww_float", 80, labelled=True),
    _mnist("onnx2c_mnist_cntk"),
    _mnist("onnx2c_atmega_mnist", size=14),
    _mnist("tinymaix_mnist_arduino_float"),
    _mnist("tinymaix_mnist_dw_float"),
    _mnist("tinymaix_mnist_fc_float"),
    _mnist("tinymaix_mnist_valid_float"),
    _mnist("tflm_mnist_lstm_float"),
    _mnist("own_blocksparse50_mnist_float"),
    _picture("tt_mbv2_w035_128_float", 128, channels_first=True),
    _picture("tt_mcunet_5fps_128_float", 128, channels_first=True),
)


def case(model: str) -> Case:
    """The case of a model of the zoo. Raises KeyError if there is none."""
    return {c.model: c for c in CASES}[model]


def resized(pictures: Array, size: int) -> Array:
    """Square pictures (N, H, W) or (N, H, W, C) of uint8 as (N, size, size[, C]), uint8."""
    matrix = _triangles(pictures.shape[1], size)
    real = np.einsum("ah,nh...->na...", matrix, pictures.astype(np.float64))
    real = np.einsum("bw,naw...->nab...", matrix, real)
    return np.rint(real).astype(np.uint8)


def _triangles(old: int, new: int) -> Array:
    """The weight of each of `old` pixels in each of `new` ones."""
    ratio = old / new
    centres = (np.arange(new)[:, None] + 0.5) * ratio
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres) / max(ratio, 1.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Outcome:
    """accuracy, agreement: shares of the samples. sqnr: of the model's output, in dB."""

    accuracy: float
    agreement: float
    sqnr: float


def outcomes(case: Case, folder: Path, variants: Sequence[str]) -> tuple[float, list[Outcome]]:
    """Accuracy of the float model, and what each of `variants` makes of it."""
    path = zoo.model(case.model)
    calib, test = case.samples(folder)
    model, graph = float_graph(path)
    samples = load_samples(test, graph.input_ports, "y")
    (original,) = OnnxSession(model).run(samples.arrays)
    found = []
    for name in variants:
        changes = VARIANTS[name]
        options = replace(BASE, calibration=calib, calibration_cache=folder, **changes)
        _, graph = quantized_graph(path, options=options)
        (x,), (port,) = samples.arrays, graph.input_ports
        (y,) = run_int(graph, [to_model_int8(x, port, graph.value(graph.inputs[0]).q)])
        out = from_model_int8(y, graph.output_ports[0], graph.value(graph.outputs[0]).q)
        found.append(_outcome(original, out, samples.labels))
    return float(np.mean(_top1(original) == samples.labels)), found


def _outcome(original: Array, out: Array, labels: Array | None) -> Outcome:
    same = _top1(out) == _top1(original)
    correct = _top1(out) == labels
    ratio = sqnr(original, out)
    noise = float("inf") if ratio is None else ratio
    return Outcome(float(np.mean(correct)), float(np.mean(same)), noise)


def _top1(outputs: Array) -> Array:
    return np.asarray(outputs.reshape(len(outputs), -1).argmax(axis=1))


@click.command(help="Accuracy of the zoo's float models by the options of quantization.")
@click.argument("names", nargs=-1)
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Of the columns.")
def main(names: tuple[str, ...], only: tuple[str, ...]) -> None:
    variants = only or tuple(VARIANTS)
    head = ["model", "float", *variants]
    tables = {kind: [head] for kind in ("accuracy, %", "top-1 agreement, %", "SQNR, dB")}
    for case in CASES:
        if names and not any(name in case.model for name in names):
            continue
        click.echo(case.model, err=True)
        with tempfile.TemporaryDirectory() as folder:
            accuracy, found = outcomes(case, Path(folder), variants)
        rows = (
            [f"{100 * accuracy:.1f}", *(f"{100 * o.accuracy:.1f}" for o in found)],
            ["", *(f"{100 * o.agreement:.1f}" for o in found)],
            ["", *(f"{o.sqnr:.1f}" for o in found)],
        )
        for table, row in zip(tables.values(), rows, strict=True):
            if case.labelled or row[0] == "":
                table.append([case.model, *row])
                click.echo("  ".join(row), err=True)
    for kind, table in tables.items():
        click.echo(f"\n{kind}\n\n{aligned(table)}")


if __name__ == "__main__":
    main(prog_name="python -m bench.accuracy")
