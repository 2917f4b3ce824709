"""Mixed precision: which layers get int16 results, and the ranges of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import Array, Graph
from mcucompile.options import CompileOptions
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import Range, quantize
from mcucompile.quant.runs import affordable, float_runs
from mcucompile.quant.samples import Samples, is_random, to_model_int8, to_real
from mcucompile.quant.widen import named_layers, narrowed, obstacles, widen
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int

AUTO = "auto"
HEADROOM = 2.0  # beyond what calibration has seen, for one of 16 bits
SAMPLES = 16  # that outputs are compared on
TRIES = 12  # layers that are tried
MOST = 8  # layers that are taken
GAIN = 0.5  # dB of the outputs that a layer must bring


def mixed_precision(
    graph: Graph, ranges: dict[str, Range], samples: Samples | None, options: CompileOptions
) -> tuple[Graph, dict[str, Range], tuple[str, ...]]:
    """`graph` with the int16 results that `options` ask for, its ranges, and the layers' names.

    ranges: of the float, normalized `graph`. "auto" tries the layers whose results lose most by
    8 bits, worst first, and takes those that bring the outputs closer to the float model's. Raises
    UsageError MC041 if that has no real samples, MC042 as `named_layers`, MC043 if rounding is
    TFLite's.
    """
    if not options.mixed:
        return graph, ranges, ()
    if options.requant == "tflite":
        raise UsageError(
            "MC043",
            "--mixed",
            "does not go with --requant tflite",
            "sums of int16 activations are rounded once",
            "leave one of them out",
        )
    if options.mixed != AUTO:
        layers = named_layers(graph, [n.strip() for n in options.mixed.split(",") if n.strip()])
    elif samples is None or is_random(options.calibration):
        raise UsageError(
            "MC041",
            "--mixed auto",
            "cannot choose layers",
            "without real samples nobody knows what a layer loses by 8 bits",
            "give samples with --calib",
        )
    else:
        layers = _chosen(graph, ranges, samples)
    names = tuple(op.origin[0] for op in graph.ops() if op.name in layers)
    return *_widened(graph, ranges, layers, _largest(graph, layers, samples)), names


def _widened(
    graph: Graph,
    ranges: Mapping[str, Range],
    layers: Collection[str],
    largest: Mapping[str, float],
) -> tuple[Graph, dict[str, Range]]:
    """`graph` with `layers` widened, and its ranges. largest: magnitude seen, per layer's result.

    Where 256 steps are worth clipping some numbers, 65536 are not.
    """
    wide = widen(graph, layers)
    known = dict(ranges)
    known |= {n: ranges[original] for n, original in narrowed(wide).items() if original in ranges}
    for name, peak in largest.items():
        lo, hi = known.get(name, (0.0, 0.0))
        known[name] = min(lo, -HEADROOM * peak), max(hi, HEADROOM * peak)
    return wide, known


def _results(graph: Graph, layers: Collection[str]) -> list[str]:
    return [graph.result(op).name for op in graph.ops() if op.name in layers]


def _largest(graph: Graph, layers: Collection[str], samples: Samples | None) -> dict[str, float]:
    """The largest magnitude of the result of each of `layers`, by value name."""
    largest = dict.fromkeys(_results(graph, layers), 0.0)
    for contents in float_runs(graph, samples) if samples is not None and layers else ():
        for name in largest:
            largest[name] = max(largest[name], float(np.abs(contents[name]).max()))
    return largest


def _chosen(graph: Graph, ranges: Mapping[str, Range], samples: Samples) -> list[str]:
    """The layers that "auto" takes."""
    outputs = _Outputs(graph, samples)
    narrow = legalize(quantize(graph, ranges))
    able = [name for name, obstacle in obstacles(graph).items() if not obstacle]
    lost = _lost(graph, narrow, able, samples)
    largest = _largest(graph, able, samples)
    taken: list[str] = []
    best = outputs.noise(narrow)
    for layer in sorted(able, key=lambda name: -lost[name])[:TRIES]:
        trial = [*taken, layer]
        peaks = {name: largest[name] for name in _results(graph, trial)}
        noise = outputs.noise(legalize(quantize(*_widened(graph, ranges, trial, peaks))))
        if noise * 10 ** (GAIN / 10) <= best:
            taken, best = trial, noise
        if len(taken) == MOST:
            break
    return taken


def _lost(
    graph: Graph, narrow: Graph, layers: Collection[str], samples: Samples
) -> dict[str, float]:
    """What part of the power of each layer's result is lost when it is stored in 8 bits."""
    signal, noise = (dict.fromkeys(layers, 0.0) for _ in range(2))
    values = {op.name: narrow.value(graph.result(op).name) for op in graph.ops()}
    for contents in float_runs(graph, samples):
        for name in layers:
            x, q = contents[values[name].name].astype(np.float64), values[name].q
            signal[name] += _power(x)
            noise[name] += _power(x - q.dequantize(q.quantize(x)))
    return {name: noise[name] / signal[name] if signal[name] else 0.0 for name in layers}


def _power(x: Array) -> float:
    return float(np.sum(np.square(x)))


class _Outputs:
    """The outputs of the float model, to compare quantized ones with."""

    def __init__(self, graph: Graph, samples: Samples) -> None:
        count = min(SAMPLES, affordable(graph, samples))
        self.given = [
            (array if graph.is_stateful else array[:count], port, name)
            for array, port, name in zip(
                samples.arrays, graph.input_ports, graph.inputs, strict=True
            )
        ]
        reals = [to_real(a, port, graph.value(n).qparams) for a, port, n in self.given]
        self.real = [y.astype(np.float64) for y in run_float(graph, reals)]

    def noise(self, integer: Graph) -> float:
        """The power of the difference to those of the quantized model `integer`."""
        stored = [to_model_int8(a, port, integer.value(n).q) for a, port, n in self.given]
        outputs = zip(integer.outputs, run_int(integer, stored), self.real, strict=True)
        return sum(_power(integer.value(n).q.dequantize(y) - x) for n, y, x in outputs)
