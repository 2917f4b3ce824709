"""What is done to an NCHW input image before the first layer is done in NHWC."""

from __future__ import annotations

from mcucompile.ir import Graph, Op, Value
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.sink_transposes import inverse_of, join, let_pass, on_moved_axes


def hoist_transposes(graph: Graph) -> Graph:
    """input -> f -> T(p)    =>    input -> T(p) -> f -> T(p inverse) -> T(p)

    The last two cancel, and f, a normalization or padding, stands before the layer that may take
    it over. Everywhere else Transposes go the other way.
    """
    graph = graph.copy()
    for name in graph.inputs:
        value = graph.value(name)
        passed, last = _way_to_transpose(graph, value)
        if last is None or not passed:
            continue
        inverse = inverse_of(last.perm)
        if any(on_moved_axes(op, inverse) is None for op in passed):
            continue
        to, back = graph.fresh_name(f"{name}_to"), graph.fresh_name(f"{name}_back")
        there = graph.insert_after(value, Transpose(to, last.origin, perm=last.perm))
        graph.insert_after(there, Transpose(back, last.origin, perm=inverse))
        for op in passed:
            let_pass(graph, op)
        join(graph, last)
    return graph


def _way_to_transpose(graph: Graph, value: Value) -> tuple[list[Op], Transpose | None]:
    """The operators of one activation between `value` and the first Transpose, and that one."""
    passed: list[Op] = []
    user = graph.only_user(value)
    while user is not None and not isinstance(user, Transpose):
        activations = [v for v in graph.operands(user) if not v.is_constant]
        if len(activations) != 1 or len(graph.results(user)) != 1:
            return passed, None
        passed.append(user)
        user = graph.only_user(graph.result(user))
    return passed, user
