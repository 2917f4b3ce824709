"""A float graph becomes an integer one: every value gets quantization parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mcucompile.errors import QuantizationError
from mcucompile.ir import Graph, Op, QParams, QuantRule, Value
from mcucompile.ir.storage import BIT
from mcucompile.ir.types import QMAX, QMIN
from mcucompile.ir.verify import verify
from mcucompile.ops.table import Table
from mcucompile.ops.wide import Wide
from mcucompile.quant.bounds import within_int32
from mcucompile.quant.constants import range_qparams, strengthen_faint_channels, symmetric_qparams
from mcucompile.quant.numbers import accumulator_bound, requant
from mcucompile.quant.propagate import propagate, same_ops

Range = tuple[float, float]

# A number of which only the sign matters may saturate, so it is stored that much finer: rounding
# makes a zero of fewer numbers.
SIGN_DETAIL = 64.0


def quantize(graph: Graph, ranges: Mapping[str, Range] | None = None) -> Graph:
    """The graph with qparams and integers everywhere; `graph` stays as it is.

    ranges: lowest and highest real number observed, by value name; needed for the activations
    that have no qparams and cannot inherit any (see `uncalibrated`). Those of what operators keep
    inside are called OP.NAME. Parameters that the model
    brings along win. Raises QuantizationError MC202 if a range is missing, MC203 if a constant
    does not fit its integers, MC201 if sums of products may leave 32 bits.
    """
    graph = graph.copy()
    _set_internals(graph, ranges or {})
    _set_known(graph)
    missing = []
    for group in _groups(graph):
        found = _union(graph, group, ranges or {})
        if found is None:
            missing.append(group)
            continue
        if _only_sign_matters(graph, group):
            found = found[0] / SIGN_DETAIL, found[1] / SIGN_DETAIL
        qparams = symmetric_qparams if _is_wide(graph, group) else range_qparams
        for value in group:
            graph.set_value(replace(value, qparams=qparams(*found)))
    if missing:
        raise _missing(missing)
    _quantize_all_constants(graph)
    _set_dtypes(graph)
    verify(graph, "quantized", "quantize")
    return graph


def uncalibrated(graph: Graph) -> list[Value]:
    """The activations of a float graph whose range `quantize` may ask for."""
    graph = graph.copy()
    _set_known(graph)
    return [value for group in _groups(graph) for value in group]


def _set_internals(graph: Graph, ranges: Mapping[str, Range]) -> None:
    """Let operators know the ranges of what they keep inside, in place."""
    for op in graph.ops():
        prefix = f"{op.name}."
        graph.set_op(
            op.with_ranges(
                {k.removeprefix(prefix): r for k, r in ranges.items() if k.startswith(prefix)}
            )
        )


def _set_known(graph: Graph) -> None:
    """Set the qparams that follow from the operators and from other values, in place."""
    for op in graph.ops():
        if op.quant_rule is QuantRule.FIXED:
            for value in graph.results(op):
                if value.qparams is None:
                    graph.set_value(replace(value, qparams=op.fixed_qparams()))
    propagate(graph)


def _groups(graph: Graph) -> list[list[Value]]:
    """Activations without qparams, in groups that will share them, in topological order.

    An operator that keeps qparams ties its operand to its result. One with several operands (a
    concatenation) ties those which nobody else reads; the others are requantized for it.
    """
    inputs = [graph.value(name) for name in graph.inputs]
    every = inputs + [v for op in graph.ops() for v in graph.results(op)]
    unknown = [v for v in every if v.qparams is None]
    group = {v.name: [v] for v in unknown}
    for op, operands, result in same_ops(graph):
        for value in operands:
            if value.name not in group or result.name not in group:
                continue
            mine, other = group[result.name], group[value.name]
            if mine is not other and (len(operands) == 1 or graph.only_user(value) is op):
                mine.extend(other)
                group.update({v.name: mine for v in other})
    return list({id(members): members for members in group.values()}.values())


def _only_sign_matters(graph: Graph, group: list[Value]) -> bool:
    """Does nobody want to know more of the numbers of `group` than whether they are negative?"""
    names = {v.name for v in group}
    users = [op for v in group for op in graph.users(v)]
    inside = (*graph.inputs, *graph.outputs)
    return not names.intersection(inside) and all(
        op.takes_sign or graph.result(op).name in names for op in users
    )


def _is_wide(graph: Graph, group: list[Value]) -> bool:
    """Does an operator compute numbers of 16 bits for `group`?"""
    producers = [op for op in map(graph.producer, group) if op is not None]
    return any(op.result_dtype(graph.operands(op)) == "int16" for op in producers)


def _union(graph: Graph, group: list[Value], ranges: Mapping[str, Range]) -> Range | None:
    """The smallest range that holds those known for the members of `group`, within clamps."""
    bounds = []
    for value in group:
        known = ranges.get(value.name) or _derived(graph, value)
        if known is not None:
            least, most = _clamp(graph.producer(value))
            bounds.append((min(max(known[0], least), most), max(min(known[1], most), least)))
    return (min(lo for lo, _ in bounds), max(hi for _, hi in bounds)) if bounds else None


def _derived(graph: Graph, value: Value) -> Range | None:
    """The range of a function of one quantized number: it has 256 operands."""
    op = graph.producer(value)
    if not isinstance(op, Table):
        return None
    operand = graph.operands(op)[0]
    if operand.qparams is None:
        return None
    (reals,) = op.evaluate([operand.qparams.dequantize(np.arange(QMIN, QMAX + 1))])
    return (float(reals.min()), float(reals.max())) if np.isfinite(reals).all() else None


def _clamp(op: Op | None) -> Range:
    clamp: Range | None = getattr(op, "clamp", None)
    return (-float("inf"), float("inf")) if clamp is None else clamp


def _set_dtypes(graph: Graph) -> None:
    """Say how activations are stored, in place."""
    for name in graph.inputs:
        graph.set_value(replace(graph.value(name), dtype="int8"))
    for op in graph.ops():
        for value in graph.results(op):
            graph.set_value(replace(value, dtype=op.result_dtype(graph.operands(op))))


def _missing(groups: list[list[Value]]) -> QuantizationError:
    names = [group[0].onnx_name or group[0].name for group in groups]
    return QuantizationError(
        "MC202",
        f"{len(names)} tensors" if len(names) > 1 else f"tensor '{names[0]}'",
        "cannot be quantized",
        "neither QuantizeLinear nor calibration gives the range of "
        + ", ".join(f"'{n}'" for n in names),
        "give calibration data with --calib, or quantize the whole model",
    )


def _quantize_all_constants(graph: Graph) -> None:
    """Replace float constants by integer ones, in place; equal ones stay shared."""
    made: dict[tuple[str, QParams | None], Value] = {}
    for op in graph.ops():
        operands = graph.operands(op)
        integers = _integer_operands(op, operands, graph.results(op))
        for slot, (old, new) in enumerate(zip(operands, integers, strict=True)):
            if new is old:
                continue
            key = (old.name, new.qparams)
            if key in made:
                graph.set_operand(op, slot, made[key])
            elif len(graph.users(old)) == 1:
                graph.set_value(new)
            else:
                made[key] = graph.add_value(replace(new, name=graph.fresh_name(old.name)))
                graph.set_operand(op, slot, made[key])
    for name in {name for name, _ in made}:
        if not graph.users(graph.value(name)):
            graph.erase_value(graph.value(name))


def _integer_operands(
    op: Op, operands: Sequence[Value], results: Sequence[Value]
) -> Sequence[Value]:
    if not any(v.is_constant for v in operands):
        return operands
    if op.quant_rule is QuantRule.SAME:  # constants among moved operands are stored like them
        return tuple(_stored_as(v, results[0].q) if v.is_constant else v for v in operands)
    try:
        integers = op.quantize_constants(operands)
    except OverflowError as error:
        raise QuantizationError(
            "MC203",
            f"node '{op.origin[0]}' ({op.kind})",
            "cannot be quantized",
            str(error),
            "give calibration data that resembles real inputs, or scale the weights",
        ) from error
    is_layer = len(integers) == 3 and integers[2].dtype == "int32"  # input, weights, bias
    if is_layer and op.result_dtype(operands) != BIT and not isinstance(op, Wide):
        x, weights, bias = integers
        if op.rounding == "once":  # TFLite's multipliers have 31 bits in any case
            weights, bias = strengthen_faint_channels(x.q, weights, bias, results[0].q)
        _prove_sums(op, x.q, weights, bias, results[0].q)
        return x, weights, bias
    return integers


def _prove_sums(op: Op, x: QParams, weights: Value, bias: Value, result: QParams) -> None:
    """Raise QuantizationError MC201 unless no order of summation leaves int32."""
    assert weights.data is not None
    assert bias.data is not None
    sums = weights.data.astype(np.int64).reshape(weights.shape[0], -1).sum(axis=1)
    bound = accumulator_bound(weights.data, bias.data.astype(np.int64) - x.zero_point * sums)
    rule = requant((np.asarray(bias.q.scale) / result.scale[0]).tolist(), result)
    within_int32(op, rule, int(bound.max()))


def _stored_as(value: Value, qparams: QParams) -> Value:
    if value.qparams == qparams:
        return value
    return replace(value, dtype="int8", qparams=qparams, data=qparams.quantize(value.real))
