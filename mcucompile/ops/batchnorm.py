"""BatchNormalization: float only; a pass folds it into a convolution or dense layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.plan.program import KernelCall, Target


@dataclass(frozen=True)
class BatchNorm(Op):
    """scale * (x - mean) / sqrt(variance + epsilon) + bias, per channel of the last axis.

    Operands: x (..., C), then scale, bias, mean, variance, constants of shape (C,).
    """

    epsilon: float = 1e-5

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, *parameters = operands
        if any(p.shape != x.shape[-1:] for p in parameters):
            raise ValueError(f"parameters do not match {x.shape[-1]} channels")
        return (x.shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        factor, offset = self.affine(*operands[1:])
        return (operands[0] * factor + offset,)

    def affine(
        self, scale: Array, bias: Array, mean: Array, variance: Array
    ) -> tuple[Array, Array]:
        """The same as x * factor + offset, float32 arrays of shape (C,)."""
        factor = scale / np.sqrt(variance + np.float32(self.epsilon))
        return factor, bias - mean * factor

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        raise InternalError(f"BatchNorm {self.name} was not folded before lowering")


@onnx_import("BatchNormalization")
def import_batchnorm(node: OnnxNode) -> Value:
    if int(node.attrs.get("training_mode", 0)):
        node.unsupported("it is in training mode", "export the model with model.eval()")
    for slot, what in enumerate(("scale", "bias", "mean", "variance"), start=1):
        node.constant(slot, what)
    x = node.operand(0)
    parameters = [node.operand(slot) for slot in range(1, 5)]
    op = BatchNorm(*node.fresh(), epsilon=float(node.attrs.get("epsilon", 1e-5)))
    if len(x.shape) == 2:
        return node.add(op, x, *parameters)
    return to_nchw(node, node.add(op, to_nhwc(node, x), *parameters), len(x.shape))
