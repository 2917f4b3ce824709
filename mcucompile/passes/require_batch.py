"""The compiled model computes one sample: every tensor has a batch axis of 1 in front.

But for outputs, which are the views of such tensors that the model asks for.
"""

from __future__ import annotations

from mcucompile.errors import UnsupportedModelError
from mcucompile.ir import Graph, Op, Value


def require_batch(graph: Graph) -> Graph:
    """Nothing changes. Raises UnsupportedModelError MC107 where the batch is mixed with the data.

    Last, because Transposes that swap the batch with time, as recurrent layers have them, may have
    cancelled each other by now.
    """
    for op in graph.ops():
        for value in graph.results(op):
            if value.shape[:1] != (1,) and not _is_output_view(graph, op, value):
                raise UnsupportedModelError(
                    "MC107",
                    f"node '{(*op.origin, op.name)[0]}' ({op.kind})",
                    "cannot be compiled",
                    f"its result {list(value.shape)} has no batch dimension of 1 in front",
                    "keep the batch as first dimension throughout the model",
                )
    return graph


def _is_output_view(graph: Graph, op: Op, value: Value) -> bool:
    return op.is_view and value.name in graph.outputs
