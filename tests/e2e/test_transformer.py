"""A small transformer, as exporters write it operator by operator: what it becomes, its accuracy in
integers, and its C code."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.calibrate import observe
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize, uncalibrated
from mcucompile.quant.samples import Samples
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs
from tests.support.models import model_of

WIDTH, LENGTH, HEADS, CLASSES = 16, 8, 2, 10
DEPTH = WIDTH // HEADS


class _Writer:
    """Writes the nodes of a model; each method returns the name of a tensor."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}

    def node(self, kind: str, *operands: str, **attributes: object) -> str:
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, operands, [name], name, **attributes))
        return name

    def number(self, *value: float) -> str:
        return self.constant(np.array(value[0] if len(value) == 1 else value))

    def constant(self, data: np.ndarray) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = data
        return name

    def dense(self, x: str, cin: int, cout: int) -> str:
        weights = self.constant(self.rng.normal(size=(cin, cout)) / np.sqrt(cin))
        bias = self.constant(self.rng.normal(size=cout) * 0.3)
        return self.node("Add", self.node("MatMul", x, weights), bias)

    def layer_norm(self, x: str) -> str:
        distance = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        square = self.node("Pow", distance, self.number(2.0))
        variance = self.node("ReduceMean", square, axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, self.number(1e-5)))
        gain = self.constant(1 + 0.2 * self.rng.normal(size=WIDTH))
        scaled = self.node("Mul", self.node("Div", distance, root), gain)
        return self.node("Add", scaled, self.constant(0.2 * self.rng.normal(size=WIDTH)))

    def head(self, x: str, perm: list[int]) -> str:
        shape = self.constant(np.array([1, LENGTH, HEADS, DEPTH]))
        split = self.node("Reshape", self.dense(x, WIDTH, WIDTH), shape)
        return self.node("Transpose", split, perm=perm)

    def attention(self, x: str) -> str:
        q, v = self.head(x, [0, 2, 1, 3]), self.head(x, [0, 2, 1, 3])
        scores = self.node("MatMul", q, self.head(x, [0, 2, 3, 1]))
        scaled = self.node("Mul", scores, self.number(DEPTH**-0.5))
        mixed = self.node("MatMul", self.node("Softmax", scaled, axis=-1), v)
        merged = self.node("Transpose", mixed, perm=[0, 2, 1, 3])
        shape = self.constant(np.array([1, LENGTH, WIDTH]))
        return self.dense(self.node("Reshape", merged, shape), WIDTH, WIDTH)

    def gelu(self, x: str) -> str:
        erf = self.node("Erf", self.node("Div", x, self.number(2**0.5)))
        product = self.node("Mul", x, self.node("Add", erf, self.number(1.0)))
        return self.node("Mul", product, self.number(0.5))

    def block(self, x: str) -> str:
        x = self.node("Add", x, self.attention(self.layer_norm(x)))
        hidden = self.gelu(self.dense(self.layer_norm(x), WIDTH, 2 * WIDTH))
        return self.node("Add", x, self.dense(hidden, 2 * WIDTH, WIDTH))

    def model(self) -> onnx.ModelProto:
        x = self.layer_norm(self.block("x"))
        y = self.dense(self.node("ReduceMean", x, axes=[1], keepdims=0), WIDTH, CLASSES)
        shape = (1, LENGTH, WIDTH)
        return model_of(self.nodes, {"x": shape}, {y: (1, CLASSES)}, self.weights)


def _quantized(model: onnx.ModelProto, graph: Graph) -> Graph:
    data = np.random.default_rng(1).normal(size=(60, LENGTH, WIDTH)).astype(np.float32)
    ranges = observe(model, graph, uncalibrated(graph), Samples((data,)), "minmax")
    return legalize(quantize(graph, ranges))


def test_transformer() -> None:
    model = _Writer().model()
    graph = run_passes(absorb_qdq(import_model(model)))
    kinds = Counter(op.kind for op in graph.ops())
    assert kinds - Counter({"Reshape": 99, "Transpose": 4}) == Counter(
        Dense=7, Normalize=3, MatMul=2, Softmax=1, Add=2, Formula=1, GlobalAveragePool=1
    )
    integers = _quantized(model, graph)
    data = np.random.default_rng(2).normal(size=(200, LENGTH, WIDTH)).astype(np.float32)
    (real,) = run_float(graph, [data])
    (stored,) = run_int(integers, [integers.value("x").q.quantize(data)])
    error = integers.value(integers.outputs[0]).q.dequantize(stored) - real
    assert 10 * np.log10((real**2).mean() / (error**2).mean()) > 32.0  # decibels
    assert (real.argmax(axis=1) == stored.argmax(axis=1)).mean() > 0.97
    check_graphs([integers])
