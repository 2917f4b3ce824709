"""What operators of two or three tensors of equal (or broadcastable) shapes have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Op, Shape, Value
from mcucompile.ops.broadcast import as_int8_operands, walk
from mcucompile.ops.reshape import view
from mcucompile.plan.program import Const, KernelCall


@dataclass(frozen=True)
class Pairwise(Op):
    """Element by element; operands are broadcast as in numpy."""

    is_rowwise = True
    is_pixelwise = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (np.broadcast_shapes(*(v.shape for v in operands)),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        return as_int8_operands(operands)

    def call(
        self,
        kernel: str,
        header: str,
        operands: Sequence[Value],
        results: Sequence[Value],
        params: Mapping[str, int | Const],
        why: str = "element by element",
    ) -> KernelCall:
        """A call of a kernel with the loops of `mcuc/walk.h`; params: its other fields."""
        loops = walk([v.shape for v in operands])
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header=header,
            params={**loops.params(), **params},
            reads=tuple(loops.operand(v, slot) for slot, v in enumerate(operands)),
            writes=(loops.result(results[0]),),
            in_place=loops.in_place(),
            row_unit=loops.row_unit(),
            pitched=True,
            why=why,
        )


def add_pairwise(node: OnnxNode, op: Op, *operands: Value, inner: bool = False) -> Value:
    """Add `op`, whose result is that of `node` unless `inner`.

    Activations get equal ranks, so that axis 0 is the batch in all of them. Raises ValueError if
    operands are broadcast as no kernel could.
    """
    walk([v.shape for v in operands])
    rank = max(len(v.shape) for v in operands)
    alike = [v if v.is_constant else view(node, v, _widened(v.shape, rank)) for v in operands]
    return (node.add_inner if inner else node.add)(op, *alike)


def _widened(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def add_chain(node: OnnxNode, make: type[Op], inner: bool = False) -> Value:
    """((x1 op x2) op x3) ... for a node of any number of operands: its result, unless `inner`."""
    total = node.operand(0)
    last = len(node.inputs) - 1
    for slot in range(1, last + 1):
        operand = node.operand(slot)
        is_result = slot == last and not inner
        op = make(*node.fresh("" if is_result else str(slot)))
        total = add_pairwise(node, op, total, operand, inner=not is_result)
    return total
