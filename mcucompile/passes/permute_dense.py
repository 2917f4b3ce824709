"""A Dense layer reads an image in whatever order its weights are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph
from mcucompile.ops.dense import Dense
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import Transpose
from mcucompile.passes.rewrite import constant_like, set_operand


def permute_dense(graph: Graph) -> Graph:
    """x -> Transpose -> Reshape(1, K) -> Dense(w)    =>    x -> Reshape(1, K) -> Dense(w permuted)

    What PyTorch's flatten does to an NCHW tensor. Columns of w change places, so integers stay.
    """
    graph = graph.copy()
    for dense in graph.ops_of(Dense):
        x, w, _ = graph.operands(dense)
        flatten = graph.producer(x)
        if not isinstance(flatten, Reshape) or len(x.shape) != 2 or w.data is None:
            continue
        transpose = graph.producer(graph.operands(flatten)[0])
        if not isinstance(transpose, Transpose) or transpose.perm[0] != 0:
            continue
        source = graph.operands(transpose)[0]
        order = np.arange(source.elements).reshape(source.shape).transpose(transpose.perm).ravel()
        data = np.empty_like(w.data)
        data[:, order] = w.data  # x[k] is element order[k] of the source
        op = Reshape(graph.fresh_name(flatten.name), flatten.origin, shape=flatten.shape)
        (flat,) = graph.append(op, [source], [op.name])
        set_operand(graph, dense, 1, constant_like(graph, w, data, w.qparams))
        set_operand(graph, dense, 0, graph.set_value(replace(x, name=flat.name)))
    return graph
