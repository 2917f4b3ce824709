"""ArgMax and ArgMin: where the largest or smallest number is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from onnx import TensorProto

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QMIN, Array, QParams, QuantRule, Value
from mcucompile.ops.reduction import Reduction
from mcucompile.ops.reshape import reshape
from mcucompile.plan.program import KernelCall, Target

MOST = 256  # indices of 8 bits


@dataclass(frozen=True)
class ArgExtremum(Reduction):
    """The index of the largest (or smallest) number along the one axis; of equals the first one.

    last: the last one. A result is stored as index - 128, which a scale of 1 and a zero-point
    of -128 say.
    """

    largest: bool = True
    last: bool = False

    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return QParams((1.0,), QMIN)

    def _index(self, x: Array) -> Array:
        (axis,) = self.axes
        x = np.flip(x, axis) if self.last else x
        index = np.expand_dims((np.argmax if self.largest else np.argmin)(x, axis=axis), axis)
        return np.asarray(x.shape[axis] - 1 - index if self.last else index)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self._index(operands[0]).astype(np.float32),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return ((self._index(arrays[0]) + QMIN).astype(np.int8),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        kind = "ArgMax" if self.largest else "ArgMin"
        last, (axis,) = int(self.last), self.axes
        x = out.real(operands[0])
        index = out.add(kind, x, axis=axis, keepdims=1, select_last_index=last)
        return out.add("Cast", index, to=TensorProto.FLOAT)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        params = {"largest": int(self.largest), "last": int(self.last)}
        return self.call("mcuc_arg_extremum_s8", operands, results, params)


@onnx_import("ArgMax", "ArgMin")
def import_arg_extremum(node: OnnxNode) -> Value:
    x = node.operand(0)
    axis = int(node.attrs.get("axis", 0)) % len(x.shape)
    if x.shape[axis] > MOST:
        node.unsupported(
            f"it chooses among {x.shape[axis]} numbers, and an index has 8 bits",
            "end the model before it, and look for the largest score in the firmware",
        )
    last = bool(node.attrs.get("select_last_index", 0))
    op = ArgExtremum(*node.fresh(), axes=(axis,), largest=node.op_type == "ArgMax", last=last)
    shape = [1 if i == axis else d for i, d in enumerate(x.shape)]
    if not node.attrs.get("keepdims", 1):
        del shape[axis]
    return reshape(node, node.add(op, x), tuple(shape))
