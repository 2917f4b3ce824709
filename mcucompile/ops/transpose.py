"""Transpose, and the two Transposes that every importer of a spatial operator wraps around it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ops.reshape import Reshape
from mcucompile.plan.program import KernelCall, Operand, Target

TO_NHWC = (0, 2, 3, 1)
TO_NCHW = (0, 3, 1, 2)
LOOPS = 4  # of the kernel


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
        found = loops(operands[0].shape, self.perm)
        if len(found) > LOOPS:
            raise InternalError(f"lower: {self.name} moves {len(found)} axes")
        # The longest run innermost; a copy of whole bytes side by side is best of all.
        found.sort(key=lambda loop: (loop.step == loop.to == 1, loop.size))
        found = [Loop(1, 0, 0)] * (LOOPS - len(found)) + found
        params = {f"n{i}": loop.size for i, loop in enumerate(found)}
        params |= {f"from{i}": loop.step for i, loop in enumerate(found)}
        params |= {f"to{i}": loop.to for i, loop in enumerate(found)}
        size = operands[0].elements
        return KernelCall(
            op=self.name,
            kernel="mcuc_transpose_s8",
            header="mcuc/transpose.h",
            params=params,
            reads=(Operand(operands[0].name, 1, size),),
            writes=(Operand(results[0].name, 1, size),),
            why=f"{list(operands[0].shape)} by {list(self.perm)}, which no neighbour could undo",
        )


@dataclass(frozen=True)
class Loop:
    """A run along one axis: `size` elements, `step` apart in the operand and `to` in the result."""

    size: int
    step: int
    to: int


def loops(shape: Shape, perm: Sequence[int]) -> list[Loop]:
    """The fewest loops that transpose `shape` by `perm`.

    Axes of length 1 fall out, and axes that stay neighbours are one.
    """
    found: list[Loop] = []
    after = math.prod(shape)
    for axis in perm:
        size, step = shape[axis], math.prod(shape[axis + 1 :])
        after //= size
        if size == 1:
            continue
        if found and found[-1].step == size * step:
            found[-1] = Loop(found[-1].size * size, step, after)
        else:
            found.append(Loop(size, step, after))
    return found


@onnx_import("Transpose")
def import_transpose(node: OnnxNode) -> Value:
    x = node.operand(0)
    perm = tuple(node.attrs.get("perm", range(len(x.shape))[::-1]))
    if len(loops(x.shape, perm)) > LOOPS:
        node.unsupported(f"it moves more than {LOOPS} axes", "transpose in several steps")
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
