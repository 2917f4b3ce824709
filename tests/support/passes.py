"""Small models through all float passes, of which each keeps the numbers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.ir import Graph, Op
from mcucompile.ir.verify import verify
from mcucompile.passes import FLOAT_PASSES
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession

node = helper.make_node
rng = np.random.default_rng(5)


def normalized(model: onnx.ModelProto, layout: str = "") -> Graph:
    """The graph of `model` after all passes, of which each has kept its numbers."""
    graph = set_input_layout(absorb_qdq(import_model(model)), layout)  # type: ignore[arg-type]
    given = [rng.normal(size=(2, *p.model_shape[1:])).astype(np.float32) for p in graph.input_ports]
    wanted = OnnxSession(model).run(given)
    inputs = [x.transpose(p.from_model) for x, p in zip(given, graph.input_ports, strict=True)]
    for run in (lambda g: g, *FLOAT_PASSES):
        before = graph.copy()
        graph = run(graph)
        verify(graph, "float", run.__name__)
        for got, want in zip(run_float(graph, inputs), wanted, strict=True):
            tolerance = 2e-3 * max(1.0, float(np.abs(want).max()))
            np.testing.assert_allclose(got, want, rtol=2e-3, atol=tolerance, err_msg=run.__name__)
        assert before.input_ports == graph.input_ports
        assert before.output_ports == graph.output_ports
    verify(graph, "normalized")
    return graph


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops()]


def the(graph: Graph, kind: type[Op]) -> Op:
    """The only operator of its kind."""
    (op,) = graph.ops_of(kind)
    return op


def conv(name: str, x: str, y: str, **attrs: object) -> onnx.NodeProto:
    return node("Conv", [x, f"{name}_w", f"{name}_b"], [y], name, **attrs)


def conv_weights(name: str, cout: int, cin: int, kernel: int = 3) -> dict[str, np.ndarray]:
    w = rng.normal(size=(cout, cin, kernel, kernel))
    return {f"{name}_w": w, f"{name}_b": rng.normal(size=cout)}
