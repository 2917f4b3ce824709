"""Evaluation of ONNX nodes whose inputs are all known: shape arithmetic, transposed weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from mcucompile.ir import Array

# Quantization parameters must survive the import, and random numbers are not constant.
KEPT = frozenset(
    (
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "Bernoulli",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    )
)


def constant_node(node: onnx.NodeProto) -> Array:
    """The tensor that a Constant node holds."""
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return np.array(numpy_helper.to_array(value))
    dtype = np.float32 if attribute.name.startswith("value_float") else np.int64
    return np.array(value, dtype=dtype)


def fold(node: onnx.NodeProto, opset: int, inputs: Sequence[Array | None]) -> list[Array] | None:
    """The outputs of `node` for constant `inputs`; None if onnxruntime cannot compute them."""
    tensors = [
        numpy_helper.from_array(array, name)
        for name, array in dict(zip(node.input, inputs, strict=True)).items()
        if array is not None
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "fold", [], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return [np.asarray(a) for a in session.run(None, {})]
    except Exception:  # onnxruntime's own classes, which it does not export
        return None
