"""Transpose, and the two Transposes that every importer of a spatial operator wraps around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ops.move import Move, strides
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import KernelCall, Target

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)


@dataclass(frozen=True)
class Transpose(Op):
    """Result axis i is operand axis perm[i], as in numpy and ONNX."""

    perm: tuple[int, ...]

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        if sorted(self.perm) != list(range(len(shape))):
            raise ValueError(f"{self.perm} does not permute the axes of {shape}")
        return (tuple(shape[p] for p in self.perm),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (np.ascontiguousarray(operands[0].transpose(self.perm)),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        shape = operands[0].shape
        why = f"{list(shape)} by {list(self.perm)}, which no neighbour could undo"
        return move(shape, self.perm).call(self, operands[0], results[0], why)


def move(shape: Shape, perm: Sequence[int]) -> Move:
    """Where the elements of `shape` transposed by `perm` come from."""
    steps = tuple(strides(shape))
    return Move([shape[axis] for axis in perm], [steps[axis] for axis in perm])


@onnx_import("Transpose")
def import_transpose(node: OnnxNode) -> Value:
    x = node.operand(0)
    perm = tuple(node.attrs.get("perm", range(len(x.shape))[::-1]))
    move(x.shape, perm).check(node)
    return node.add(Transpose(*node.fresh(), perm=perm), x)


def to_nhwc(node: OnnxNode, value: Value) -> Value:
    """`value`, (N, C, H, W) or (N, C, W), as (N, H, W, C) with H = 1 where it has none."""
    if len(value.shape) == 4:
        return node.add_inner(Transpose(*node.fresh("to_nhwc"), perm=TO_NHWC), value)
    if len(value.shape) != 3:
        node.unsupported(
            f"its input has the shape {list(value.shape)}", "only 1-D and 2-D images are supported"
        )
    nwc = node.add_inner(Transpose(*node.fresh("to_nwc"), perm=(0, 2, 1)), value)
    n, w, c = nwc.shape
    return node.add_inner(Reshape(*node.fresh("to_nhwc"), shape=(n, 1, w, c)), nwc)


def to_nchw(node: OnnxNode, value: Value, rank: int = 4) -> Value:
    """`value`, (N, H, W, C), as (N, C, H, W), or as (N, C, W) with `rank` 3 and H = 1."""
    if rank == 4:
        return node.add_inner(Transpose(*node.fresh("to_nchw"), perm=TO_NCHW), value)
    n, _, w, c = value.shape
    nwc = node.add_inner(Reshape(*node.fresh("to_nwc"), shape=(n, w, c)), value)
    return node.add_inner(Transpose(*node.fresh("to_ncw"), perm=(0, 2, 1)), nwc)
