"""Dense (fully connected) layers: products with a matrix of constant weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.ir import Array, Op, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops import gemm
from mcucompile.ops.dense_sparse import or_sparse_dense
from mcucompile.ops.gemm_packed import or_packed
from mcucompile.ops.gemm_sparse import or_sparse
from mcucompile.ops.layer_channels import LayerChannels
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.constants import quantize_weights_and_bias

LARGE = 1024  # weights that are worth 1 KB of code, for all layers together


@dataclass(frozen=True)
class Dense(Op):
    """clamp(x @ w.T + b): operands x (..., K), weights (N, K), bias (N,); result (..., N)."""

    rounds_as_tflite = True

    is_rowwise = True
    is_pixelwise = True

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

    def unfolded(self, x: Array, weights: Shape) -> Array:
        """What a channel's `weights` meet in each vector: (1, vectors, K)."""
        return x.reshape(1, -1, weights[1])

    def quantize_constants(self, operands: Sequence[Value]) -> tuple[Value, ...]:
        x, w, b = operands
        return (x, *quantize_weights_and_bias(x.q, w, b))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        return results[0].elements * operands[1].shape[1]

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        layer = gemm.Layer.of(self, operands, results[0], self.clamp)
        return LayerChannels(self, tuple(operands), tuple(results), layer)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        x, w, b = operands
        inputs, rows = out.real(x), math.prod(x.shape[:-1])
        if len(x.shape) != 2:
            inputs = out.reshaped(inputs, (rows, x.shape[-1]))
        y = out.clipped(out.add("Gemm", inputs, out.real(w), out.real(b), transB=1), self.clamp)
        return y if len(x.shape) == 2 else out.reshaped(y, results[0].shape)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        layer = gemm.Layer.of(self, operands, results[0], self.clamp)
        pixels = math.prod(operands[0].shape[:-1])
        if pixels == 1:
            return dense_call(layer, target, "one vector")
        return conv1x1_call(layer, target, f"{pixels} vectors, as the pixels of a 1x1 convolution")


def dense_call(layer: gemm.Layer, target: Target, why: str) -> KernelCall:
    """`layer` on a single vector: all of its input, all of its result."""
    cin, cout = layer.x.elements, layer.y.elements
    wide = gemm.is_wide(layer)
    plain = layer.is_plain and not wide
    large = plain and cin % 4 == 0 and cout >= 8 and cin * cout >= LARGE
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
    call = layer.call(kernel, "mcuc/dense.h", params, why=why)
    pixel_order = _pixel_order(cin)
    pixel = _conv1x1(layer, 1, pixel_order, target, why)
    return or_packed(or_sparse_dense(call, layer, target), pixel, layer, pixel_order, target)


def conv1x1_call(layer: gemm.Layer, target: Target, why: str) -> KernelCall:
    """`layer` on every pixel (all but the last axis) of its input, as one long row."""
    width = layer.x.elements // layer.x.shape[-1]
    order = _pixel_order(layer.x.shape[-1])
    dense = _conv1x1(layer, width, order, target, why)
    return or_packed(or_sparse(dense, dense, layer, target), dense, layer, order, target)


def _pixel_order(cin: int) -> Array:
    """The elements of pixels as mcuc/conv1x1.h expands them."""
    return gemm.word_order(cin) if cin % 4 == 0 else gemm.natural_order(cin)


def _conv1x1(layer: gemm.Layer, width: int, order: Array, target: Target, why: str) -> KernelCall:
    """`layer` on a row of `width` pixels."""
    cin, cout = layer.x.elements // width, layer.y.elements // width
    wide = gemm.is_wide(layer)
    plain = layer.is_plain and not wide
    small = gemm.wants_small_tile(width, cin, target)
    pixels = 2 if small else 4
    back = cout > cin and target.optimize == "time"  # where each layer has code of its own anyway
    params: dict[str, int | Const] = {
        "width": width,
        "cin": cin,
        "cout": cout,
        "weights": Const("weights", gemm.pack_pairs(layer, order)),
        "small": int(small),
        "wide": int(wide),
    }
    return layer.call(
        f"mcuc_conv1x1{'_back' if back else ''}{'' if plain else '_any'}_s8",
        "mcuc/conv1x1.h",
        params,
        scratch=gemm.tile_bytes(width, cin, small),
        in_place=cout <= cin or back,
        tile=None if back else (pixels * cin, pixels * cout),
        row_unit="width",
        why=why,
    )
