"""Tensors without a batch in front: the same numbers, behind an axis of 1."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph
from mcucompile.ir.verify import verify
from mcucompile.passes import run_passes
from mcucompile.passes.lead_with_batch import lead_with_batch
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize, uncalibrated
from mcucompile.reference.float_interpreter import run_float, run_float_all
from tests.support.ckit import check_graphs
from tests.support.models import model_of

node = helper.make_node
rng = np.random.default_rng(8)
SHAPES = {"fold": np.array([4, 6]), "heads": np.array([4, 2, 3]), "back": np.array([1, 4, 6])}


def attention() -> onnx.ModelProto:
    """Two heads over four steps, time in front and heads joined with the batch, as
    torch.nn.MultiheadAttention writes it."""
    nodes = [node("Transpose", ["x"], ["t"], "t", perm=[1, 0, 2])]  # (4, 1, 6)
    for name in "qkv":
        nodes += [
            node("MatMul", ["t", f"w{name}"], [f"{name}1"], f"{name}_dense"),
            node("Reshape", [f"{name}1", "heads"], [f"{name}2"], f"{name}_heads"),
            node("Transpose", [f"{name}2"], [name], perm=[1, 0, 2] if name != "k" else [1, 2, 0]),
        ]
    nodes += [
        node("MatMul", ["q", "k"], ["a"], "scores"),  # (2, 4, 4)
        node("Softmax", ["a"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["o"], "mixed"),
        node("Transpose", ["o"], ["o1"], "o1", perm=[1, 0, 2]),
        node("Reshape", ["o1", "back"], ["y"], "y"),
    ]
    weights = {f"w{name}": rng.normal(size=(6, 6)) for name in "qkv"}
    return model_of(nodes, {"x": (1, 4, 6)}, {"y": (1, 4, 6)}, weights | SHAPES)


def folded(*nodes: onnx.NodeProto, output: tuple[int, ...]) -> onnx.ModelProto:
    """`nodes` from r (4, 6), which has no batch, to y."""
    constants = {
        **SHAPES,
        "c": rng.normal(size=(2, 6)),
        "m": rng.normal(size=(4, 3, 5)),
        "one": np.array([1]),
        "two": np.array([2]),
    }
    constants["line"] = np.array([24])
    constants |= {"zero": np.array([0]), "twice": np.array([2, 1])}
    first = node("Reshape", ["x", "fold"], ["r"], "r")
    return model_of([first, *nodes], {"x": (1, 4, 6)}, {"y": output}, constants)


MODELS = {
    "attention": attention(),
    "concat": folded(node("Concat", ["r", "c"], ["y"], axis=0), output=(6, 6)),
    "gather": folded(node("Gather", ["r", "two"], ["y"], axis=0), output=(1, 6)),
    "slice": folded(node("Slice", ["r", "one", "two", "zero"], ["y"]), output=(1, 6)),
    "reduce": folded(node("ReduceMax", ["r"], ["y"], axes=[0]), output=(1, 6)),
    "tile": folded(node("Tile", ["r", "twice"], ["y"]), output=(8, 6)),
    "pad": folded(node("Pad", ["r", "around"], ["y"]), output=(4, 8)),
    "table": folded(node("Exp", ["r"], ["y"]), output=(4, 6)),
    "constant matrix": folded(
        node("Reshape", ["r", "heads"], ["h"]), node("MatMul", ["h", "m"], ["y"]), output=(4, 2, 5)
    ),
    "scalar": folded(
        node("Reshape", ["r", "line"], ["l"]), node("MatMul", ["l", "l"], ["y"]), output=()
    ),
    "square": folded(
        node("Transpose", ["r"], ["t"]), node("MatMul", ["r", "t"], ["y"]), output=(4, 4)
    ),
    "two readers": folded(
        node("Exp", ["r"], ["e"]),
        node("Reshape", ["e", "back"], ["b"]),
        node("Add", ["b", "x"], ["y"]),
        output=(1, 4, 6),
    ),
}


def prepared(name: str) -> Graph:
    model = MODELS[name]
    if name == "pad":
        around = onnx.numpy_helper.from_array(np.array([0, 1, 0, 1]), "around")
        model.graph.initializer.append(around)
    return import_model(model)


@pytest.mark.parametrize("name", MODELS)
def test_numbers_stay(name: str) -> None:
    """Before and after the pass, after all passes, and in C."""
    graph = prepared(name)
    x = rng.normal(size=(3, 4, 6)).astype(np.float32)
    (want,) = run_float(graph, [x])
    after = lead_with_batch(graph)
    verify(after, "float")
    np.testing.assert_allclose(run_float(after, [x])[0].reshape(want.shape), want, rtol=1e-6)
    inner = [v for v in after.values() if not v.is_constant and v.name not in after.outputs]
    assert all(v.shape[0] == 1 for v in inner)
    whole = run_passes(graph)
    have = run_float(whole, [x])[0].reshape(want.shape)
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)
    every = run_float_all(whole, [x])
    ranges = {
        v.name: (float(every[v.name].min()), float(every[v.name].max()))
        for v in uncalibrated(whole)
    }
    check_graphs([legalize(quantize(whole, ranges))])


def test_shapes_of_outputs_stay() -> None:
    graph = lead_with_batch(prepared("concat"))
    assert [graph.value(name).shape for name in graph.outputs] == [(6, 6)]
    verify(graph, "float")


def test_graphs_with_a_batch_are_left_alone() -> None:
    model = model_of([node("Relu", ["x"], ["y"])], {"x": (1, 4)}, {"y": (1, 4)}, {})
    graph = import_model(model)
    after = lead_with_batch(graph)
    assert [op.name for op in after.ops()] == [op.name for op in graph.ops()]
