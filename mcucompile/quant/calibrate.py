"""Calibration: the ranges that the activations of a float model take on sample data.

The original model runs in onnxruntime, one sample at a time, with the tensors of interest as
extra outputs; only their statistics are kept. Values that the compiler made up have no tensor
there; for these, and for what operators keep inside, the float interpreter runs on a few samples.
Where states outlive a run, the interpreter runs on all of them, as one sequence: nothing else knows
of the states.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from mcucompile import __version__
from mcucompile.errors import QuantizationError
from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.options import CalibrationMethod, CompileOptions, SampleOptions
from mcucompile.progress import track
from mcucompile.quant.cache import cached, fingerprint
from mcucompile.quant.observers import Entropy, MeanSquaredError, MinMax, Observer, Percentile
from mcucompile.quant.quantize import Range, uncalibrated
from mcucompile.quant.runs import float_runs
from mcucompile.quant.samples import RANDOM, Samples, load_samples
from mcucompile.reference.onnx_session import OnnxSession

VERSION = 2  # of what is computed here and in the observers; another one makes caches void

OBSERVERS: dict[CalibrationMethod, Callable[[], Observer]] = {
    "minmax": MinMax,
    "percentile": Percentile,
    "mse": MeanSquaredError,
    "entropy": Entropy,
}


def calibration_samples(graph: Graph, options: CompileOptions) -> Samples | None:
    """The samples that give `graph` its ranges; None if it needs none, or there are none.

    Without calibration data a float model gets random samples. A partly quantized one gets none,
    so that `quantize` reports what is missing. Raises UsageError if the samples are wrong.
    """
    given = options.calibration
    needed = uncalibrated(graph) or (given is not None and _with_internals(graph))
    if not needed or (given is None and _is_partly_quantized(graph)):
        return None
    return load_samples(given or SampleOptions(RANDOM), graph.input_ports)


def _is_partly_quantized(graph: Graph) -> bool:
    """Does the model bring ranges? That of an input may be an option; see border.preprocess."""
    ports = zip(graph.inputs, graph.input_ports, strict=True)
    raw = {n for n, p in ports if p.preprocessing and p.preprocessing.form == "exact"}
    known = (v for v in graph.values() if v.qparams is not None and not v.is_constant)
    return any(v.name not in raw for v in known)


def calibrate(
    model: onnx.ModelProto, graph: Graph, samples: Samples | None, options: CompileOptions
) -> dict[str, Range]:
    """Ranges for `quantize(graph, ...)` by value name; none without samples.

    model: what `graph` was made from. What is in the cache of `options` is not computed again.
    Raises UnsupportedModelError MC106 if onnxruntime cannot run the model, QuantizationError MC204
    if it computes NaN or Inf.
    """
    if samples is None:
        return {}
    values, method = uncalibrated(graph), options.calibration_method
    tensors = [(v.name, v.onnx_name, v.shape) for v in values]
    changed = options.equalize, sorted(options.prune.items()), options.saliency
    asked = repr((__version__, VERSION, method, changed, tensors, graph.is_stateful))
    key = fingerprint(model.SerializeToString(deterministic=True), samples.arrays, asked)

    def compute() -> dict[str, Range]:
        return observe(model, graph, values, samples, method)

    return cached(options.calibration_cache, key, compute)


def observe(
    model: onnx.ModelProto,
    graph: Graph,
    values: Sequence[Value],
    samples: Samples,
    method: CalibrationMethod,
) -> dict[str, Range]:
    """The range of each of the activations `values` of `graph` over `samples`, by value name; of
    what operators keep inside, as OP.NAME (see Op.internals)."""
    known = set() if graph.is_stateful else _tensors(model)
    tensors = {v.name: v.onnx_name for v in values if v.onnx_name in known}
    seen = {tensor: OBSERVERS[method]() for tensor in tensors.values()}
    session = OnnxSession(model, list(seen))
    runs = session.samples(samples.arrays) if seen else ()
    for arrays in track(runs, "calibrate", samples.count):
        for tensor, array in zip(session.output_names, arrays, strict=True):
            if tensor in seen:
                _update(seen[tensor], tensor, array)
    ranges = {name: seen[tensor].range() for name, tensor in tensors.items()}
    others = {v.name for v in values} - set(tensors)
    if others or _with_internals(graph):
        ranges |= _interpret(graph, others, samples, method)
    return with_results(graph, ranges)


def _tensors(model: onnx.ModelProto) -> set[str]:
    """The names of all tensors that the model computes or is given."""
    given = {i.name for i in model.graph.input}
    return given | {name for node in model.graph.node for name in node.output}


def _with_internals(graph: Graph) -> list[Op]:
    return [op for op in graph.ops() if type(op).internals is not Op.internals]


def _interpret(
    graph: Graph, names: set[str], samples: Samples, method: CalibrationMethod
) -> dict[str, Range]:
    """Ranges of values that are no tensors of the model, and of what operators keep inside."""
    seen: dict[str, Observer] = {}
    for contents in float_runs(graph, samples):
        found = {name: contents[name] for name in sorted(names)}
        for name, array in (found | internals(graph, contents)).items():
            _update(seen.setdefault(name, OBSERVERS[method]()), name, array)
    return {name: observer.range() for name, observer in seen.items()}


def internals(graph: Graph, contents: Mapping[str, Array]) -> dict[str, Array]:
    """What the operators of the float `graph` keep inside (see Op.internals), as OP.NAME.

    contents: of its activations, by value name.
    """
    found: dict[str, Array] = {}
    for op in _with_internals(graph):
        operands = [v.real if v.is_constant else contents[v.name] for v in graph.operands(op)]
        found |= {f"{op.name}.{name}": array for name, array in op.internals(operands).items()}
    return found


def with_results(graph: Graph, ranges: dict[str, Range]) -> dict[str, Range]:
    """`ranges` in which results have room for what is stored like them."""
    wider = dict(ranges)
    for op in _with_internals(graph):
        name, known = graph.results(op)[0].name, ranges.get(f"{op.name}.result")
        if known is not None and name in ranges:
            wider[name] = (min(known[0], ranges[name][0]), max(known[1], ranges[name][1]))
    return wider


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
