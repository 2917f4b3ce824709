"""Where the integers of a model come from, and what is known of its accuracy."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mcucompile.options import CompileOptions
from mcucompile.quant.post_training import PrecisionGain, Quantized

Report = dict[str, Any]


def quantization(quantized: Quantized, options: CompileOptions) -> Report:
    """The report's "quantization". Accuracy is "unknown" where no real data was seen."""
    source = quantized.source
    learnt = source == "samples"
    return {
        "ranges": source,
        "samples": quantized.samples,
        "method": options.calibration_method if source in ("samples", "random") else None,
        "bias_correction": learnt and (options.bias_correction or options.rounding == "adaptive"),
        "equalize": learnt and options.equalize,
        "rounding": options.rounding if learnt else "nearest",
        "int16": list(quantized.wide),
        "float32": list(quantized.floats),
        "precision_gain": None if quantized.gain is None else asdict(quantized.gain),
        "accuracy": "unknown" if source in ("random", "assumed") else "unmeasured",
    }


def _precision_lines(report: Report) -> list[str]:
    """Layers of more than 8 bits, and what they bring."""
    lines = []
    if report["int16"]:
        lines.append(f"int16      results of {', '.join(report['int16'])}")
    if report["float32"]:
        lines.append(f"float32    {', '.join(report['float32'])}")
    gain = report["precision_gain"]
    if gain:
        lines.append(f"gain       {gain_text(PrecisionGain(**gain))}")
    return lines


def gain_text(gain: PrecisionGain) -> str:
    """What layers of more than 8 bits bring."""
    return (
        f"{gain.int8:.1f} to {gain.chosen:.1f} dB (SQNR of the outputs on {gain.samples} "
        "calibration samples, int8 alone and so)"
    )


def quantization_lines(report: Report) -> list[str]:
    """The same for people, as lines of the summary."""
    source = report["ranges"]
    wide = _precision_lines(report)
    if source == "model":
        return ["ranges     of the model's own"]
    if source == "assumed":
        return ["ranges     assumed: nothing was run", *wide]
    if source == "random":
        return [
            f"ranges     from {report['samples']} random inputs ({report['method']})",
            *wide,
            "accuracy   UNKNOWN: no calibration data",
        ]
    steps = [
        report["method"],
        *(["biases corrected"] if report["bias_correction"] else []),
        *(["equalized"] if report["equalize"] else []),
        *(["weights rounded adaptively"] if report["rounding"] == "adaptive" else []),
    ]
    return [
        f"ranges     from {report['samples']} samples ({', '.join(steps)})",
        *wide,
        "accuracy   not measured (`mcucompile validate` does)",
    ]
