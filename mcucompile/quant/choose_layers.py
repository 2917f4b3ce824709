"""Which layers are worth more than 8 bits: those by which the model's outputs gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import Array, Graph
from mcucompile.options import CompileOptions
from mcucompile.quant.runs import affordable
from mcucompile.quant.samples import Samples, is_random, to_model_int8, to_real
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int

SAMPLES = 16  # that outputs are compared on
TRIES = 12  # layers that are tried
MOST = 8  # layers that are taken
GAIN = 0.5  # dB of the outputs that a layer must bring


class Outputs:
    """The outputs of the float model `graph`, to compare quantized ones with.

    samples: of which there are some.
    """

    def __init__(self, graph: Graph, samples: Samples) -> None:
        self.count = min(SAMPLES, affordable(graph, samples))
        self.given = [
            (array if graph.is_stateful else array[: self.count], port, name)
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
        return sum(power(integer.value(n).q.dequantize(y) - x) for n, y, x in outputs)

    def decibels(self, integer: Graph) -> float:
        """The signal-to-quantization-noise ratio of the quantized model `integer`."""
        signal = sum(map(power, self.real))
        return float(10 * np.log10(max(signal, 1e-30) / max(self.noise(integer), 1e-30)))


def power(x: Array) -> float:
    return float(np.sum(np.square(x)))


def real_samples(samples: Samples | None, options: CompileOptions, option: str) -> Samples:
    """`samples`; UsageError MC041 for `option` if they are none, or random."""
    if samples is None or is_random(options.calibration):
        raise UsageError(
            "MC041",
            f"{option} auto",
            "cannot choose layers",
            "without real samples nobody knows what a layer loses by 8 bits",
            "give samples with --calib",
        )
    return samples


def choose_layers(
    lost: Mapping[str, float],
    quantized: Callable[[list[str]], Graph],
    outputs: Outputs,
    companions: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """The layers that bring the outputs closer to the float model's, tried one after the other.

    lost: what each loses by 8 bits; worst first. quantized: the model in integers but for these
    layers. companions: which others a layer is tried with.
    """
    taken: list[str] = []
    best = outputs.noise(quantized(taken))
    for layer in sorted(lost, key=lambda name: -lost[name])[:TRIES]:
        others = (companions or {}).get(layer, ())
        trial = list(dict.fromkeys([*taken, layer, *others]))
        if len(trial) == len(taken) or len(trial) > MOST:
            continue
        noise = outputs.noise(quantized(trial))
        if noise * 10 ** (GAIN / 10) <= best:
            taken, best = trial, noise
    return taken
