"""The compiled model computes one sample: every tensor has a batch axis of 1 in front."""

from __future__ import annotations

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir import Graph


def require_batch(graph: Graph) -> Graph:
    """Nothing changes. Raises UnsupportedModelError MC107 where the batch is mixed with the data.

    Last, because Transposes that swap the batch with time, as recurrent layers have them, may have
    cancelled each other by now.
    """
    for op in graph.ops():
        for value in graph.results(op):
            if value.shape[:1] != (1,):
                raise UnsupportedModelError(
                    "MC107",
                    f"node '{(*op.origin, op.name)[0]}' ({op.kind})",
                    "cannot be compiled",
                    f"its result {list(value.shape)} has no batch dimension of 1 in front",
                    "keep the batch as first dimension throughout the model",
                )
    return graph
