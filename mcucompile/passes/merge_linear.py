"""Two layers without anything between them are one, where that is less work."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Value
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.passes.rewrite import constant_like, fusable, fuse, set_operand

Linear = Conv2d | Dense


def merge_linear(graph: Graph) -> Graph:
    """linear(w, b) -> pointwise(v, c)    =>    linear(v*w, v*b + c), if that has fewer weights

    Two dense layers in a row, which only training can tell from one. A narrow layer before a wide
    one (a linear bottleneck) stays: there, two products of matrices are less work than one.
    """
    graph = graph.copy()
    for op in graph.ops_of(Conv2d, Dense):
        first = graph.producer(graph.operands(op)[0])
        while isinstance(op, Linear) and isinstance(first, Linear) and _pays(graph, first, op):
            op = _merge(graph, first, op)
            first = graph.producer(graph.operands(op)[0])
    return graph


def _pays(graph: Graph, first: Linear, second: Linear) -> bool:
    if not fusable(graph, first, second) or first.clamp is not None:
        return False
    (_, w, b), (_, v, c) = graph.operands(first), graph.operands(second)
    if any(value.data is None or value.qparams is not None for value in (w, b, v, c)):
        return False
    if not _is_pointwise(second, v) or (isinstance(first, Conv2d) and first.groups > 1):
        return False
    window = math.prod(w.shape[1:])
    return v.shape[0] * window < w.shape[0] * window + v.elements


def _is_pointwise(op: Linear, weights: Value) -> bool:
    """Is each vector of the result the product of a matrix and one vector of the input?"""
    if isinstance(op, Dense):
        return True
    plain = op.groups == 1 and op.strides == (1, 1) and not any(op.pads)
    return plain and weights.shape[1:3] == (1, 1)


def _merge(graph: Graph, first: Linear, second: Linear) -> Linear:
    """Let `first` compute what `second` does; returns it as it is then."""
    (_, w, b), (_, v, c) = graph.operands(first), graph.operands(second)
    matrix = v.real.astype(np.float64).reshape(v.shape[0], -1)
    product = matrix @ w.real.astype(np.float64).reshape(w.shape[0], -1)
    bias = matrix @ b.real + c.real
    set_operand(graph, first, 1, constant_like(graph, w, product.reshape(-1, *w.shape[1:]), None))
    set_operand(graph, first, 2, constant_like(graph, b, bias, None))
    result = graph.result(second)
    fuse(graph, replace(first, clamp=second.clamp), second)
    merged = graph.producer(result)
    assert isinstance(merged, Linear)
    return merged
