"""How far the quantized model is from the float model, layer by layer, and what may help.

Noise adds up from layer to layer, so each layer has two figures: with its inputs as the quantized
model has them, and alone, with the float model's inputs stored in 8 bits. The second one tells
which layers are to blame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Graph, QuantRule, Value
from mcucompile.ops.border import ToFloat
from mcucompile.options import CompileOptions
from mcucompile.progress import track
from mcucompile.quant.post_training import Quantized
from mcucompile.quant.samples import Samples, to_model_int8, to_real
from mcucompile.reference.float_interpreter import run_float_all
from mcucompile.reference.integer_interpreter import run_int_all

SAMPLES = 16
TOGETHER = 4  # samples whose activations are in memory at a time
DIVERGES = 20.0  # dB, below which noise has more than a tenth of the amplitude of the signal
CLIPPING = 0.5  # share of a layer's own noise from which on clipping is the reason for it


@dataclass(frozen=True)
class LayerError:
    """Signal-to-quantization-noise ratios of a layer's result in dB, None where there is no noise.

    sqnr: in the quantized model. own: of the layer alone. clipped: share of the own noise that
    comes from numbers outside the range of int8.
    """

    name: str
    op: str
    onnx_names: tuple[str, ...]
    sqnr: float | None
    own: float | None
    clipped: float


def sqnr(original: Array, quantized: Array) -> float | None:
    """10 log10(sum x^2 / sum (x - y)^2) in dB, of arrays of equal size; None if they are equal."""
    x = original.reshape(-1).astype(np.float64)
    return _decibels(float(x @ x), float(np.sum((x - quantized.reshape(-1)) ** 2)))


def cosine(a: Array, b: Array) -> float:
    """Cosine of the angle between arrays of equal size; 1 if both are zero."""
    x, y = (v.reshape(-1).astype(np.float64) for v in (a, b))
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float(not x.any() and not y.any())


def _decibels(signal: float, noise: float) -> float | None:
    tiny = float(np.finfo(np.float64).tiny)
    return None if noise == 0.0 else float(10 * np.log10(max(signal / noise, tiny)))


def layer_errors(quantized: Quantized, samples: Samples) -> tuple[LayerError, ...]:
    """The errors of all layers that compute something, in the order of the graph."""
    graph = quantized.graph
    sums: dict[str, Array] = defaultdict(lambda: np.zeros(4))
    for real, stored in _runs(quantized.original, graph, samples):
        for op in graph.ops():
            (result, *_), operands = graph.results(op), graph.operands(op)
            if op.quant_rule is QuantRule.SAME or isinstance(op, ToFloat):
                continue
            if result.name not in real:
                continue
            if graph.only_sign_matters(result):  # all but it may be noise, as before a Sign
                continue
            known = [v for v in operands if v.is_constant or v.name in real]
            if len(known) < len(operands):
                continue
            given = [v.data if v.data is not None else v.q.quantize(real[v.name]) for v in operands]
            (alone, *_) = op.evaluate_int(operands, graph.results(op), given)
            sums[op.name] += _powers(result, real[result.name], stored[result.name], alone)
    return tuple(
        LayerError(
            op.name,
            op.kind,
            op.origin,
            _decibels(signal, noise),
            _decibels(signal, own),
            clipped / own if own else 0.0,
        )
        for op in graph.ops()
        if op.name in sums
        for signal, noise, own, clipped in (map(float, sums[op.name]),)
    )


def _runs(
    original: Graph, graph: Graph, samples: Samples
) -> Iterator[tuple[dict[str, Array], dict[str, Array]]]:
    """All activations of both graphs, a few samples at a time."""
    starts = range(0, min(samples.count, SAMPLES), TOGETHER)
    for start in track(starts, "layers", len(starts)):
        real, stored = [], []
        for array, port, name in zip(samples.arrays, graph.input_ports, graph.inputs, strict=True):
            part = array[start : min(start + TOGETHER, SAMPLES)]
            q = graph.value(name).q
            real.append(to_real(part, port, q))
            stored.append(to_model_int8(part, port, q))
        yield run_float_all(original, real), run_int_all(graph, stored)


def _powers(value: Value, real: Array, stored: Array, alone: Array) -> Array:
    """Sums of squares: signal, noise, the layer's own noise, and what of it is clipping."""
    x, q = real.astype(np.float64), value.q
    lo, hi = q.dequantize(np.asarray(q.limits))
    noise, own = (q.dequantize(a) - x for a in (stored, alone))
    outside = (x < lo) | (x > hi)
    return np.asarray([np.sum(x**2), np.sum(noise**2), np.sum(own**2), np.sum(own[outside] ** 2)])


def worst(errors: Sequence[LayerError], count: int = 5) -> list[LayerError]:
    """The layers that add most noise, worst first."""
    noisy = [e for e in errors if e.own is not None]
    return sorted(noisy, key=lambda e: e.own or 0.0)[:count]


def first_diverging(errors: Sequence[LayerError]) -> LayerError | None:
    """The first layer whose result is below DIVERGES in the quantized model."""
    return next((e for e in errors if e.sqnr is not None and e.sqnr < DIVERGES), None)


def advice(
    errors: Sequence[LayerError], quantized: Quantized, options: CompileOptions
) -> tuple[str, ...]:
    """What to try if the model is not accurate enough, most promising first."""
    if quantized.source == "model":
        return ("the model brings its own scales: quantize the float model with --calib instead",)
    if quantized.source == "random":
        return ("give real samples with --calib",)
    clipped = [e for e in worst(errors) if e.clipped > CLIPPING]
    tips = []
    if clipped:
        tips.append(
            f"'{clipped[0].name}' clips numbers that calibration did not see, or took for "
            "outliers: more samples, or --calib-method minmax"
        )
    if options.rounding == "nearest":
        tips.append("--round adaptive")
    if not options.equalize:
        tips.append("--equalize")
    if not options.mixed and options.requant == "once":
        tips.append("--mixed auto")
    if options.mixed and not options.float_layers:
        tips.append("--float-layers auto, on cores with a floating-point unit")
    if not options.bias_correction and options.rounding == "nearest":
        tips.append("--bias-correction")
    others = [m for m in ("mse", "percentile", "minmax") if m != options.calibration_method]
    tips.append(f"another --calib-method: {' or '.join(others)}")
    return tuple(tips)
