"""Gather and its kin with constant indices: elements that a table names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from onnx import helper

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.fold import fold
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ops.reshape import Reshape, reshape
from mcucompile.ops.slice import take
from mcucompile.plan.program import Const, KernelCall, Operand, Target

LIMIT = 2**15  # of an index in a table


@dataclass(frozen=True)
class Gather(Op):
    """The elements `indices` of the operand on `axis`, which is not the batch."""

    axis: int
    indices: tuple[int, ...] = field(repr=False)

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        shape = list(operands[0].shape)
        if not all(0 <= i < shape[self.axis] for i in self.indices):
            raise ValueError(f"{shape} has not all indices on axis {self.axis}")
        shape[self.axis] = len(self.indices)
        return (tuple(shape),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (np.take(operands[0], self.indices, axis=self.axis),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.add("Gather", out.real(operands[0]), out.ints(self.indices), axis=self.axis)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        shape = operands[0].shape
        images = math.prod(shape[: self.axis])
        width = math.prod(shape[self.axis + 1 :])
        tables = Tables(images, 1, (0,), self.indices, width)
        return tables.call(self, operands[0], results[0], "indices in a table")


@dataclass(frozen=True)
class Tables:
    """The rows and pixels that a result takes from each of the `images` in its operand.

    height: of an image. width: of a pixel, in bytes.
    """

    images: int
    height: int
    rows: Sequence[int]
    cols: Sequence[int]
    width: int

    def call(self, op: Op, operand: Value, result: Value, why: str) -> KernelCall:
        """The kernel call that takes them for `op`."""
        in_rows, out_rows = self.images * self.height, self.images * len(self.rows)
        return KernelCall(
            op=op.name,
            kernel="mcuc_gather_s8",
            header="mcuc/gather.h",
            params={
                "in_h": self.height,
                "out_h": len(self.rows),
                "out_w": len(self.cols),
                "width": self.width,
                "rows": Const("rows", np.asarray(self.rows, dtype=np.int16)),
                "cols": Const("cols", np.asarray(self.cols, dtype=np.int16)),
            },
            reads=(Operand(operand.name, in_rows, operand.elements // in_rows),),
            writes=(Operand(result.name, out_rows, result.elements // out_rows),),
            band=1,
            why=why,
        )


@onnx_import("Gather")
def import_gather(node: OnnxNode) -> Value:
    x, given = node.operand(0), node.constant(1, "indices")
    axis = int(node.attrs.get("axis", 0)) % len(x.shape)
    size = x.shape[axis]
    indices = [int(i) + (size if i < 0 else 0) for i in given.reshape(-1)]
    if given.size == 0 or min(indices) < 0 or max(indices) >= size:
        node.unsupported(f"it has indices that axis {axis} has not", "repair the model")
    shape = (*x.shape[:axis], *given.shape, *x.shape[axis + 1 :])
    return reshape(node, pick(node, x, axis, indices), shape)


def pick(node: OnnxNode, x: Value, axis: int, indices: Sequence[int]) -> Value:
    """The elements `indices` of `x` on `axis`; without a table where they are a progression."""
    part = _progression(indices)
    if part is not None:
        return take(node, x, {axis: part})
    if x.shape[axis] > LIMIT:
        node.unsupported(f"it picks from {x.shape[axis]} elements", f"pick from at most {LIMIT}")
    return node.add(Gather(*node.fresh(), axis=axis, indices=tuple(indices)), x)


def _progression(indices: Sequence[int]) -> range | None:
    """The indices as a range, if they are equally spaced."""
    step = indices[1] - indices[0] if len(indices) > 1 else 1
    if step == 0:
        return None
    part = range(indices[0], indices[0] + step * len(indices), step)
    return part if list(part) == list(indices) else None


@onnx_import("GatherElements", "GatherND", "Compress", "ReverseSequence")
def import_picks(node: OnnxNode) -> Value:
    """What the operator makes of the elements' numbers tells which goes where."""
    x = node.operand(0)
    numbers = np.arange(x.elements).reshape(x.shape)
    others = [node.constant(slot, "what it picks") for slot in range(1, len(node.inputs))]
    names = [f"input{slot}" for slot in range(len(node.inputs))]
    proto = helper.make_node(node.op_type, names, ["result"], **node.attrs)
    results = fold(proto, node.opset, [numbers, *others])
    if results is None or results[0].size == 0:
        node.unsupported("its inputs do not fit each other", "repair the model")
    picked = results[0].reshape(-1)
    run = _run(picked, x.elements)
    runs = (1, x.elements // run, run)
    if x.shape != runs:
        x = node.add_inner(Reshape(*node.fresh("runs"), shape=runs), x)
    return reshape(node, pick(node, x, 1, (picked[::run] // run).tolist()), results[0].shape)


def _run(picked: Array, size: int) -> int:
    """The longest runs in which neighbours of `size` elements are picked together."""
    for run in range(math.gcd(picked.size, size), 1, -1):
        runs = picked.reshape(-1, run) if picked.size % run == size % run == 0 else None
        if runs is not None and np.array_equal(runs, runs[:, :1] // run * run + np.arange(run)):
            return run
    return 1
