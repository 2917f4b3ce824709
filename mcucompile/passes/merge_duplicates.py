"""Equal operators on equal operands are computed once."""

from __future__ import annotations

from dataclasses import replace

from mcucompile.ir import Graph, Op
from mcucompile.passes.rewrite import same_storage


def merge_duplicates(graph: Graph) -> Graph:
    """x -> op -> y, x -> op -> z    =>    x -> op -> y = z

    (Common subexpressions.) Importers wrap every spatial operator in Transposes of its own, so
    that branches begin with the same Transpose several times.
    """
    graph = graph.copy()
    seen: dict[tuple[Op, tuple[str, ...]], Op] = {}
    for op in graph.ops():
        key = (replace(op, name="", origin=()), tuple(v.name for v in graph.operands(op)))
        first = seen.setdefault(key, op)
        if first is not op:
            _merge(graph, first, op)
    return graph


def _merge(graph: Graph, first: Op, again: Op) -> None:
    """Erase `again` in favour of `first`, unless its results are stored otherwise,
    or both are model outputs."""
    pairs = list(zip(graph.results(first), graph.results(again), strict=True))
    if any(not same_storage(y, z) or {y.name, z.name} <= set(graph.outputs) for y, z in pairs):
        return
    for y, z in pairs:
        graph.redirect(z, y)
        qparams, onnx_name = y.qparams or z.qparams, y.onnx_name or z.onnx_name
        graph.set_value(replace(y, qparams=qparams, onnx_name=onnx_name))
    graph.set_op(replace(first, origin=tuple(dict.fromkeys((*first.origin, *again.origin)))))
    graph.erase_op(again)
