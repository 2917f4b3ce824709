"""Evaluation of ONNX nodes whose inputs are all known: shape arithmetic, transposed weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

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
    """The outputs of `node` for constant `inputs`, as ONNX's reference computes them; None if it
    cannot."""
    given = {name: a for name, a in zip(node.input, inputs, strict=True) if a is not None}
    infos = [helper.make_tensor_value_info(name, _type(a), a.shape) for name, a in given.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "fold", infos, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    try:
        results = ReferenceEvaluator(model).run(None, given)
    except Exception:  # the reference raises whatever its Python code runs into
        return None
    return [np.asarray(a) for a in results]


def _type(array: Array) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)
