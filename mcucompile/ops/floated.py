"""Which operators can be computed in float32, and what computes them then."""

from __future__ import annotations

from dataclasses import fields

from mcucompile.ir import Op
from mcucompile.ops.add import Add
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.float32 import Float
from mcucompile.ops.float_elements import FloatAdd, FloatFunction, FloatMul
from mcucompile.ops.float_layers import FloatConv2d, FloatDense
from mcucompile.ops.float_pools import (
    FloatAveragePool,
    FloatGlobalAveragePool,
    FloatGlobalMaxPool,
    FloatMaxPool,
)
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.mul import Mul
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.table import Table

_FLOAT: dict[type[Op], type[Float]] = {
    Conv2d: FloatConv2d,
    Dense: FloatDense,
    Add: FloatAdd,
    Mul: FloatMul,
    AveragePool: FloatAveragePool,
    GlobalAveragePool: FloatGlobalAveragePool,
    MaxPool: FloatMaxPool,
    GlobalMaxPool: FloatGlobalMaxPool,
}

ABLE = (
    "Conv, Gemm and MatMul with constant weights, Add, Sub, Mul, average and maximum pools, Relu, "
    "Clip, LeakyRelu, Elu, HardSigmoid, HardSwish, Sigmoid, Tanh and Swish"
)


def can_be_float(op: Op) -> bool:
    """Can it be computed in float32?"""
    if isinstance(op, Table):
        return FloatFunction.of(op) is not None
    return type(op) in _FLOAT


def floated(op: Op) -> Float:
    """The operator that computes in float32 what `op` does."""
    if isinstance(op, Table):
        function = FloatFunction.of(op)
        assert function is not None
        return function
    return _FLOAT[type(op)](**{f.name: getattr(op, f.name) for f in fields(op)})
