"""Imported models against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir.verify import verify
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession

node = helper.make_node


def assert_same_numbers(model: onnx.ModelProto, **dims: int) -> None:
    """The imported graph computes what onnxruntime computes, on two random samples."""
    graph = import_model(model, "model", dims)
    verify(graph)
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, *p.shape[1:])).astype(np.float32) for p in graph.input_ports]
    wanted = OnnxSession(model).run(inputs)
    for got, want in zip(run_float(graph, inputs), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
