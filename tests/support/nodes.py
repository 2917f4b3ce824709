"""One ONNX node at a time, imported, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.errors import UnsupportedModelError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, Shape
from mcucompile.ir.verify import verify
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.models import model_of


def node_model(
    op_type: str,
    inputs: dict[str, Shape],
    constants: dict[str, Array] | None = None,
    opset: int = 17,
    order: list[str] | None = None,
    **attributes: Any,
) -> onnx.ModelProto:
    """A model of one node. order: its input names ("" is absent), by default inputs first."""
    constants = constants or {}
    names = [*inputs, *constants] if order is None else order
    node = helper.make_node(op_type, names, ["y"], "node", **attributes)
    return model_of([node], inputs, {"y": None}, constants, opset)


def check_node(
    op_type: str,
    inputs: dict[str, Shape],
    constants: dict[str, Array] | None = None,
    samples: int = 3,
    scale: float = 2.0,
    positive: bool = False,
    **options: Any,
) -> Graph:
    """Assert that an imported node computes what onnxruntime computes; returns its graph.

    Inputs are normally distributed with standard deviation `scale`, or their absolute values.
    """
    model = node_model(op_type, inputs, constants, **options)
    graph = import_model(model)
    verify(graph, "float")
    rng = np.random.default_rng(len(str(options)) + sum(map(sum, inputs.values())))
    arrays = [
        rng.normal(0.0, scale, (samples, *shape[1:])).astype(np.float32)
        for shape in inputs.values()
    ]
    if positive:
        arrays = [np.abs(a) + np.float32(0.01) for a in arrays]
    (have,) = run_float(graph, arrays)
    for sample, (want,) in zip(have, OnnxSession(model).samples(arrays), strict=True):
        np.testing.assert_allclose(sample.reshape(want.shape), want, rtol=2e-5, atol=2e-5)
    return graph


def check_refused(
    why: str, op_type: str, inputs: dict[str, Shape], *args: Any, **options: Any
) -> None:
    """Assert that a node is refused with MC101 and the words `why`."""
    with pytest.raises(UnsupportedModelError, match=why) as caught:
        import_model(node_model(op_type, inputs, *args, **options))
    assert caught.value.id == "MC101"
