"""Whatever computes the sign of a number, with zero counted as positive or negative, is one
operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ops.add import Add
from mcucompile.ops.binarize import Bipolar
from mcucompile.ops.compare import Compare
from mcucompile.ops.extremum import Max, Min
from mcucompile.ops.mul import Mul
from mcucompile.ops.unary import ScaleShift, Unary
from mcucompile.ops.where import Where
from mcucompile.passes.rewrite import erase_unused

STEPS = (Add, Mul, Where, Compare, Max, Min, Unary, ScaleShift)


@dataclass(frozen=True)
class _Cases:
    """A value that depends on the sign of `root` only. numbers: what it is where root is negative,
    zero and positive."""

    root: Value
    numbers: Array


def recognize_signs(graph: Graph) -> Graph:
    """x -> ... -> y    =>    x -> Bipolar -> * a -> y, if y is a for x >= 0 and -a for x < 0
    x -> ... -> y    =>    -x -> Bipolar -> * -a -> y, if y is a for x > 0 and -a for x <= 0

    Sign(Sign(x) + 0.1) as Larq exports it, Where(x >= 0, 1, -1), 2 * (x > 0) - 1 and the like. What
    only keeps the sign of a number on the way (a Clip around zero, which training needs) goes.
    """
    graph = graph.copy()
    known: dict[str, _Cases] = {}
    for op in graph.ops():
        cases = _cases(graph, op, known)
        if cases is None:
            continue
        known[graph.result(op).name] = cases
        negative, zero, positive = (float(n) for n in cases.numbers)
        same_shape = graph.result(op).shape == cases.root.shape
        if negative == -positive != 0.0 and zero in (negative, positive) and same_shape:
            _replace(graph, op, cases.root, positive, zero == positive)
    return graph


def _cases(graph: Graph, op: Op, known: dict[str, _Cases]) -> _Cases | None:
    """The result of `op`, if it depends on nothing but a sign."""
    if not isinstance(op, STEPS) or graph.result(op).qparams is not None:
        return None
    found: list[_Cases] = []
    numbers: list[Array] = []
    for value in graph.operands(op):
        constant = _constant(value)
        cases = known.get(value.name) or _base(graph, op, value)
        if constant is not None:
            numbers.append(np.full(1, constant, dtype=np.float32))
        elif cases is not None and value.qparams is None:
            numbers.append(cases.numbers)
            found.append(cases)
        else:
            return None
    if len({cases.root.name for cases in found}) != 1:
        return None
    return _Cases(found[0].root, np.broadcast_to(op.evaluate(numbers)[0], 3))


def _base(graph: Graph, op: Op, value: Value) -> _Cases | None:
    """`value` itself as one that depends on its sign, where `op` wants to know no more."""
    others = [v for v in graph.operands(op) if v.name != value.name]
    asks = isinstance(op, Unary) and op.function == "sign"
    asks |= isinstance(op, Compare) and all(_constant(v) == 0.0 for v in others) and bool(others)
    if value.is_constant or not asks:
        return None
    return _Cases(_root(graph, value), np.array([-1.0, 0.0, 1.0], dtype=np.float32))


def _root(graph: Graph, value: Value) -> Value:
    """The first value on the way to `value` that has the same sign."""
    op = graph.producer(value)
    while isinstance(op, Unary) and value.qparams is None and _keeps_sign(op):
        value = graph.operands(op)[0]
        op = graph.producer(value)
    return value


def _keeps_sign(op: Unary) -> bool:
    bounds = op.clamp_bounds()
    return op.function == "tanh" or (bounds is not None and bounds[0] < 0.0 < bounds[1])


def _constant(value: Value) -> float | None:
    """The number that all elements of a constant are."""
    if not value.is_constant or np.ptp(value.real) != 0.0:
        return None
    return float(value.real.reshape(-1)[0])


def _replace(graph: Graph, op: Op, root: Value, positive: float, up: bool) -> None:
    """Let the result of `op` be `positive` where `root` is positive, minus that where it is
    negative. up: does zero count as positive?"""
    origin = op.origin
    x = root
    if not up:  # -1 for zero: minus the Bipolar of -x
        x = _add(graph, op, "negated", partial(ScaleShift, scale=-1.0, offset=0.0), x)
    factor = positive if up else -positive
    old = graph.operands(op)
    if factor == 1.0:
        graph.set_operands(op, [x])
        graph.set_op(Bipolar(op.name, origin))
    else:
        sign = _add(graph, op, "sign", Bipolar, x)
        graph.set_operands(op, [sign])
        graph.set_op(ScaleShift(op.name, origin, scale=factor, offset=0.0))
    for value in old:
        erase_unused(graph, value)


def _add(graph: Graph, op: Op, what: str, kind: Callable[..., Op], x: Value) -> Value:
    """The result of a new operator on `x`, on behalf of `op`."""
    name = graph.fresh_name(f"{op.name}_{what}")
    (result,) = graph.append(kind(name, op.origin), [x], [name])
    return result
