"""Layers in float32, the last resort where integers are not enough."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from mcucompile.board import Board
from mcucompile.errors import UsageError
from mcucompile.ir import Graph, Op, QuantRule, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.border import FromFloat, ToFloat
from mcucompile.ops.float32 import Float
from mcucompile.ops.floated import ABLE, can_be_float, floated
from mcucompile.options import CompileOptions
from mcucompile.quant.choose_layers import Outputs, choose_layers, power, real_samples
from mcucompile.quant.legalize import legalize
from mcucompile.quant.named import named_layers, node_names
from mcucompile.quant.quantize import Range, quantize, uncalibrated
from mcucompile.quant.runs import float_runs
from mcucompile.quant.samples import Samples

AUTO = "auto"


def require_fpu(options: CompileOptions, board: Board) -> None:
    """Raise UsageError MC045 if float32 layers are asked for on a board without an FPU."""
    if options.float_layers and board.fpu == "none":
        raise UsageError(
            "MC045",
            "--float-layers",
            f"does not go with board '{board.name}'",
            "its core has no floating-point unit, and software takes a function call per operation",
            "leave it out (--mixed gives layers 16 bits), or choose a board that has one",
        )


def float_layers(
    graph: Graph, ranges: dict[str, Range], samples: Samples | None, options: CompileOptions
) -> tuple[Graph, dict[str, Range], tuple[str, ...]]:
    """`graph` with the float32 layers that `options` ask for, its ranges, and the layers' names.

    ranges: of the float, normalized `graph`. "auto" tries the layers that add most noise, each
    with those that read its result. Raises UsageError MC041 if that has no real samples, MC046
    where a node cannot be computed in float32.
    """
    if not options.float_layers:
        return graph, ranges, ()
    if options.float_layers != AUTO:
        error = ("MC046", "--float-layers", "cannot be computed in float32")
        nodes = node_names(options.float_layers)
        layers = named_layers(graph, nodes, obstacles(graph), error, f"; {ABLE} can be")
    else:
        layers = _chosen(graph, ranges, real_samples(samples, options, "--float-layers"))
    names = tuple(op.origin[0] for op in graph.ops() if op.name in layers)
    return *in_float(graph, ranges, layers), names


def _chosen(graph: Graph, ranges: Mapping[str, Range], samples: Samples) -> list[str]:
    """The layers that "auto" takes."""

    def quantized(layers: list[str]) -> Graph:
        return legalize(quantize(*in_float(graph, ranges, layers)))

    able = [name for name, obstacle in obstacles(graph).items() if not obstacle]
    lost = _lost(graph, quantized([]), able, samples)
    readers = {op.name: _readers(graph, op, able) for op in graph.ops()}
    return choose_layers(lost, quantized, Outputs(graph, samples), readers)


def _readers(graph: Graph, op: Op, able: Collection[str]) -> list[str]:
    """Those of `able` that read the result of `op`: it is stored in integers otherwise."""
    found = []
    for user in graph.users(graph.result(op)):
        if user.is_view:
            found += _readers(graph, user, able)
        elif user.name in able:
            found.append(user.name)
    return found


def _lost(
    graph: Graph, integer: Graph, layers: Collection[str], samples: Samples
) -> dict[str, float]:
    """What part of the power of each layer's result is noise if only this layer is quantized."""
    signal, noise = (dict.fromkeys(layers, 0.0) for _ in range(2))
    for contents in float_runs(graph, samples):
        for op in integer.ops():
            operands, (y, *_) = integer.operands(op), integer.results(op)
            if op.name not in signal or any(
                not v.is_constant and v.name not in contents for v in operands
            ):
                continue
            given = [v.q.quantize(contents[v.name]) if v.data is None else v.data for v in operands]
            (stored,) = op.evaluate_int(operands, [y], given)
            signal[op.name] += power(contents[y.name].astype(np.float64))
            noise[op.name] += power(contents[y.name] - y.q.dequantize(stored).astype(np.float64))
    return {name: noise[name] / signal[name] if signal[name] else 0.0 for name in layers}


def in_float(
    graph: Graph, ranges: Mapping[str, Range], layers: Collection[str]
) -> tuple[Graph, dict[str, Range]]:
    """x -> layer -> y -> reader    =>    x -> ToFloat -> Float layer -> y -> FromFloat -> reader

    graph: float, normalized; ranges: of its values. layers: names of operators without `obstacles`.
    Float layers, and views, hand y on to each other as it is; all others, and outputs of the model,
    share one FromFloat.
    """
    graph = graph.copy()
    known = dict(ranges)
    fixed = {}  # parameters of results that no range decides
    for op in graph.ops():
        if op.name in layers:
            if op.quant_rule is QuantRule.FIXED:
                fixed[graph.result(op).name] = op.fixed_qparams()
            graph.set_op(floated(op))
    real = _real_values(graph)
    for op in [op for op in graph.ops() if isinstance(op, Float)]:
        for value in dict.fromkeys(graph.operands(op)):
            if not value.is_constant and value.name not in real:
                _dequantize(graph, value)
    for name in real:
        stored = _requantize(graph, graph.value(name))
        if stored is not None and name in fixed:
            graph.set_value(replace(stored, qparams=fixed[name]))
        elif stored is not None and name in ranges:
            known[stored.name] = ranges[name]
    verify(graph, "normalized", "in_float")
    return graph, known


def _real_values(graph: Graph) -> list[str]:
    """The activations that are float32, in order."""
    real: list[str] = []
    for op in graph.ops():
        if isinstance(op, Float) or (op.is_view and graph.operands(op)[0].name in real):
            real.append(graph.result(op).name)
    return real


def _dequantize(graph: Graph, value: Value) -> None:
    """Let the float layers that read `value` read real numbers, in place."""
    readers = [op for op in graph.users(value) if isinstance(op, Float)]
    name = graph.fresh_name(f"{value.name}_float")
    (given,) = graph.append(ToFloat(name, readers[0].origin), [value], [name])
    _redirect(graph, readers, value, given)


def _requantize(graph: Graph, value: Value) -> Value | None:
    """Let all who do not compute in float32 read `value` as int8, in place: that value, if any."""
    others = [op for op in graph.users(value) if not (op.is_view or isinstance(op, Float))]
    if not others and value.name not in graph.outputs:
        return None
    producer = graph.producer(value)
    assert producer is not None
    name = graph.fresh_name(f"{value.name}_int")
    (stored,) = graph.append(FromFloat(name, producer.origin), [value], [name])
    stored = graph.set_value(replace(stored, onnx_name=value.onnx_name))
    _redirect(graph, others, value, stored)
    graph.outputs = tuple(stored.name if o == value.name else o for o in graph.outputs)
    return stored


def _redirect(graph: Graph, readers: Collection[Op], old: Value, new: Value) -> None:
    for op in readers:
        for slot, operand in enumerate(graph.operands(op)):
            if operand.name == old.name:
                graph.set_operand(op, slot, new)


def obstacles(graph: Graph) -> dict[str, str]:
    """Why an operator cannot be computed in float32; "" where it can."""
    free = {v.name for v in uncalibrated(graph)}
    return {op.name: _obstacle(graph, op, free) for op in graph.ops()}


def _obstacle(graph: Graph, op: Op, free: Collection[str]) -> str:
    if not can_be_float(op):
        return f"there is no {op.kind} in float32"
    result = graph.result(op)
    fixed = op.quant_rule is QuantRule.FIXED and result.qparams is None
    if result.name not in free and not fixed:
        return "the model itself says that its result has 8 bits"
    constants = [v for v in graph.operands(op) if v.is_constant]
    if not all(np.isfinite(v.real).all() for v in constants):
        return "some of its weights are not finite"
    return ""
