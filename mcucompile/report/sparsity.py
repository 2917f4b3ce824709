"""What blocks of zero weights spare a model: which steps leave them out."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcucompile.ir import Graph
from mcucompile.plan.plan import Plan
from mcucompile.plan.program import KernelCall

Report = dict[str, Any]

CHANNEL_BYTES = 8  # of bias and multiplier, besides the weights of a dense kernel


def sparsity(graph: Graph, plan: Plan) -> list[Report]:
    """The report's "sparsity": of each step with block-sparse weights, its blocks and bytes."""
    return [
        {"step": index, **_layer(graph, step.call)}
        for index, step in enumerate(plan.steps)
        if step.call.header.endswith("_sparse.h")
    ]


def _layer(graph: Graph, call: KernelCall) -> Report:
    """bytes_saved: of weights, against one byte for each."""
    (op,) = (op for op in graph.ops() if op.name == call.op)
    w = graph.operands(op)[1].data
    assert w is not None
    rows = 4 if "dense" in call.header else 1
    flat = w.reshape(len(w), -1)
    padded = np.pad(flat, ((0, -len(flat) % rows), (0, 0)))
    kept = padded.reshape(-1, rows, flat.shape[1] // 4, 4).any(axis=(1, 3))
    dense = w.size + CHANNEL_BYTES * len(w)
    return {
        "block": f"{rows}x4",
        "blocks": kept.size,
        "kept": int(kept.sum()),
        "bytes_saved": dense - sum(const.data.nbytes for const in call.consts),
    }


def sparsity_lines(report: list[Report]) -> list[str]:
    """The same for people, as lines of the summary."""
    if not report:
        return []
    kept, blocks = (sum(layer[key] for layer in report) for key in ("kept", "blocks"))
    saved = sum(layer["bytes_saved"] for layer in report)
    return [
        f"sparse     {len(report)} layers, {kept:,} of {blocks:,} blocks of weights kept, "
        f"{saved:,} bytes saved"
    ]
