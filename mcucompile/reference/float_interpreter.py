"""The meaning of a graph before quantization: every operator on real numbers, float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.reference.execute import batches, execute, join


def run_float(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of `graph` as float32, samples on axis 0.

    inputs: real numbers per graph input, shape (N, *value.shape[1:]); any N, memory is bounded.
    """
    every = [_run(graph, batch) for batch in batches(graph, inputs)]
    return [join(graph, name, [run[name] for run in every]) for name in graph.outputs]


def run_float_all(graph: Graph, inputs: Sequence[Array]) -> dict[str, Array]:
    """Every activation of `graph` by name, as `run_float`; keeps them all in memory."""
    every = [_run(graph, batch, keep_all=True) for batch in batches(graph, inputs)]
    return {name: join(graph, name, [run[name] for run in every]) for name in every[0]}


def _run(graph: Graph, inputs: Sequence[Array], keep_all: bool = False) -> dict[str, Array]:
    reals = [np.asarray(a, dtype=np.float32) for a in inputs]
    return execute(graph, reals, lambda v: v.real, _apply, keep_all)


def _apply(
    op: Op, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
) -> Sequence[Array]:
    return [np.asarray(a, dtype=np.float32) for a in op.evaluate(arrays)]
