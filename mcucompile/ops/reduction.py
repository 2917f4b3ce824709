"""What operators that reduce some axes of a tensor to length 1 have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.transpose import Transpose
from mcucompile.plan.program import Const, KernelCall, Operand


@dataclass(frozen=True)
class Reduction(Op):
    """`axes` become 1; but for axes of length 1 they lie side by side."""

    axes: tuple[int, ...]
    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = operands[0].shape
        loops_of(shape, self.axes)
        return (tuple(1 if i in self.axes else d for i, d in enumerate(shape)),)

    def count(self, operands: Sequence[Value]) -> int:
        """How many numbers become one."""
        return math.prod(operands[0].shape[axis] for axis in self.axes)

    def _clip(self, y: Array) -> Array:
        return y if self.clamp is None else np.clip(y, *self.clamp)

    def call(
        self,
        kernel: str,
        operands: Sequence[Value],
        results: Sequence[Value],
        params: Mapping[str, int | Const],
    ) -> KernelCall:
        """A call of a kernel of `mcuc/reduce.h`; params: its fields besides `count` and `width`."""
        rows, count, width = loops_of(operands[0].shape, self.axes)
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header="mcuc/reduce.h",
            params={"count": count, "width": width, **params},
            reads=(Operand(operands[0].name, rows, count * width),),
            writes=(Operand(results[0].name, rows, width),),
            in_place=((0, 0),) if rows == 1 and width == 1 else (),
            why=f"{rows * width} times {count} numbers",
        )

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        """The ONNX operator of the same name."""
        x = out.real(operands[0])
        if self.kind == "ReduceSum":  # the only one whose axes are an input
            y = out.add(self.kind, x, out.ints(self.axes), keepdims=1)
        else:
            y = out.add(self.kind, x, axes=self.axes, keepdims=1)
        return out.clipped(y, self.clamp)


def loops_of(shape: Shape, axes: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as rows of `count` times `width` numbers, where the `axes` are the count.

    Raises ValueError if there are other axes between them.
    """
    kinds = [(i in axes, d) for i, d in enumerate(shape) if d != 1]
    first = next((i for i, (reduced, _) in enumerate(kinds) if reduced), len(kinds))
    last = next((i for i in range(first, len(kinds)) if not kinds[i][0]), len(kinds))
    if any(reduced for reduced, _ in kinds[last:]):
        raise ValueError(f"axes {sorted(axes)} of {list(shape)} do not lie side by side")
    sizes = [d for _, d in kinds]
    return math.prod(sizes[:first]), math.prod(sizes[first:last]), math.prod(sizes[last:])


def reduced_axes(node: OnnxNode, rank: int) -> tuple[int, ...]:
    """The axes of an ONNX reduction, an attribute or input 1, counted from the front, sorted."""
    if node.optional(1) is not None:
        axes = [int(a) for a in node.constant(1, "axes").reshape(-1)]
    else:
        axes = [int(a) for a in node.attrs.get("axes", [])]
    if not axes and not node.attrs.get("noop_with_empty_axes", 0):
        axes = list(range(rank))
    return tuple(sorted({a % rank for a in axes}))


def side_by_side(node: OnnxNode, x: Value, axes: Sequence[int]) -> tuple[Value, tuple[int, ...]]:
    """`x` with its `axes` moved to the end if others are between them, and where they are then."""
    try:
        loops_of(x.shape, axes)
    except ValueError:
        rank = len(x.shape)
        perm = (*(i for i in range(rank) if i not in axes), *axes)
        x = node.add_inner(Transpose(*node.fresh("axes"), perm=perm), x)
        return x, tuple(range(rank - len(axes), rank))
    return x, tuple(axes)
