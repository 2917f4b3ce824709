"""Scaling and shifting of channels moves before maxima, to a layer that can take it over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Op
from mcucompile.ops.global_pool import GlobalMaxPool
from mcucompile.ops.pool import MaxPool
from mcucompile.passes.affine import affine_of
from mcucompile.passes.rewrite import fusable


def hoist_affine(graph: Graph) -> Graph:
    """x -> max -> a*x + c -> y    =>    x -> a*x + c -> max -> y, if every a > 0

    A normalization after a pool, as binary networks have it, is then in the weights before the
    pool, and the sign after it can be taken before the pool as well.
    """
    graph = graph.copy()
    for op in graph.ops():
        affine = affine_of(graph, op)
        pool = None if affine is None else graph.producer(affine.operand)
        if (
            affine is None
            or not isinstance(pool, MaxPool | GlobalMaxPool)
            or pool.clamp is not None
        ):
            continue
        if fusable(graph, pool, op) and np.all(affine.factor > 0.0):
            _swap(graph, pool, op)
    return graph


def _swap(graph: Graph, pool: Op, op: Op) -> None:
    """Let `op` compute on the operand of `pool`, and `pool` the result of `op`."""
    pooled = graph.result(pool)
    operands = [graph.operands(pool)[0] if v == pooled else v for v in graph.operands(op)]
    moved = replace(op, name=graph.fresh_name(f"{op.name}_hoisted"))
    (scaled,) = graph.append(moved, operands, [moved.name])
    graph.set_operand(pool, 0, scaled)
    graph.merge_into(pool, op)
