"""What the float and the integer interpreter share: the walk over the graph, and batches."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ops.transpose import Transpose

MEMORY_LIMIT = 500e6  # bytes that one batch may take, roughly

Load = Callable[[Value], Array]
Apply = Callable[[Op, Sequence[Value], Sequence[Value], Sequence[Array]], Sequence[Array]]


def execute(
    graph: Graph, inputs: Sequence[Array], load: Load, apply: Apply, keep_all: bool = False
) -> dict[str, Array]:
    """Run one batch through `graph`; returns the outputs, or all activations, by value name.

    load: the contents of a constant. apply: the results of an operator. Values are dropped after
    their last use unless `keep_all`. Raises InternalError if a result has not the value's shape.
    """
    single = inputs[0].shape == graph.value(graph.inputs[0]).shape
    arrays: dict[str, Array] = dict(zip(graph.inputs, inputs, strict=True))
    uses = Counter({v.name: len(graph.users(v)) for v in graph.values()})
    uses.update(graph.outputs)
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        given = [load(v) if v.is_constant else arrays[v.name] for v in operands]
        for value, array in zip(results, apply(op, operands, results, given), strict=True):
            if array.shape != (value.shape if single else (len(inputs[0]), *value.shape[1:])):
                raise InternalError(f"{op.name} computes {array.shape}, not {value.shape}")
            arrays[value.name] = array
        for value in operands:
            uses[value.name] -= 1
            if uses[value.name] == 0 and not keep_all:
                arrays.pop(value.name, None)
    return arrays


def is_batchable(graph: Graph) -> bool:
    """Does axis 0 of every activation mean the batch? If not, samples must run one at a time."""
    ones = all(v.shape[:1] == (1,) for v in graph.values() if not v.is_constant)
    moved = any(op.perm[0] != 0 for op in graph.ops_of(Transpose) if isinstance(op, Transpose))
    return ones and not moved


def batches(graph: Graph, inputs: Sequence[Array]) -> Iterator[list[Array]]:
    """Cut samples on axis 0 of `inputs` into batches that need about MEMORY_LIMIT bytes.

    inputs: (N, ...) per graph input, reshaped here to (n, *value.shape[1:]). Graphs that do not
    keep a batch axis get one sample at a time, in the value's own shape.
    """
    shapes = [graph.value(name).shape for name in graph.inputs]
    count = len(inputs[0])
    if not is_batchable(graph):
        for i in range(count):
            yield [a[i].reshape(shape) for a, shape in zip(inputs, shapes, strict=True)]
        return
    size = max(1, int(MEMORY_LIMIT / _bytes_per_sample(graph)))
    if graph.is_stateful:  # a sequence of runs must not be cut
        size = count
    for start in range(0, count, size):
        part = [a[start : start + size] for a in inputs]
        yield [a.reshape(len(a), *shape[1:]) for a, shape in zip(part, shapes, strict=True)]


def join(graph: Graph, name: str, parts: Sequence[Array]) -> Array:
    """One array with samples on axis 0 from the results `parts` of each batch for value `name`."""
    batched = graph.value(name).shape[:1] == (1,)
    return np.concatenate(parts) if batched else np.stack(parts)


def _bytes_per_sample(graph: Graph) -> int:
    """Memory of the most demanding operator, whose operands are unfolded into float64 patches."""
    most = 8
    for op in graph.ops():
        operands, results = graph.operands(op), graph.results(op)
        patch = max((math.prod(v.shape[1:-1]) for v in operands if v.is_constant), default=1)
        elements = sum(v.elements for v in operands if not v.is_constant) * max(patch, 1)
        most = max(most, 8 * (2 * elements + 2 * sum(v.elements for v in results)))
    return most
