"""Calibration: the ranges that the activations of a float model take on sample data.

The original model runs in onnxruntime, one sample at a time, with the tensors of interest as
extra outputs; only their statistics are kept. Values that the compiler made up have no tensor
there; for these the float interpreter runs on a few samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx

from mcucompile.errors import QuantizationError
from mcucompile.ir import Array, Graph, Value
from mcucompile.options import CalibrationMethod, CompileOptions, SampleOptions
from mcucompile.quant.observers import MinMax, Observer, Percentile
from mcucompile.quant.quantize import Range, uncalibrated
from mcucompile.quant.samples import RANDOM, Samples, load_samples, to_real
from mcucompile.reference.float_interpreter import run_float_all
from mcucompile.reference.onnx_session import OnnxSession

OBSERVERS: dict[CalibrationMethod, Callable[[], Observer]] = {
    "minmax": MinMax,
    "percentile": Percentile,
}
INTERPRETED_SAMPLES = 16

SYNTHETIC_DATA = (
    "no calibration data: the ranges of the activations come from random inputs, so the accuracy "
    "of the compiled model is unknown and may be useless; give real samples with --calib"
)


def calibrate(
    model: onnx.ModelProto, graph: Graph, options: CompileOptions
) -> tuple[dict[str, Range], tuple[str, ...]]:
    """Ranges for `quantize(graph, ...)` by value name, and warnings for people.

    model: what `graph` was made from. Nothing is run if the graph needs no range. Without
    calibration data a float model gets random samples and a warning; a partly quantized one gets
    no ranges, so that `quantize` reports what is missing. Raises UsageError if the samples are
    wrong, UnsupportedModelError MC106 if onnxruntime cannot run the model, QuantizationError MC204
    if it computes NaN or Inf.
    """
    values, given = uncalibrated(graph), options.calibration
    if not values or (given is None and _is_partly_quantized(graph)):
        return {}, ()
    source = given or SampleOptions(RANDOM)
    samples = load_samples(source, graph.input_ports)
    warnings = (SYNTHETIC_DATA,) if source.spec == RANDOM else ()
    return observe(model, graph, values, samples, options.calibration_method), warnings


def _is_partly_quantized(graph: Graph) -> bool:
    return any(v.qparams is not None and not v.is_constant for v in graph.values())


def observe(
    model: onnx.ModelProto,
    graph: Graph,
    values: Sequence[Value],
    samples: Samples,
    method: CalibrationMethod,
) -> dict[str, Range]:
    """The range of each of the activations `values` of `graph` over `samples`, by value name."""
    known = _tensors(model)
    tensors = {v.name: v.onnx_name for v in values if v.onnx_name in known}
    seen = {tensor: OBSERVERS[method]() for tensor in tensors.values()}
    session = OnnxSession(model, list(seen))
    for arrays in session.samples(samples.arrays):
        for tensor, array in zip(session.output_names, arrays, strict=True):
            if tensor in seen:
                _update(seen[tensor], tensor, array)
    ranges = {name: seen[tensor].range() for name, tensor in tensors.items()}
    others = {v.name for v in values} - set(tensors)
    return ranges | _interpret(graph, others, samples, method)


def _tensors(model: onnx.ModelProto) -> set[str]:
    """The names of all tensors that the model computes or is given."""
    given = {i.name for i in model.graph.input}
    return given | {name for node in model.graph.node for name in node.output}


def _interpret(
    graph: Graph, names: set[str], samples: Samples, method: CalibrationMethod
) -> dict[str, Range]:
    """Ranges of values that are no tensors of the model."""
    if not names:
        return {}
    inputs = zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    few = [
        to_real(array[:INTERPRETED_SAMPLES], port, graph.value(name).qparams)
        for array, port, name in inputs
    ]
    contents = run_float_all(graph, few)
    ranges = {}
    for name in sorted(names):
        observer = OBSERVERS[method]()
        _update(observer, name, contents[name])
        ranges[name] = observer.range()
    return ranges


def _update(observer: Observer, name: str, array: Array) -> None:
    if not np.isfinite(array).all():
        raise QuantizationError(
            "MC204",
            f"tensor '{name}'",
            "cannot be calibrated",
            "the model computes NaN or Inf from the calibration data",
            "check that the data is what the model expects (--data-scale, --data-offset)",
        )
    observer.update(array)
