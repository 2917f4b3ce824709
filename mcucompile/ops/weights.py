"""Weights and biases of convolutions and dense layers, as ONNX nodes give them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Array, Shape, Value


def import_weights(
    node: OnnxNode, weights: Value, axes: Sequence[int], shape: Shape, factor: float = 1.0
) -> Value:
    """The constant `weights`, times `factor`, with its axes in the order `axes` (output channel
    first), as `shape`. Integers stay integers unless they are quantized along another axis."""
    data, q = weights.data, weights.qparams
    if data is None:
        node.unsupported("its weights are computed at run time", "export constant weights")
    if q is None or factor != 1.0 or q.axis not in (None, axes[0]):
        real = weights.real.transpose(axes).reshape(shape)
        return node.graph.constant(weights.name, real * np.float32(factor))
    moved = np.ascontiguousarray(data.transpose(axes)).reshape(shape)
    q = replace(q, axis=None if q.axis is None else 0)
    name = node.graph.fresh_name(weights.name)
    return node.graph.add_value(Value(name, shape, weights.dtype, q, moved))


def rearranged(node: OnnxNode, value: Value, move: Callable[[Array], Array]) -> Value:
    """The constant `value` with its elements moved; integers of one scale stay integers."""
    q = value.qparams
    if value.data is None or q is None or q.axis is not None:
        return node.graph.constant(value.name, move(value.real))
    data = np.ascontiguousarray(move(value.data))
    name = node.graph.fresh_name(value.name)
    return node.graph.add_value(Value(name, data.shape, value.dtype, q, data))


def import_bias(node: OnnxNode, bias: Value | None, channels: int, factor: float = 1.0) -> Value:
    """The constant `bias` as shape (channels,), times `factor`; zeros where there is none."""
    if bias is None:
        return node.graph.constant(node.name + ".bias", np.zeros(channels))
    if bias.data is None:
        node.unsupported("its bias is computed at run time", "export a constant bias")
    if bias.shape == (channels,) and factor == 1.0:
        return bias
    if bias.elements not in (1, channels) or bias.shape[-1:] not in ((), (1,), (channels,)):
        node.unsupported(
            f"its bias has the shape {list(bias.shape)}", f"use one number for each of {channels}"
        )
    real = np.broadcast_to(bias.real.reshape(-1), (channels,)) * np.float32(factor)
    return node.graph.constant(bias.name, real)
