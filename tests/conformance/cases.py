"""The node tests of the installed onnx package that matter to this compiler."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
from onnx import TensorProto
from onnx.backend.test.loader import load_model_tests

from mcucompile.ir import Array

# What models for microcontrollers are made of: a test is relevant if all its nodes are of these...
OPERATORS = frozenset(
    """
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant
    Conv ConvInteger ConvTranspose Cos DepthToSpace DequantizeLinear Div Dropout
    DynamicQuantizeLinear Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpPool MatMul MatMulInteger Max MaxPool Mean Min Mish Mul Neg Not Or PRelu Pad Pow
    QLinearConv QLinearMatMul QuantizeLinear RNN Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin
    ReduceSum Relu Reshape Resize Round Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign
    SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze
    Upsample Where
    """.split()
)
# ...and all its inputs and outputs are tensors of these types.
TYPES = frozenset("FLOAT INT8 UINT8 INT16 UINT16 INT32 INT64 BOOL".split())


@dataclass(frozen=True, eq=False)
class Case:
    """A test: a model, what it is given, and what it has to answer."""

    name: str
    model: onnx.ModelProto
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]

    @property
    def operators(self) -> str:
        return ", ".join(sorted({node.op_type for node in self.model.graph.node}))


@cache
def relevant_cases() -> tuple[Case, ...]:
    """All relevant tests, in the order of the package; without the "expanded" ones, which are the
    same again with the nodes of a function in its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tests' own overflows
        tests = load_model_tests(kind="node")
    found = []
    for test in tests:
        if "expanded" in test.name or not _is_relevant(test.model):
            continue
        ((inputs, outputs),) = test.data_sets
        found.append(
            Case(test.name.removeprefix("test_"), test.model, _arrays(inputs), _arrays(outputs))
        )
    return tuple(found)


def _is_relevant(model: onnx.ModelProto) -> bool:
    nodes, ports = model.graph.node, [*model.graph.input, *model.graph.output]
    return all(n.op_type in OPERATORS and not n.domain for n in nodes) and all(
        p.type.HasField("tensor_type")
        and TensorProto.DataType.Name(p.type.tensor_type.elem_type) in TYPES
        for p in ports
    )


def _arrays(given: list[Array]) -> tuple[Array, ...]:
    return tuple(np.asarray(array) for array in given)
