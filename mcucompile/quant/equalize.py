"""Cross-layer equalization: channels of one tensor get ranges of similar size.

A layer's result has one scale for all channels; a channel whose numbers are small beside those
of others keeps few of the 256 steps. Relu keeps positive factors, so what a channel is multiplied
by in one layer can be divided out in the next one.

After Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV
2019, section 4.1. Theirs balances weights that have one scale per tensor. Here every output channel
has its own scale, and weights lose nothing when their channel is scaled; so what is balanced are
the channels' activations on calibration samples against the weights that read them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Array, Graph, Value
from mcucompile.ir.verify import verify
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.passes.rewrite import constant_like, set_operand
from mcucompile.quant.runs import float_runs
from mcucompile.quant.samples import Samples

LIMIT = 64.0  # of a factor and of its inverse
DEAD = 1e-6  # a channel that stays below this share of the largest one is left alone

Layer = Conv2d | Dense


def equalize(graph: Graph, samples: Samples) -> Graph:
    """layer(w, b) -> x -> layer'(v, c)    =>    layer(f*w, f*b) -> x*f -> layer'(v/f, c)

    For every x that only one layer reads. Layers with integers of the model's own stay.
    """
    graph = graph.copy()
    reach = _reach(graph, samples)
    for first in graph.ops_of(Conv2d, Dense):
        assert isinstance(first, Layer)
        x = graph.result(first)
        second = graph.only_user(x)
        if isinstance(second, Layer) and graph.operands(second)[0] == x and x.name in reach:
            _equalize_pair(graph, first, second, reach[x.name])
    verify(graph, "normalized", "equalize")
    return graph


def _reach(graph: Graph, samples: Samples) -> dict[str, Array]:
    """The largest magnitude in each channel (last axis) of the results of layers."""
    layers = [graph.result(op).name for op in graph.ops_of(Conv2d, Dense)]
    reach: dict[str, Array] = {}
    for contents in float_runs(graph, samples):
        for name in layers:
            a = contents[name]
            most = np.abs(a).reshape(-1, a.shape[-1]).max(axis=0).astype(np.float64)
            reach[name] = np.maximum(most, reach.get(name, 0.0))
    return reach


def _equalize_pair(graph: Graph, first: Layer, second: Layer, reach: Array) -> None:
    (_, w, b), (x, v, _) = graph.operands(first), graph.operands(second)
    ours = all(c.is_constant and c.qparams is None for c in (w, b, v)) and x.qparams is None
    factors = _factors(first, second, v, reach) if ours else None
    if factors is None:
        return
    rows = factors.reshape(-1, *[1] * (len(w.shape) - 1))
    set_operand(graph, first, 1, constant_like(graph, w, w.real * rows, None))
    set_operand(graph, first, 2, constant_like(graph, b, b.real * factors, None))
    set_operand(graph, second, 1, constant_like(graph, v, v.real / _per_weight(v, factors), None))
    graph.set_value(replace(x, onnx_name=""))


def _per_weight(weights: Value, factors: Array) -> Array:
    """The factor of the channel that each weight of the reading layer meets."""
    if weights.shape[-1] == len(factors):
        return factors
    each = weights.shape[0] // len(factors)  # depthwise
    return np.repeat(factors, each).reshape(-1, *[1] * (len(weights.shape) - 1))


def _factors(first: Layer, second: Layer, weights: Value, reach: Array) -> Array | None:
    """What each channel between the layers is multiplied by; None if nothing can be done.

    Depthwise weights have a scale for every channel, so there all channels are stretched to the
    same range. Otherwise a channel is divided by the root of its range over that of its weights. A
    Clip at h keeps no factors; but a channel that is stretched until its range on the samples ends
    at h still saturates where calibration makes everything saturate, at the end of its range.
    """
    lo, hi = first.clamp or (-np.inf, np.inf)
    groups = second.groups if isinstance(second, Conv2d) else 1
    alive = reach > DEAD * reach.max()
    if lo not in (0.0, -np.inf) or groups not in (1, len(reach)) or not alive.any():
        return None
    largest = np.abs(weights.real).reshape(-1, weights.shape[-1]).max(axis=0).astype(np.float64)
    balance = np.ones(len(reach)) if groups > 1 else np.sqrt(np.maximum(largest, DEAD))
    safe = np.where(alive, reach, reach.max())
    factors = balance / (safe if groups > 1 else np.sqrt(safe))
    factors = factors / factors[np.argmax(reach)]
    if np.isfinite(hi):
        most = np.maximum(hi / safe, 1.0)
        factors = np.clip(factors, 1.0, np.minimum(most, LIMIT))
    factors = np.where(alive, np.clip(factors, 1 / LIMIT, LIMIT), 1.0)
    return None if np.allclose(factors, 1.0) else factors
