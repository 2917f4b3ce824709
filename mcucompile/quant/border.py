"""The C API's types: what the caller hands over and gets, and raw numbers made the model's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import QMIN, Array, Element, Graph, Op, Port, Preprocessing, QParams
from mcucompile.ir.verify import verify
from mcucompile.ops.batchnorm import BatchNorm
from mcucompile.ops.border import FlipSign, FromFloat, Preprocess, ToFloat, is_plain
from mcucompile.passes.fold_affine import fold_affine

RAW = QParams((1.0,), QMIN)  # raw numbers stand for themselves


def preprocess(
    graph: Graph, input_type: Element, scale: Sequence[float], mean: Sequence[float]
) -> Graph:
    """The normalized float `graph` for raw uint8 numbers: real = (raw - mean) * scale.

    scale, mean: one for all channels, or one for each; () for 1 and 0, and () for both leaves the
    graph alone. Of three forms the first that is exact is taken; see Preprocessing.

    exact    one scale, one whole mean: the input is stored with this scale, and with the mean as
             its zero-point. Padding holds the zero-point, so it stays exact.
    folded   into the weights and the bias of the first layer, if no padding comes between them:
             padding with zeros would need the mean as a raw number
    table    else; also where the model brings parameters for its input along, whose integers stay

    Raises UsageError MC008 if the input is not uint8 or not the only one, MC009 if the numbers do
    not fit it.
    """
    if not scale and not mean:
        return graph
    graph = graph.copy()
    port = _raw_port(graph, input_type)
    channels, axis = _channels(port)
    for option, numbers in (("--input-scale", scale), ("--input-mean", mean)):
        _check(option, numbers, channels)
    given = Preprocessing(tuple(scale) or (1.0,), tuple(mean) or (0.0,), axis)
    x = graph.value(graph.inputs[0])
    if x.qparams is not None:
        pass
    elif (exact := _stored_like(given)) is not None:
        graph.set_value(replace(x, qparams=exact))
        given = replace(given, form="exact")
    elif (folded := _folded(graph, given)) is not None:
        graph, given = folded, replace(given, form="folded")
    graph.input_ports = (replace(port, preprocessing=given),)
    return graph


def set_border(graph: Graph, input_type: Element, output_type: Element) -> Graph:
    """The quantized `graph` with inputs and outputs of the C API's types.

    input (int8)    =>    input (uint8, float32) -> FlipSign, Preprocess or FromFloat

    and the same at the outputs, the other way round.
    """
    graph = graph.copy()
    if input_type != "int8":
        names = zip(graph.inputs, graph.input_ports, strict=True)
        graph.inputs = tuple(_convert_input(graph, n, p, input_type) for n, p in names)
        graph.input_ports = tuple(replace(p, element=input_type) for p in graph.input_ports)
    if output_type != "int8":
        graph.outputs = tuple(_convert_output(graph, n, output_type) for n in graph.outputs)
        graph.output_ports = tuple(replace(p, element=output_type) for p in graph.output_ports)
    verify(graph, "quantized", "set_border")
    return graph


def _convert_input(graph: Graph, name: str, port: Port, element: Element) -> str:
    x = graph.value(name)
    wish = graph.fresh_name(f"{name}_{element}")
    given = graph.add_value(replace(x, name=wish, dtype=element))
    graph.add_op(_first_op(graph.fresh_name(f"{name}_border"), port, x.q, element), [wish], [name])
    return given.name


def _first_op(name: str, port: Port, q: QParams, element: Element) -> Op:
    if element == "float32":
        return FromFloat(name, ())
    if port.preprocessing is not None and port.preprocessing.form == "table":
        op = Preprocess(name, (), preprocessing=port.preprocessing)
        if not is_plain(op, q):
            return op
    return FlipSign(name, ())


def _convert_output(graph: Graph, name: str, element: Element) -> str:
    y = graph.value(name)
    wish = graph.fresh_name(f"{name}_{element}")
    graph.add_value(replace(y, name=wish, dtype=element))
    op = graph.fresh_name(f"{name}_border")
    graph.add_op(ToFloat(op, ()) if element == "float32" else FlipSign(op, ()), [name], [wish])
    return wish


def _raw_port(graph: Graph, input_type: Element) -> Port:
    """The port at which raw numbers come in."""
    where, what = "--input-scale or --input-mean", "does not apply"
    if input_type != "uint8":
        why = f"raw numbers are uint8, and the input is {input_type}"
        raise UsageError("MC008", where, what, why, "add --input-type uint8")
    if len(graph.input_ports) > 1:
        fix = "hand over what the model itself expects"
        raise UsageError("MC008", where, what, "the model has several inputs", fix)
    return graph.input_ports[0]


def _channels(port: Port) -> tuple[int, int]:
    """How many channels an input has, and on which axis."""
    axis = 1 if port.layout == "NCHW" else len(port.shape) - 1
    return port.shape[axis], axis


def _check(option: str, numbers: Sequence[float], channels: int) -> None:
    text = f"{option} {','.join(f'{x:g}' for x in numbers)}"
    if len(numbers) not in (0, 1, channels):
        raise UsageError(
            "MC009",
            text,
            "does not fit the model",
            f"it has {len(numbers)} numbers for {channels} channels",
            "give one number for all channels, or one for each",
        )
    positive = option == "--input-mean" or all(x > 0 for x in numbers)
    if not positive or not np.isfinite(numbers).all():
        raise UsageError(
            "MC009", text, "cannot be used", "a scale is positive, all numbers finite", "correct it"
        )


def _stored_like(given: Preprocessing) -> QParams | None:
    """How numbers must be stored so that they are the raw ones - 128."""
    (scale, *scales), (mean, *means) = given.scale, given.mean
    same = all(s == scale for s in scales) and all(m == mean for m in means)
    if not same or mean != round(mean) or not 0 <= mean <= 255:
        return None
    return QParams((float(np.float32(scale)),), int(mean) + QMIN)


def _folded(graph: Graph, given: Preprocessing) -> Graph | None:
    """`graph` with the preprocessing in its first layer, which then sees raw numbers."""
    name = graph.inputs[0]
    x = graph.value(name)
    if given.axis != len(x.shape) - 1:
        return None
    graph = graph.copy()
    channels = x.shape[-1]
    norm = BatchNorm(graph.fresh_name(f"{name}_preprocessing"), (), epsilon=0.0)
    constants = [graph.constant(norm.name, data) for data in _parameters(given, channels)]
    graph.insert_after(x, norm)
    graph.set_operands(norm, [x, *constants])
    graph = fold_affine(graph)
    if any(graph.ops_of(BatchNorm)):
        return None
    graph.set_value(replace(x, qparams=RAW, onnx_name=""))
    return graph


def _parameters(given: Preprocessing, channels: int) -> list[Array]:
    """Scale, bias, mean and variance of a BatchNorm that computes the same."""
    scale = np.broadcast_to(np.asarray(given.scale, dtype=np.float64), (channels,))
    offset = -scale * np.asarray(given.mean)
    return [scale, offset, np.zeros(channels), np.ones(channels)]
