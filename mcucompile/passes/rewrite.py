"""The steps that rewriting passes are made of. All of them work in place.

What is known of a value (its name, its ONNX name, its quantization parameters) belongs to the
numbers, and must survive when the operator that computes them changes.
"""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Array, Graph, Op, QParams, Value


def same_storage(a: Value, b: Value) -> bool:
    """May `a` stand for `b` as far as their quantization parameters go?"""
    return a.qparams == b.qparams or a.qparams is None or b.qparams is None


def bypass(graph: Graph, op: Op) -> bool:
    """x -> op -> y    =>    x, where y holds the numbers of x; says whether it was possible.

    It is not where x and y are stored differently, or y is a model output that must not share the
    name of an input, a constant or another output.
    """
    x, y = graph.operands(op)[0], graph.result(op)
    taken = x.is_constant or x.name in graph.inputs or x.name in graph.outputs
    if not same_storage(x, y) or (y.name in graph.outputs and taken):
        return False
    graph.bypass(op)
    if not x.is_constant:
        qparams = x.qparams or y.qparams
        graph.set_value(replace(x, qparams=qparams, onnx_name=x.onnx_name or y.onnx_name))
    return True


def fusable(graph: Graph, op: Op | None, user: Op, stored_alike: bool = False) -> bool:
    """May `op` compute the result of `user`, its reader, as well, and its own never be stored?

    The value between them must have no other reader, and no quantization of its own: storing it
    in 8 bits is part of what a quantized model means. stored_alike: it may have the quantization of
    the result, as `user` only selects from the numbers that can be stored.
    """
    if op is None or len(graph.results(op)) != 1:
        return False
    between, result = graph.result(op), graph.result(user)
    if graph.only_user(between) != user:
        return False
    return between.qparams is None or (stored_alike and between.qparams == result.qparams)


def fuse(graph: Graph, op: Op, user: Op) -> None:
    """op -> y -> user -> z    =>    op -> z, where `op` (a new payload) computes both."""
    unused = [v for v in graph.operands(user) if v != graph.result(op)]
    graph.set_op(replace(op, origin=tuple(dict.fromkeys((*op.origin, *user.origin)))))
    graph.merge_into(op, user)
    for value in unused:
        erase_unused(graph, value)


def set_operand(graph: Graph, op: Op, slot: int, value: Value) -> None:
    """Let operand `slot` of `op` be `value`, and erase the old one if nobody else reads it."""
    old = graph.operands(op)[slot]
    graph.set_operand(op, slot, value)
    erase_unused(graph, old)


def erase_unused(graph: Graph, value: Value) -> None:
    """Erase `value`, and what is needed for nothing else, unless somebody reads it."""
    if not graph.has_value(value.name) or _is_read(graph, value) or value.name in graph.inputs:
        return
    op = graph.producer(value)
    if op is None:
        graph.erase_value(value)
    elif not any(_is_read(graph, v) for v in graph.results(op)):
        operands = graph.operands(op)
        graph.erase_op(op)
        for operand in operands:
            erase_unused(graph, operand)


def constant_like(graph: Graph, value: Value, data: Array, qparams: QParams | None) -> Value:
    """A new constant in the place of `value`: integers with their `qparams`, or reals."""
    if qparams is None:
        return graph.constant(value.name, data)
    data = data.astype(value.dtype)
    name = graph.fresh_name(value.name)
    return graph.add_value(Value(name, data.shape, value.dtype, qparams, data))


def _is_read(graph: Graph, value: Value) -> bool:
    return bool(graph.users(value)) or value.name in graph.outputs
