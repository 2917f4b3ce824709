"""Mixed precision: which layers get int16 results, and the ranges of these."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import Graph
from mcucompile.options import CompileOptions
from mcucompile.quant.choose_layers import Outputs, choose_layers, power, real_samples
from mcucompile.quant.legalize import legalize
from mcucompile.quant.named import named_layers, node_names
from mcucompile.quant.quantize import Range, quantize
from mcucompile.quant.runs import float_runs
from mcucompile.quant.samples import Samples
from mcucompile.quant.widen import narrowed, obstacles, widen

AUTO = "auto"
HEADROOM = 2.0  # beyond what calibration has seen, for one of 16 bits


def mixed_precision(
    graph: Graph, ranges: dict[str, Range], samples: Samples | None, options: CompileOptions
) -> tuple[Graph, dict[str, Range], tuple[str, ...]]:
    """`graph` with the int16 results that `options` ask for, its ranges, and the layers' names.

    ranges: of the float, normalized `graph`. "auto" tries the layers whose results lose most by
    8 bits, worst first, and takes those that bring the outputs closer to the float model's. Raises
    UsageError MC041 if that has no real samples, MC042 where a node cannot have an int16 result,
    MC043 if rounding is TFLite's.
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
        error = ("MC042", "--mixed", "cannot have an int16 result")
        layers = named_layers(graph, node_names(options.mixed), obstacles(graph), error)
    else:
        layers = _chosen(graph, ranges, real_samples(samples, options, "--mixed"))
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
    able = [name for name, obstacle in obstacles(graph).items() if not obstacle]
    largest = _largest(graph, able, samples)

    def quantized(layers: list[str]) -> Graph:
        peaks = {name: largest[name] for name in _results(graph, layers)}
        return legalize(quantize(*_widened(graph, ranges, layers, peaks)))

    lost = _lost(graph, quantized([]), able, samples)
    return choose_layers(lost, quantized, Outputs(graph, samples))


def _lost(
    graph: Graph, narrow: Graph, layers: Collection[str], samples: Samples
) -> dict[str, float]:
    """What part of the power of each layer's result is lost when it is stored in 8 bits."""
    signal, noise = (dict.fromkeys(layers, 0.0) for _ in range(2))
    values = {op.name: narrow.value(graph.result(op).name) for op in graph.ops()}
    for contents in float_runs(graph, samples):
        for name in layers:
            x, q = contents[values[name].name].astype(np.float64), values[name].q
            signal[name] += power(x)
            noise[name] += power(x - q.dequantize(q.quantize(x)))
    return {name: noise[name] / signal[name] if signal[name] else 0.0 for name in layers}
