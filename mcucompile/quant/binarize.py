"""Layers of a model that was not trained for it become binary, at a loss that is measured.

Weights of an output channel become their signs times the mean of their magnitudes, as XNOR-Net
does it (Rastegari et al., "XNOR-Net", ECCV 2016, section 3.1); activations, the sign of their
distance from the mean times the mean of that distance, around the mean.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.errors import QuantizationError, UsageError
from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.binarize import Bipolar
from mcucompile.ops.binary_conv import BinaryConv2d
from mcucompile.ops.conv import Conv2d, Convolution
from mcucompile.ops.dense import Dense
from mcucompile.ops.unary import ScaleShift
from mcucompile.options import CompileOptions
from mcucompile.passes.recognize_binary import FEWEST_CHANNELS, recognize_binary
from mcucompile.passes.rewrite import constant_like, set_operand
from mcucompile.quant.output_loss import output_loss
from mcucompile.quant.runs import real_inputs
from mcucompile.quant.samples import load_samples
from mcucompile.reference.float_interpreter import run_float, run_float_all

SAMPLES = 16  # whose activations are kept at once
LEAST_SNR = 20.0  # dB of the outputs: noise of a hundredth of their power

Layer = Conv2d | Dense


def binarize(graph: Graph, options: CompileOptions) -> tuple[Graph, tuple[str, ...]]:
    """The normalized float `graph` with every layer but the first and the last binary, and warnings
    for people.

    Layers that are binary already stay as they are. Raises UsageError MC035 without calibration
    data, QuantizationError MC207 if no layer is binary then, and unless options.force MC206 if the
    outputs have less than LEAST_SNR dB of signal over noise.
    """
    if options.calibration is None:
        raise UsageError(
            "MC035",
            "--quantize binary",
            "needs calibration data",
            "the loss is measured on it",
            "give real samples with --calib",
        )
    samples = load_samples(options.calibration, graph.input_ports)
    inputs = real_inputs(graph, samples, slice(SAMPLES))
    layers = [op for op in graph.ops_of(Conv2d, Dense) if _may_be_binary(graph, op)]
    new = _with_binary(graph, layers, run_float_all(graph, inputs))
    if not any(new.ops_of(BinaryConv2d)):
        raise _nothing_to_do(graph)
    if not layers:
        return new, ()
    loss = output_loss(run_float(graph, inputs), run_float(new, inputs))
    text = f"with {len(layers)} more binary layers {loss}"
    if loss.snr < LEAST_SNR and not options.force:
        raise QuantizationError(
            "MC206",
            f"model '{graph.name}'",
            "was not trained for binary layers",
            text,
            "train it with weights and activations of -1 and +1, or add --force to experiment",
        )
    return new, (f"not trained for binary layers: {text}",)


def _nothing_to_do(graph: Graph) -> QuantizationError:
    return QuantizationError(
        "MC207",
        f"model '{graph.name}'",
        "has no layer that can be binary",
        "the first and the last layer, grouped convolutions and layers with less than "
        f"{FEWEST_CHANNELS} output channels are int8",
        "leave --quantize binary out",
    )


def _may_be_binary(graph: Graph, op: Op) -> bool:
    """Is `op` a layer between two others, of a kind that has a binary kernel?"""
    if not isinstance(op, Layer):
        return False
    x, w, b = graph.operands(op)
    grouped = isinstance(op, Conv2d) and op.groups > 1
    if grouped or not (w.is_constant and b.is_constant) or w.shape[0] < FEWEST_CHANNELS:
        return False
    return _meets_layer(graph, [graph.producer(x)], up=True) and _meets_layer(
        graph, graph.users(graph.result(op)), up=False
    )


def _meets_layer(graph: Graph, begin: list[Op] | list[Op | None], up: bool) -> bool:
    """Is there a layer among the operators `begin` and all that come before (after) them?"""
    seen: set[str] = set()
    waiting = list(begin)
    while waiting:
        op = waiting.pop()
        if op is None or op.name in seen:
            continue
        if isinstance(op, Convolution | Dense):
            return True
        seen.add(op.name)
        if up:
            waiting += [graph.producer(v) for v in graph.operands(op)]
        else:
            waiting += [user for v in graph.results(op) for user in graph.users(v)]
    return False


def _with_binary(graph: Graph, layers: list[Op], contents: dict[str, Array]) -> Graph:
    """`graph` with `layers` binary. contents: of all activations on samples."""
    graph = graph.copy()
    signs: dict[str, Value] = {}
    for op in layers:
        x, w, b = graph.operands(op)
        if x.name not in signs:
            signs[x.name] = _sign_around_mean(graph, x, contents[x.name])
        mean = float(contents[x.name].mean())
        apart = float(np.abs(contents[x.name] - mean).mean())
        weights = w.real.astype(np.float64)
        axes = tuple(range(1, weights.ndim))
        size = apart * np.abs(weights).mean(axis=axes, keepdims=True)
        bias = b.real + mean * weights.sum(axis=axes)
        set_operand(graph, op, 0, signs[x.name])
        set_operand(graph, op, 1, constant_like(graph, w, np.where(weights < 0, -size, size), None))
        set_operand(graph, op, 2, constant_like(graph, b, bias, None))
    if layers:
        _forget_tensors(graph)
    graph = recognize_binary(graph)
    verify(graph, "normalized", "binarize")
    return graph


def _sign_around_mean(graph: Graph, x: Value, content: Array) -> Value:
    name = graph.fresh_name(f"{x.name}_centered")
    shift = ScaleShift(name, (), scale=1.0, offset=-float(content.mean()))
    (centered,) = graph.append(shift, [x], [name])
    name = graph.fresh_name(f"{x.name}_sign")
    (sign,) = graph.append(Bipolar(name, ()), [centered], [name])
    return sign


def _forget_tensors(graph: Graph) -> None:
    """What comes after a sign has no longer the numbers of the model's tensors."""
    changed: set[str] = set()
    for op in graph.ops():
        if isinstance(op, Bipolar) or changed.intersection(v.name for v in graph.operands(op)):
            for value in graph.results(op):
                changed.add(value.name)
                graph.set_value(replace(value, onnx_name=""))
