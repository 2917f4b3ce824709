"""Post-training quantization: from the float graph to the integer one, by calibration samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx

from mcucompile.ir import Graph
from mcucompile.options import CompileOptions
from mcucompile.quant.assumed import assumed_ranges
from mcucompile.quant.binarize import binarize
from mcucompile.quant.calibrate import calibrate, calibration_samples
from mcucompile.quant.choose_layers import Outputs
from mcucompile.quant.correct_bias import correct_bias
from mcucompile.quant.equalize import equalize
from mcucompile.quant.float_layers import float_layers
from mcucompile.quant.legalize import legalize
from mcucompile.quant.mixed import mixed_precision
from mcucompile.quant.prune_blocks import prune_blocks
from mcucompile.quant.quantize import Range, quantize
from mcucompile.quant.refine import Refinement, refine
from mcucompile.quant.round_weights import round_weights
from mcucompile.quant.samples import Samples, is_random

Source = Literal["model", "samples", "random", "assumed"]

SYNTHETIC_DATA = (
    "no calibration data: the ranges of the activations come from random inputs, so the accuracy "
    "of the compiled model is unknown and may be useless; give real samples with --calib"
)


@dataclass(frozen=True)
class PrecisionGain:
    """Signal-to-quantization-noise ratios of the outputs in dB, on `samples` of the samples: with
    8 bits everywhere, and with the int16 and float32 layers that were asked for."""

    samples: int
    int8: float
    chosen: float


@dataclass(frozen=True)
class Quantized:
    """A quantized model.

    original: the float graph with the same values. source: of the ranges of activations; the model
    itself has them all, or samples or random inputs gave those that it has not, or nothing was run.
    samples: how many.
    losses: what people must know of binary layers that the model was not trained for, and of
    pruned ones. wide: names
    of ONNX nodes whose results are int16; floats: of those that are computed in float32. gain: what
    both bring, where real samples tell.
    """

    original: Graph
    graph: Graph
    source: Source
    samples: int = 0
    losses: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    floats: tuple[str, ...] = ()
    gain: PrecisionGain | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        return (*self.losses, SYNTHETIC_DATA) if self.source == "random" else self.losses


def post_training_quantization(
    model: onnx.ModelProto, graph: Graph, options: CompileOptions, assume_ranges: bool = False
) -> Quantized:
    """The float `graph`, made from `model`, in integers.

    Raises what `binarize`, `prune_blocks`, `calibration_samples`, `calibrate`, `float_layers`,
    `mixed_precision` and `quantize` raise. Random inputs give ranges, so that something can be
    compiled; nothing else is learnt from them. assume_ranges: not even that is done, for those who
    only ask how large and fast the model is (see `assumed_ranges`).
    """
    losses: tuple[str, ...] = ()
    if options.quantize == "binary":
        graph, losses = binarize(graph, options)
    if options.prune:
        graph, notes = prune_blocks(graph, options)
        losses += notes
    samples = calibration_samples(graph, options)
    real = samples is not None and not is_random(options.calibration)
    if samples is not None and real and options.equalize:
        graph = equalize(graph, samples)
    assumed = assume_ranges and samples is not None and options.calibration is None
    ranges = assumed_ranges(graph) if assumed else calibrate(model, graph, samples, options)
    plain = graph, ranges
    graph, ranges, floats = float_layers(graph, ranges, samples, options)
    graph, ranges, wide = mixed_precision(graph, ranges, samples, options)
    integer = legalize(quantize(graph, ranges))
    if samples is None:
        return Quantized(graph, integer, "model", losses=losses)
    if assumed:
        return Quantized(graph, integer, "assumed", 0, losses, wide, floats)
    gain = None
    if real and (floats or wide):
        gain = _gain(plain, integer, samples)
    if real:
        integer = refine(graph, integer, samples, _refinements(options))
    source: Source = "samples" if real else "random"
    return Quantized(graph, integer, source, samples.count, losses, wide, floats, gain)


def _gain(plain: tuple[Graph, dict[str, Range]], integer: Graph, samples: Samples) -> PrecisionGain:
    """What layers of more than 8 bits bring, before constants are refined."""
    outputs = Outputs(plain[0], samples)
    before = outputs.decibels(legalize(quantize(*plain)))
    return PrecisionGain(outputs.count, before, outputs.decibels(integer))


def _refinements(options: CompileOptions) -> list[Refinement]:
    """Bias correction last: it also takes off what the choice of weights leaves of the mean."""
    steps: list[Refinement] = []
    if options.rounding == "adaptive":
        steps.append(round_weights)
    if options.bias_correction or options.rounding == "adaptive":
        steps.append(correct_bias)
    return steps
