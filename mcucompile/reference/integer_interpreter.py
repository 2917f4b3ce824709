"""The meaning of a quantized graph: what the C code computes, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ir.storage import array_dtype
from mcucompile.reference.execute import batches, execute, join


def run_int(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of the quantized `graph`, samples on axis 0: int8, or what the border asks for.

    inputs: of each graph input's dtype, shape (N, *value.shape[1:]); any N, memory is bounded.
    """
    every = [_run(graph, batch) for batch in batches(graph, inputs)]
    return [join(graph, name, [run[name] for run in every]) for name in graph.outputs]


def run_int_all(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every activation of `graph` by name, as `run_int`; keeps them all in memory."""
    every = [_run(graph, batch, keep_all=True) for batch in batches(graph, inputs)]
    return {name: join(graph, name, [run[name] for run in every]) for name in every[0]}


def _run(graph: Graph, inputs: Sequence[Array], keep_all: bool = False) -> dict[str, Array]:
    for array, name in zip(inputs, graph.inputs, strict=True):
        if array.dtype != array_dtype(graph.value(name)):
            raise TypeError(f"input {name} must be {graph.value(name).dtype}, not {array.dtype}")
    return execute(graph, inputs, _contents, _apply, keep_all)


def _contents(value: Value) -> Array:
    assert value.data is not None
    return value.data


def _apply(
    op: Op, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
) -> Sequence[Array]:
    answer = op.evaluate_int(operands, results, arrays)
    for array, value in zip(answer, results, strict=True):
        if array.dtype != array_dtype(value):
            raise InternalError(f"the integer reference of {op.name} gives {array.dtype}")
    return answer
