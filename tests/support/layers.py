"""Single convolutions and dense layers, float in ONNX and quantized at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, Op, QParams, Value
from mcucompile.lower import lower
from mcucompile.plan.program import KernelCall, Target
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.graphs import op_graph
from tests.support.models import model_of


def layer_graph(
    op: Op,
    shape: tuple[int, ...],
    weights: tuple[int, ...],
    rng: np.random.Generator,
    *,
    least: int = -127,
    zero_points: tuple[int, int] | None = None,
    gain: float = 1.0,
    per_channel: bool = True,
) -> Graph:
    """A graph of `op` alone, a Conv2d or Dense with random int8 weights of shape `weights`.

    shape: of its input. least: the smallest weight; extreme ones are over-represented.
    zero_points: of input and result, random if not given. gain: 1 spreads the results over the int8
    range, more saturates them.
    """
    cout, terms = weights[0], int(np.prod(weights[1:]))
    low, high = (int(z) for z in rng.integers(-128, 128, 2)) if zero_points is None else zero_points
    w = rng.integers(least, 128, weights)
    w = np.where(rng.random(weights) < 0.3, rng.choice([least, 127], weights), w).astype(np.int8)
    scales = rng.uniform(0.5, 2.0, cout if per_channel else 1) * 1e-3
    bias = rng.integers(-6000, 6000, cout).astype(np.int32)
    spread = 73.0 * 73.0 * np.sqrt(terms) * 1e-3 / 60.0
    operands = [
        Value("x", shape, "int8", QParams((0.02,), low)),
        Value("w", weights, "int8", QParams(_tuple(scales), 0, 0 if per_channel else None), w),
        Value("b", (cout,), "int32", QParams(_tuple(0.02 * scales + np.zeros(cout)), 0, 0), bias),
    ]
    return op_graph(op, operands, QParams((0.02 * spread / gain,), high))


def kernel_call(graph: Graph) -> KernelCall:
    """The kernel call of a graph of one operator."""
    (call,) = lower(graph, Target()).calls
    return call


def with_bias(graph: Graph, bias: Array) -> Graph:
    """A copy of `graph` with the int32 `bias`."""
    graph = graph.copy()
    graph.set_value(replace(graph.value("b"), data=bias.astype(np.int32)))
    return graph


def sparse_graph(
    graph: Graph, sparsity: float, rng: np.random.Generator, block: tuple[int, int] = (1, 4)
) -> Graph:
    """A copy of `graph`, a layer's, with a share of the blocks of its weights zero.

    block: output channels, elements. Rows and columns beyond the last whole block stay.
    """
    weights = graph.value("w")
    assert weights.data is not None
    w = weights.data.reshape(len(weights.data), -1).copy()
    rows, columns = (size // each for size, each in zip(w.shape, block, strict=True))
    zero = np.zeros(rows * columns, bool)
    zero[: round(sparsity * zero.size)] = True
    zero = np.kron(rng.permutation(zero).reshape(rows, columns), np.ones(block, bool)) > 0
    w[: zero.shape[0], : zero.shape[1]][zero] = 0
    graph = graph.copy()
    graph.set_value(replace(weights, data=w.reshape(weights.shape)))
    return graph


def few_valued_graph(graph: Graph, values: int, rng: np.random.Generator) -> Graph:
    """A copy of `graph`, a layer's, with so many of its weights: each became the nearest."""
    weights = graph.value("w")
    assert weights.data is not None
    known = np.unique(weights.data).astype(np.int64)
    kept = rng.choice(known, min(values, len(known)), replace=False)
    nearest = np.abs(weights.data[..., None].astype(np.int64) - kept).argmin(axis=-1)
    graph = graph.copy()
    graph.set_value(replace(weights, data=kept[nearest].astype(np.int8)))
    return graph


def assert_same_as_onnxruntime(
    op_type: str,
    shape: tuple[int, ...],
    constants: dict[str, Array],
    opset: int = 17,
    **attributes: Any,
) -> Graph:
    """Import a model of one node and compare its float meaning with onnxruntime's.

    shape: of the input "x". constants: the other inputs, in their order.
    """
    node = helper.make_node(op_type, ["x", *constants], ["y"], "node", **attributes)
    model = model_of([node], {"x": shape}, {"y": ()}, constants, opset)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model = onnx.shape_inference.infer_shapes(model)
    graph = import_model(model)
    x = np.random.default_rng(0).normal(size=(2, *shape[1:])).astype(np.float32)
    (want,) = OnnxSession(model).run([x])
    (have,) = run_float(graph, [x])
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
    return graph


def _tuple(values: Array) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
