"""Small ONNX models, made on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def small_cnn(channels: int = 8, size: int = 12) -> onnx.ModelProto:
    """Conv, Relu, global average pool, Gemm, Softmax; NCHW, one channel in, 4 classes out."""
    rng = np.random.default_rng(1)
    weights = {
        "w": rng.normal(size=(channels, 1, 3, 3)),
        "b": rng.normal(size=(channels,)),
        "fc": rng.normal(size=(4, channels)),
        "fb": rng.normal(size=(4,)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc", "fb"], ["g"], "dense", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], "softmax"),
    ]
    return model_of(nodes, {"x": (1, 1, size, size)}, {"y": (1, 4)}, weights)


def unsupported_cnn() -> onnx.ModelProto:
    """A model with three nodes that cannot be compiled."""
    nodes = [
        helper.make_node("Det", ["x"], ["a"], "first/Det"),
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("NonZero", ["r"], ["b"], "second/NonZero"),
        helper.make_node("Bernoulli", ["r"], ["c"], "third/Bernoulli"),
    ]
    return model_of(nodes, {"x": (1, 1, 4, 4)}, {"c": (1, 1, 4, 4), "a": (1, 1)}, {})


def data_dependent() -> onnx.ModelProto:
    """A model whose nodes, and numbers, depend on the data of each run."""
    y = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branches = {
        name: helper.make_graph([helper.make_node(op, ["x"], ["inner"])], name, [], [y])
        for name, op in [("then_branch", "Relu"), ("else_branch", "Neg")]
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], "first/Quantize"),
        helper.make_node("ConvInteger", ["q", "w"], ["c"], "first/Conv"),
        helper.make_node("If", ["flag"], ["y"], "second/If", **branches),
        helper.make_node("Slice", ["x", "two", "two"], ["e"], "third/Slice"),
        helper.make_node("Resize", ["x", "", "roi"], ["r"], "fourth/Resize"),
    ]
    constants = {"two": np.array([2]), "roi": np.array([2.0, 1.0, 1.0, 1.0])}
    outputs = {name: (1, 1, 4, 4) for name in ("c", "y", "e", "r")}
    return model_of(nodes, {"x": (1, 1, 4, 4), "flag": (1,), "w": (1, 1, 1, 1)}, outputs, constants)


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    weights: dict[str, np.ndarray],
    opset: int = 17,
) -> onnx.ModelProto:
    """A float32 model of `nodes`; weights become float32 initializers (int64 stays)."""

    def info(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    initializers = [
        numpy_helper.from_array(a if a.dtype == np.int64 else a.astype(np.float32), name)
        for name, a in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [info(n, s) for n, s in inputs.items()],
        [info(n, s) for n, s in outputs.items()],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(model: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path
