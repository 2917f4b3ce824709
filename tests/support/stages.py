"""The stages of the pipeline up to the quantized graph, for tests that need no C."""

from __future__ import annotations

from pathlib import Path

import onnx

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Graph
from mcucompile.options import CalibrationMethod, CompileOptions, SampleOptions
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.calibrate import calibrate
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize


def float_graph(path: Path) -> tuple[onnx.ModelProto, Graph]:
    """The model in `path`, and its normalized graph before quantization."""
    model = load_model(path)
    return model, run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)


def quantized_graph(
    path: Path, samples: SampleOptions | None = None, method: CalibrationMethod = "percentile"
) -> tuple[onnx.ModelProto, Graph]:
    """The model in `path`, and its quantized graph."""
    model, graph = float_graph(path)
    options = CompileOptions("any", calibration=samples, calibration_method=method)
    ranges, _ = calibrate(model, graph, options)
    return model, legalize(quantize(graph, ranges))
