"""Layers of a quantized graph get weights of few values, and biases that suit them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.compress.palettes import Kind, few_valued
from mcucompile.ir import Array, Graph, Op, QParams, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.quant.constants import least_weight_scale, quantize_bias
from mcucompile.quant.correct_bias import correct_bias
from mcucompile.quant.refine import Constants, LayerRun, refine
from mcucompile.quant.samples import Samples

LARGEST = 2048  # weights of a channel; above, the matrix of moments would take too much memory
COARSE = 32  # the largest weight of a channel whose scale is not its own


@dataclass(frozen=True)
class Few:
    """What becomes of a layer's weights. zero: 0 must be among their values."""

    kind: Kind
    zero: bool = False


Kinds = Mapping[str, Few]  # by operator


def is_packable(graph: Graph, op: Op) -> bool:
    """Has `op` kernels for packed weights, and weights of its own to be packed?"""
    if not isinstance(op, Conv2d | Dense):
        return False
    x, w, b = graph.operands(op)
    groups = op.groups if isinstance(op, Conv2d) else 1
    stored = w.data is not None and b.data is not None and w.dtype == "int8" and x.dtype == "int8"
    return stored and groups == 1 and len(graph.users(w)) == 1 and len(graph.users(b)) == 1


def with_few_values(
    original: Graph, graph: Graph, kinds: Kinds, samples: Samples | None, correct: bool
) -> Graph:
    """The quantized `graph` in which the weights of the layers in `kinds` take few values.

    original: the float graph it was made from. samples: real ones, on which weights make up for
    each other's errors and layers for those before them; None if there are none. correct: also
    take the mean errors off the biases of all layers that are the compiler's to choose.
    """
    if not kinds:
        return graph
    if samples is None:
        return _by_magnitude(original, graph, kinds)

    def chosen(run: LayerRun, constants: Constants) -> Constants:
        few = kinds.get(run.op.name)
        if few is not None:
            importance, moments = moments_of(run)
            least = _least_scales(run.x, constants[0], run.bias)
            constants = _constants(run.x, run.weights, run.bias, few, importance, moments, least)
        return correct_bias(run, constants) if correct or few is not None else constants

    return refine(freed(original, kinds), graph, samples, [chosen])


def freed(original: Graph, layers: Collection[str]) -> Graph:
    """`original` with float constants in these layers, so that integers may be chosen anew."""
    graph = original.copy()
    for op in graph.ops():
        for value in graph.operands(op)[1:] if op.name in layers else ():
            if value.qparams is not None:
                graph.set_value(replace(value, dtype="float32", qparams=None, data=value.real))
    return graph


def _by_magnitude(original: Graph, graph: Graph, kinds: Kinds) -> Graph:
    """Without samples: all inputs count the same."""
    graph = graph.copy()
    before = {op.name: original.operands(op) for op in original.ops()}
    for op in graph.ops():
        if op.name in kinds:
            x = graph.operands(op)[0]
            w, b = (replace(v, qparams=None, data=v.real) for v in before[op.name][1:])
            depth = int(np.prod(w.shape[1:]))
            least = _least_scales(x, graph.operands(op)[1], b)
            for value in _constants(x, w, b, kinds[op.name], np.ones(depth), None, least):
                graph.set_value(value)
    return graph


def _least_scales(x: Value, stored: Value, bias: Value) -> Array:
    """Scales below which channels would ask for a bias of more than 32 bits, or for multipliers of
    few bits: where `stored` weights are coarse, that is why (see quant/constants.py)."""
    assert stored.data is not None
    largest = np.abs(stored.data.reshape(len(stored.data), -1).astype(np.int64)).max(axis=1)
    scales = np.broadcast_to(np.asarray(stored.q.scale, dtype=np.float64), largest.shape)
    return np.maximum(least_weight_scale(bias, x.q), np.where(largest < COARSE, scales, 0.0))


def _constants(
    x: Value,
    weights: Value,
    bias: Value,
    few: Few,
    importance: Array,
    moments: Array | None,
    least: Array,
) -> Constants:
    """Weights and bias, float before, for input `x`."""
    flat = weights.real.reshape(len(weights.real), -1)
    found = few_valued(flat, few.kind, importance, moments, least, few.zero)
    scales = np.asarray(found.scale, dtype=np.float32).astype(np.float64)
    new = replace(
        weights,
        dtype="int8",
        qparams=QParams(tuple(scales.tolist()), 0, 0),
        data=found.data.reshape(weights.shape),
    )
    return new, quantize_bias(bias, x.q.scale[0] * scales)


def moments_of(run: LayerRun) -> tuple[Array, Array | None]:
    """Variances of what the weights of a channel meet, and the covariances if they are few."""
    depth = int(np.prod(run.weights.shape[1:]))
    assert isinstance(run.op, Conv2d | Dense)
    few = depth <= LARGEST
    squares, total, count = np.zeros((depth, depth) if few else depth), np.zeros(depth), 0
    for _, stored, _ in run.batches():
        (seen,) = run.op.unfolded(stored.astype(np.float64), run.weights.shape)
        squares += seen.T @ seen if few else (seen**2).sum(axis=0)
        total += seen.sum(axis=0)
        count += len(seen)
    mean = total / count
    if not few:
        return squares / count - mean**2, None
    moments = squares / count - np.outer(mean, mean)
    return np.diag(moments).copy(), moments
