"""Operators that move bytes from one regular grid to another have one kernel: nested loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Op, Shape, Value
from mcucompile.plan.program import KernelCall, Operand

MOST = 6  # loops of the kernel


@dataclass(frozen=True)
class Loop:
    """A run along one axis: `size` elements, `step` apart in the operand and `to` in the result."""

    size: int
    step: int
    to: int


@dataclass(frozen=True)
class Move:
    """Where the elements of a result come from: with i an index of the shape `sizes`, which has the
    elements of the result in their order, the element `start` + sum(i * steps) of the operand."""

    sizes: Sequence[int]
    steps: Sequence[int]
    start: int = 0

    def loops(self) -> list[Loop]:
        """The fewest loops that do it, outermost first.

        Axes of length 1 fall out, and axes that stay neighbours are one.
        """
        found: list[Loop] = []
        after = math.prod(self.sizes)
        for size, step in zip(self.sizes, self.steps, strict=True):
            after //= size
            if size == 1:
                continue
            if found and found[-1].step == size * step:
                found[-1] = Loop(found[-1].size * size, step, after)
            else:
                found.append(Loop(size, step, after))
        return found

    def call(self, op: Op, operand: Value, result: Value, why: str) -> KernelCall:
        """The kernel call that does it for `op`."""
        found = self.loops()
        # The longest run innermost; a copy of whole bytes side by side is best of all.
        found.sort(key=lambda loop: (loop.step == loop.to == 1, loop.size))
        found = [Loop(1, 0, 0)] * (MOST - len(found)) + found
        params = {"start": self.start}
        params |= {f"n{i}": loop.size for i, loop in enumerate(found)}
        params |= {f"from{i}": loop.step for i, loop in enumerate(found)}
        params |= {f"to{i}": loop.to for i, loop in enumerate(found)}
        return KernelCall(
            op=op.name,
            kernel="mcuc_move_s8",
            header="mcuc/move.h",
            params=params,
            reads=(Operand(operand.name, 1, operand.elements),),
            writes=(in_rows(result),),
            why=why,
        )

    def check(self, node: OnnxNode) -> None:
        """Refuse `node` if the kernel cannot do it."""
        if len(self.loops()) > MOST:
            node.unsupported(f"it moves more than {MOST} axes", "move the axes in several steps")


def in_rows(result: Value) -> Operand:
    """A result that is computed as a whole, in the rows in which the next operator reads it."""
    rows = result.shape[1] if len(result.shape) == 4 else 1
    return Operand(result.name, rows, result.elements // rows)


def strides(shape: Shape) -> Iterator[int]:
    """For each axis, how far apart neighbours on it are."""
    return (math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
