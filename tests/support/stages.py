"""The stages of the pipeline up to the quantized graph, for tests that need no C."""

from __future__ import annotations

from pathlib import Path

import onnx

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Graph
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.post_training import post_training_quantization


def float_graph(path: Path) -> tuple[onnx.ModelProto, Graph]:
    """The model in `path`, and its normalized graph before quantization."""
    model = load_model(path)
    return model, run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)


def quantized_graph(
    path: Path, samples: SampleOptions | None = None, options: CompileOptions | None = None
) -> tuple[onnx.ModelProto, Graph]:
    """The model in `path`, and its quantized graph."""
    model, graph = float_graph(path)
    options = options or CompileOptions("any", calibration=samples)
    return model, post_training_quantization(model, graph, options).graph
