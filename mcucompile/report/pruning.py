"""What the removal of channels saved, layer by layer: two graphs compared."""

from __future__ import annotations

from typing import Any

from mcucompile.ir import Graph, Op
from mcucompile.ir.channels import channels


def pruning(before: Graph, after: Graph) -> dict[str, Any]:
    """The report's "pruning": totals of all layers of sums of products, and those that changed.

    A layer is known by the name of its operator; one that is gone has nothing left.
    """
    left = {op.name: _figures(after, op) for op in after.ops()}
    total = {key: {"before": 0, "after": 0} for key in ("channels", "macs", "weights")}
    layers = []
    for op in before.ops():
        had = _figures(before, op)
        if not had["macs"]:
            continue
        has = left.get(op.name, dict.fromkeys(had, 0))
        figures = {key: {"before": had[key], "after": has[key]} for key in had}
        for key, figure in figures.items():
            total[key]["before"] += figure["before"]
            total[key]["after"] += figure["after"]
        if had != has:
            layers.append({"name": op.name, "onnx_names": list(op.origin), **figures})
    return {**total, "layers": layers}


def _figures(graph: Graph, op: Op) -> dict[str, int]:
    """Channels of the result, multiply-accumulates, and weights (without biases)."""
    operands, results = graph.operands(op), graph.results(op)
    return {
        "channels": channels(results[0]),
        "macs": op.macs(operands, results),
        "weights": sum(v.elements for v in operands if v.is_constant and v.dtype == "int8"),
    }
