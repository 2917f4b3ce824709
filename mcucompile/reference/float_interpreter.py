"""The meaning of a graph before quantization: every operator on real numbers, float32.

Where a pre-quantized model says how a value is stored, it also says which numbers there are: what
lies outside of them saturates. Quantizers rely on that; they leave a Relu out before a value whose
smallest number is 0. Rounding is not part of the meaning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcucompile.ir import QMAX, QMIN, Array, Graph, Op, Value
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
    given = [graph.value(name) for name in graph.inputs]
    reals = [saturated(value, array) for value, array in zip(given, inputs, strict=True)]
    return execute(graph, reals, lambda v: v.real, _apply, keep_all)


def _apply(
    op: Op, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
) -> Sequence[Array]:
    return [saturated(v, a) for v, a in zip(results, op.evaluate(arrays), strict=True)]


def saturated(value: Value, array: Array) -> Array:
    """The real numbers `array` as `value` can hold them, float32."""
    array = np.asarray(array, dtype=np.float32)
    if value.qparams is None:
        return array
    return np.clip(array, *value.qparams.dequantize(np.asarray([QMIN, QMAX])))
