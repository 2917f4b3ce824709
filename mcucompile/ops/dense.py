"""Dense (fully connected) layers: ONNX Gemm, and MatMul with constant weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ops import gemm
from mcucompile.ops.weights import import_bias, import_weights
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.constants import quantize_weights_and_bias

LARGE = 1024  # weights that are worth 2 KB of code, for all layers together


@dataclass(frozen=True)
class Dense(Op):
    """clamp(x @ w.T + b): operands x (..., K), weights (N, K), bias (N,); result (..., N)."""

    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        x, w, b = operands
        if len(w.shape) != 2 or x.shape[-1:] != w.shape[1:] or b.shape != w.shape[:1]:
            raise ValueError(f"weights {w.shape} and bias {b.shape} do not fit {x.shape}")
        return ((*x.shape[:-1], w.shape[0]),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x, w, b = operands
        y = x @ w.T + b
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        layer = gemm.Layer.of(self, operands, results[0], self.clamp)
        # Exact in float64, and much faster than numpy's integer product.
        acc = arrays[0].astype(np.float64) @ arrays[1].T.astype(np.float64) + layer.bias
        return (layer.rule.apply(acc),)

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, w, b = operands
        return (x, *quantize_weights_and_bias(x.q, w, b))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        return results[0].elements * operands[1].shape[1]

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        layer = gemm.Layer.of(self, operands, results[0], self.clamp)
        pixels = math.prod(operands[0].shape[:-1])
        if pixels == 1:
            return dense_call(layer, "one vector")
        return conv1x1_call(layer, f"{pixels} vectors, as the pixels of a 1x1 convolution")


def dense_call(layer: gemm.Layer, why: str) -> KernelCall:
    """`layer` on a single vector: all of its input, all of its result."""
    cin, cout = layer.x.elements, layer.y.elements
    wide = gemm.is_wide(layer)
    plain = layer.is_plain and not wide
    large = plain and cout >= 8 and cin * cout >= LARGE
    shared = int(layer.m[0]) if large and (layer.m == layer.m[0]).all() else 0
    order = gemm.word_order(cin)
    params: dict[str, int | Const] = {
        "cin": cin,
        "cout": cout,
        "weights": Const("weights", gemm.pack_dense(layer, order, large, shared == 0)),
        "m": shared,
        "wide": int(wide),
    }
    kernel = "mcuc_dense_large_s8" if large else "mcuc_dense_s8" if plain else "mcuc_dense_any_s8"
    return layer.call(kernel, "mcuc/dense.h", params, why=why)


def conv1x1_call(layer: gemm.Layer, why: str) -> KernelCall:
    """`layer` on every pixel (all but the last axis) of its input, as one long row."""
    cin, cout = layer.x.shape[-1], layer.y.shape[-1]
    width = layer.x.elements // cin
    order = gemm.word_order(cin) if cin % 4 == 0 else gemm.natural_order(cin)
    wide = gemm.is_wide(layer)
    params: dict[str, int | Const] = {
        "width": width,
        "cin": cin,
        "cout": cout,
        "weights": Const("weights", gemm.pack_pairs(layer, order)),
        "wide": int(wide),
    }
    return layer.call(
        "mcuc_conv1x1_s8" if layer.is_plain and not wide else "mcuc_conv1x1_any_s8",
        "mcuc/conv1x1.h",
        params,
        scratch=gemm.tile_bytes(width, cin),
        in_place=cout <= cin,
        tile=(4 * cin, 4 * cout),
        row_unit="width",
        why=why,
    )


@onnx_import("Gemm")
def import_gemm(node: OnnxNode) -> Value:
    if int(node.attrs.get("transA", 0)):
        node.unsupported("transA=1 transposes the batch", "transpose the tensor before instead")
    transposed = bool(node.attrs.get("transB", 0))
    w = _import_matrix(node, transposed, float(node.attrs.get("alpha", 1.0)))
    beta = float(node.attrs.get("beta", 1.0))
    b = import_bias(node, node.optional(2), w.shape[0], beta)
    return node.add(Dense(*node.fresh()), node.operand(0), w, b)


@onnx_import("MatMul")
def import_matmul(node: OnnxNode) -> Value:
    w = _import_matrix(node)
    b = import_bias(node, None, w.shape[0])
    return node.add(Dense(*node.fresh()), node.operand(0), w, b)


def _import_matrix(node: OnnxNode, transposed: bool = False, factor: float = 1.0) -> Value:
    """Operand 1 of `node`, (K, N) or (N, K) if `transposed`, as (N, K), times `factor`."""
    x, weights = node.operand(0), node.operand(1)
    if not weights.is_constant or x.is_constant or len(weights.shape) != 2 or len(x.shape) < 2:
        node.unsupported(
            f"it multiplies {list(x.shape)} by {list(weights.shape)}",
            "only a matrix of constant weights on the right is supported",
        )
    axes = (0, 1) if transposed else (1, 0)
    shape = (weights.shape[axes[0]], weights.shape[axes[1]])
    return import_weights(node, weights, axes, shape, factor)
