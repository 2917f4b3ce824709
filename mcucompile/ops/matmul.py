"""MatMul and Gemm: dense layers where one matrix is constant, else products of two activations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.broadcast import as_int8_operands
from mcucompile.ops.dense import Dense
from mcucompile.ops.pairwise import add_pairwise
from mcucompile.ops.reshape import reshape, view
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import ScaleShift
from mcucompile.ops.weights import import_bias, import_weights, rearranged
from mcucompile.plan.program import KernelCall, Operand, Target
from mcucompile.quant.bounds import within_int32
from mcucompile.quant.numbers import Requant, requant


@dataclass(frozen=True)
class MatMul(Op):
    """clamp(factor * a @ transposed b): a (..., M, K), b (..., N, K), result (..., M, N).

    The axes before the last two are the same, or 1 in all of a or all of b.
    """

    factor: float = 1.0
    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        a, b = (v.shape for v in operands)
        if len(a) != len(b) or a[-1] != b[-1] or not _is_batch(a[:-2], b[:-2]):
            raise ValueError(f"{a} and transposed {b} are not multiplied")
        return ((*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-2]),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        a, b = operands
        y = a @ np.swapaxes(b, -1, -2) * np.float32(self.factor)
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> Requant:
        a, b, y = operands[0].q, operands[1].q, results[0].q
        real = self.factor * a.scale[0] * b.scale[0] / y.scale[0]
        rule = requant([real], y, self.clamp)
        return within_int32(self, rule, 255 * 255 * operands[0].shape[-1])

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        # Exact in float64, and much faster than numpy's integer product.
        a, b = (
            x.astype(np.float64) - v.q.zero_point for x, v in zip(arrays, operands, strict=True)
        )
        return (self._rule(operands, results).apply(a @ np.swapaxes(b, -1, -2)),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        return as_int8_operands(operands)

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        return results[0].elements * operands[0].shape[-1]

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        a, b = map(out.real, operands)
        rank = len(operands[1].shape)
        turned = out.add("Transpose", b, perm=(*range(rank - 2), rank - 1, rank - 2))
        y = out.add("MatMul", a, turned)
        if self.factor != 1.0:
            y = out.add("Mul", y, out.number(self.factor))
        return out.clipped(y, self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        a, b = operands
        height, depth = a.shape[-2:]
        width = b.shape[-2]
        rows = results[0].elements // width
        params = {
            "height": height,
            "width": width,
            "depth": depth,
            "b_step": width * depth if b.elements > width * depth else 0,
            "zp_a": a.q.zero_point,
            "zp_b": b.q.zero_point,
            "m": rule.m[0],
            "shift": rule.shift,
            "zp": rule.zero_point,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        return KernelCall(
            op=self.name,
            kernel="mcuc_matmul_s8",
            header="mcuc/matmul.h",
            params=params,
            reads=(Operand(a.name, a.elements // depth, depth), Operand(b.name, 1, b.elements)),
            writes=(Operand(results[0].name, rows, width),),
            why=f"{rows // height} products of {height}x{depth} and {depth}x{width}",
            macs=self.macs(operands, results),
        )


def _is_batch(a: Shape, b: Shape) -> bool:
    """Are the axes before the matrices the same, or those of one side 1?"""
    return a == b or math.prod(a) == 1 or math.prod(b) == 1


@onnx_import("MatMul")
def import_matmul(node: OnnxNode) -> Value:
    a, b = node.operand(0), node.operand(1)
    if a.is_constant and not b.is_constant and len(a.shape) == 2 and len(b.shape) > 1:
        # The transposed product is a dense layer of the transposed operand.
        y = _dense(node, _transposed(node, b, "right"), a, (0, 1), inner=True)
        return node.add(Transpose(*node.fresh(), perm=_swap(len(y.shape))), y)
    if b.is_constant and not a.is_constant and len(b.shape) == 2 and len(a.shape) > 1:
        return _dense(node, a, b, (1, 0))
    shape = _product_shape(node, a.shape, b.shape)
    # A vector is a row on the left, a column on the right.
    a = view(node, a, (1, *a.shape)) if len(a.shape) == 1 else a
    b = view(node, b, (1, *b.shape)) if len(b.shape) == 1 else _transposed(node, b, "right")
    rank = max(len(a.shape), len(b.shape))
    a, b = (view(node, v, (1,) * (rank - len(v.shape)) + v.shape) for v in (a, b))
    return reshape(node, node.add(MatMul(*node.fresh()), a, b), shape)


def _product_shape(node: OnnxNode, a: Shape, b: Shape) -> Shape:
    """The shape of a @ b; refuses operands that are broadcast otherwise than as a whole."""
    rank = max(len(a), len(b), 2) - 2
    leads = [(1,) * (rank - len(s[:-2])) + s[:-2] for s in (a, b)]
    if not _is_batch(*leads):
        node.unsupported(
            f"it multiplies {list(a)} by {list(b)}", "give both the same axes before the matrices"
        )
    height, width = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return (*np.broadcast_shapes(*leads), *height, *width)


def _swap(rank: int) -> tuple[int, ...]:
    """The permutation that transposes the matrices of a tensor."""
    return (*range(rank - 2), rank - 1, rank - 2)


def _transposed(node: OnnxNode, value: Value, suffix: str) -> Value:
    if value.is_constant:
        return rearranged(node, value, lambda data: np.swapaxes(data, -1, -2))
    op = Transpose(*node.fresh(suffix), perm=_swap(len(value.shape)))
    return node.add_inner(op, value)


def _dense(
    node: OnnxNode,
    x: Value,
    matrix: Value,
    axes: tuple[int, int],
    factor: float = 1.0,
    bias: Value | None = None,
    inner: bool = False,
) -> Value:
    """`x` times the constant `matrix`, whose axes in the order `axes` are (N, K), times `factor`;
    the result of `node` unless `inner`."""
    shape = (matrix.shape[axes[0]], matrix.shape[axes[1]])
    w = import_weights(node, matrix, axes, shape, factor)
    b = import_bias(node, None, shape[0]) if bias is None else bias
    return (node.add_inner if inner else node.add)(Dense(*node.fresh()), x, w, b)


@onnx_import("Gemm")
def import_gemm(node: OnnxNode) -> Value:
    """alpha * a @ b + beta * c"""
    a, b, c = node.operand(0), node.operand(1), node.optional(2)
    alpha, beta = (float(node.attrs.get(name, 1.0)) for name in ("alpha", "beta"))
    is_transposed = bool(node.attrs.get("transB", 0))
    if node.attrs.get("transA", 0):
        a = _transposed(node, a, "left")
    if not b.is_constant or a.is_constant:
        right = b if is_transposed else _transposed(node, b, "right")
        y = node.add_inner(MatMul(*node.fresh("product")), a, right)
        return _sum(node, y, alpha, c, beta)
    channels = b.shape[0 if is_transposed else 1]
    axes = (0, 1) if is_transposed else (1, 0)
    if c is None or (c.is_constant and c.shape in ((), (1,), (channels,), (1, channels))):
        return _dense(node, a, b, axes, alpha, import_bias(node, c, channels, beta))
    return _sum(node, _dense(node, a, b, axes, alpha, inner=True), 1.0, c, beta)


def _sum(node: OnnxNode, y: Value, alpha: float, c: Value | None, beta: float) -> Value:
    """The result of `node`: alpha * y + beta * c."""
    product = ScaleShift(*node.fresh("alpha"), scale=alpha, offset=0.0)
    if c is None:
        return node.add(product, y)
    addend = ScaleShift(*node.fresh("beta"), scale=beta, offset=0.0)
    y, c = node.add_inner(product, y), node.add_inner(addend, c)
    return add_pairwise(node, Add(*node.fresh()), y, c)
