"""Normalizations that an exporter wrote operator by operator become one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ops.add import Add
from mcucompile.ops.div import Div
from mcucompile.ops.mul import Mul
from mcucompile.ops.normalize import normalize_axes
from mcucompile.ops.reduce import ReduceL2, ReduceMean
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.unary import Unary
from mcucompile.passes.rewrite import erase_unused


@dataclass(frozen=True)
class _Found:
    """operand normalized over `axes`, times `gain`, plus `bias`."""

    operand: Value
    axes: tuple[int, ...]
    epsilon: float
    centered: bool
    gain: Array | float = 1.0
    bias: Array | float = 0.0


def recognize_normalization(graph: Graph) -> Graph:
    """d / sqrt(mean(d * d) + epsilon)   =>    Normalize(x)    with d = x - mean(x), or d = x
    x / sqrt(sum(x * x))              =>    Normalize(x) / sqrt(n)
    x * r + (b - mean(x) * r)         =>    Normalize(x) * a + b    with r = a / sqrt(...)

    Layer and RMS normalization before opset 17 and 23, the normalization of an embedding, and layer
    normalization as Keras has it.
    Operator by operator the squares and the variance would be stored in 8 bits. Early, as other
    passes rewrite the parts; the scale and offset by channel behind it are folded later.
    """
    graph = graph.copy()
    for op in graph.ops_of(Div, Mul, Add):
        found = _quotient(graph, op) if isinstance(op, Div | Mul) else _spread_out(graph, op)
        if found is not None and graph.result(op).qparams is None:
            _replace(graph, op, found)
    return graph


def _replace(graph: Graph, op: Op, found: _Found) -> None:
    def named(suffix: str) -> tuple[str, tuple[str, ...]]:
        return graph.fresh_name(f"{op.name}_{suffix}"), op.origin

    y = normalize_axes(
        graph,
        named,
        found.operand,
        found.axes,
        found.epsilon,
        found.centered,
        found.gain,
        found.bias,
    )
    old = graph.operands(op)
    graph.set_operands(op, [y])
    graph.set_op(Reshape(op.name, op.origin, shape=y.shape))
    for value in old:
        erase_unused(graph, value)


def _quotient(graph: Graph, op: Div | Mul) -> _Found | None:
    """What `op` normalizes: a distance over its root mean square, or times the reciprocal."""
    a, b = graph.operands(op)
    for distance, other in ((a, b), (b, a)) if isinstance(op, Mul) else ((a, b),):
        root = other if isinstance(op, Div) else _reciprocal(graph, other)
        found = None if root is None else _root(graph, distance, root)
        power = _power(graph, other) if isinstance(op, Mul) else None
        if found is None and power is not None and power[1] == -0.5:
            found = _mean_square(graph, distance, power[0])
        if found is not None:
            return found
    return None


def _root(graph: Graph, distance: Value, root: Value) -> _Found | None:
    """The normalization of `distance` by `root`, if that is its root mean square, or length."""
    power = _power(graph, root)
    if power is not None and power[1] == 0.5:
        return _mean_square(graph, distance, power[0])
    op = graph.producer(root)
    while isinstance(op, Unary) and op.function == "clip" and _is_tiny(op.args[0]):
        root = graph.operands(op)[0]
        op = graph.producer(root)
    if isinstance(op, ReduceL2) and graph.operands(op)[0] == distance:
        gain = 1.0 / math.sqrt(op.count([distance]))
        return _Found(distance, op.axes, 0.0, False, gain)
    return None


def _is_tiny(least: float) -> bool:
    return 0.0 <= least <= 1e-5


def _mean_square(graph: Graph, distance: Value, value: Value) -> _Found | None:
    """The normalization of `distance` where `value` is its mean square and an epsilon."""
    epsilon = 0.0
    op = graph.producer(value)
    if isinstance(op, Add) and op.sign == 1 and op.clamp is None:
        a, b = graph.operands(op)
        value, constant = (b, a) if a.is_constant else (a, b)
        if not constant.is_constant or constant.elements != 1:
            return None
        epsilon = float(constant.real.reshape(()))
        op = graph.producer(value)
    if not isinstance(op, ReduceMean) or epsilon < 0:
        return None
    if not _is_square(graph, graph.operands(op)[0], distance):
        return None
    x = _uncentered(graph, distance, op.axes)
    return _Found(distance if x is None else x, op.axes, epsilon, x is not None)


def _is_square(graph: Graph, value: Value, of: Value) -> bool:
    op = graph.producer(value)
    if isinstance(op, Mul):
        return graph.operands(op) == (of, of)
    power = _power(graph, value)
    return power is not None and power == (of, 2.0)


def _spread_out(graph: Graph, op: Op) -> _Found | None:
    """What `op` normalizes, if it is the sum in x * r + (b - mean * r)."""
    if not isinstance(op, Add) or op.sign != 1:
        return None
    for product, rest in (graph.operands(op), graph.operands(op)[::-1]):
        difference = graph.producer(rest)
        if not isinstance(difference, Add) or difference.sign != -1:
            continue
        bias, shift = graph.operands(difference)
        factors, others = _factors(graph, product), _factors(graph, shift)
        common = [v for v in factors if v in others]
        if len(common) != 1 or not _is_per_channel(bias):
            continue
        x, mean = (next(v for v in pair if v not in common) for pair in (factors, others))
        found = _scaled(graph, x, mean, common[0])
        if found is not None and found.axes == (len(x.shape) - 1,):
            return replace(found, bias=bias.real.reshape(-1))
    return None


def _is_per_channel(value: Value) -> bool:
    """Is it a constant of one number, or one for each index of the last axis?"""
    return value.is_constant and all(d == 1 for d in value.shape[:-1])


def _factors(graph: Graph, value: Value) -> tuple[Value, ...]:
    """The two factors whose product `value` is, if it is one of two different ones."""
    op = graph.producer(value)
    operands = graph.operands(op) if isinstance(op, Mul) and op.clamp is None else ()
    return operands if len(set(operands)) == 2 else ()


def _scaled(graph: Graph, x: Value, mean: Value, factor: Value) -> _Found | None:
    """The normalization (x - mean) * factor, if it is one; the factor may have a constant gain."""
    gains = [v for v in _factors(graph, factor) if _is_per_channel(v)]
    roots = [v for v in _factors(graph, factor) if not v.is_constant] if gains else [factor]
    for distance in graph.users(x):
        if not isinstance(distance, Add) or graph.operands(distance) != (x, mean):
            continue
        power = _power(graph, roots[0])
        if power is None or power[1] != -0.5:
            continue
        found = _mean_square(graph, graph.result(distance), power[0])
        if found is not None and found.centered:
            return replace(found, gain=gains[0].real.reshape(-1)) if gains else found
    return None


def _uncentered(graph: Graph, distance: Value, axes: tuple[int, ...]) -> Value | None:
    """x, if `distance` is x - mean(x) along `axes`."""
    op = graph.producer(distance)
    if not isinstance(op, Add) or op.sign != -1:
        return None
    x, mean = graph.operands(op)
    source = graph.producer(mean)
    if isinstance(source, ReduceMean) and source.axes == axes and graph.operands(source) == (x,):
        return x
    return None


def _power(graph: Graph, value: Value) -> tuple[Value, float] | None:
    """The base and the exponent of which `value` is the power."""
    op = graph.producer(value)
    if not isinstance(op, Unary) or op.function not in ("pow", "sqrt", "reciprocal"):
        return None
    base = graph.operands(op)[0]
    if op.function == "pow":
        return base, op.args[0]
    if op.function == "sqrt":
        return base, 0.5
    inner = _power(graph, base)
    return (base, -1.0) if inner is None else (inner[0], -inner[1])


def _reciprocal(graph: Graph, value: Value) -> Value | None:
    """What `value` is the reciprocal of."""
    op = graph.producer(value)
    if isinstance(op, Unary) and op.function == "reciprocal":
        return graph.operands(op)[0]
    return None
