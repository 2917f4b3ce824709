"""The mean or the largest number of a whole image, per channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Monotone
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.plan.program import KernelCall, Operand, RowWindow, Target
from mcucompile.quant import tflite
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.mean import MeanRule, mean_rule
from mcucompile.quant.numbers import clamp_bounds


@dataclass(frozen=True)
class GlobalPool(Op):
    """(N, H, W, C) to (N, 1, 1, C)."""

    clamp: tuple[float, float] | None = None

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        n, _, _, c = operands[0].shape
        return ((n, 1, 1, c),)

    def _clip(self, y: Array) -> Array:
        return y if self.clamp is None else np.clip(y, *self.clamp)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return Monotone(self, tuple(operands), tuple(results))

    def _call(
        self,
        operands: Sequence[Value],
        results: Sequence[Value],
        kind: str,
        params: dict[str, int],
        scratch: tuple[int, int],
    ) -> KernelCall:
        """The call of the kernel `kind` of mean or maximum.

        scratch: bytes for the image in one piece, and for folding its rows.
        """
        _, h, w, c = operands[0].shape
        image = KernelCall(
            op=self.name,
            kernel=f"mcuc_global_{kind}_s8",
            header="mcuc/global_pool.h",
            params={"height": 1, "width": h * w, "channels": c} | params,
            reads=(Operand(operands[0].name, 1, h * w * c),),
            writes=(Operand(results[0].name, 1, c),),
            scratch=scratch[0],
            in_place=((0, 0),),
            why="the image as one long row",
        )
        if h == 1:
            return image
        rows = replace(
            image,
            kernel=f"mcuc_global_{kind}_rows_s8",
            header="mcuc/global_pool_rows.h",
            params={**image.params, "height": h, "width": w},
            reads=(Operand(operands[0].name, h, w * c),),
            scratch=scratch[1],
            in_place=(),
            windows=(RowWindow(),),
            folds=True,
            why="the image row by row",
        )
        return replace(image, folding=rows)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        y = out.add(self.kind, out.nchw(out.real(operands[0])))
        return out.nhwc(out.clipped(y, self.clamp))


@dataclass(frozen=True)
class GlobalAveragePool(GlobalPool):
    """The mean."""

    rounds_as_tflite = True

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        y = operands[0].mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        return (self._clip(y).astype(np.float32),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> MeanRule:
        _, h, w, _ = operands[0].shape
        return mean_rule(self, operands[0].q, results[0].q, (h * w, h * w), self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        total = arrays[0].sum(axis=(1, 2), keepdims=True, dtype=np.int64)
        if self.rounding == "tflite":
            return (self._tflite(operands, results).apply(total),)
        mean = self._rule(operands, results)
        count = np.array(mean.full)
        return (mean.apply(total, count, count),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        if self.rounding == "tflite":
            return self._lower_tflite(operands, results)
        params = self._rule(operands, results).params()
        sums = 4 * operands[0].shape[3]  # bytes of an int32 per channel
        return self._call(operands, results, "average", params, (sums, sums))

    def _tflite(self, operands: Sequence[Value], results: Sequence[Value]) -> tflite.MeanRule:
        _, h, w, _ = operands[0].shape
        try:
            return tflite.mean_rule(operands[0].q, results[0].q, h * w, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def _lower_tflite(self, operands: Sequence[Value], results: Sequence[Value]) -> KernelCall:
        rule, (x,), (y,) = self._tflite(operands, results), operands, results
        return KernelCall(
            op=self.name,
            kernel="mcuc_mean_tflite_s8",
            header="mcuc/tflite.h",
            params={
                "channels": y.elements,
                "count": rule.count,
                "zero": rule.zero,
                "m": rule.scale.m,
                "e": rule.scale.exponent,
                "zp": rule.zero_point,
                "lo": rule.lo,
                "hi": rule.hi,
            },
            reads=(Operand(x.name, 1, x.elements),),
            writes=(Operand(y.name, 1, y.elements),),
            in_place=((0, 0),),
            why="rounded as TFLite does",
        )


@dataclass(frozen=True)
class GlobalMaxPool(GlobalPool):
    """The largest number."""

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self._clip(operands[0].max(axis=(1, 2), keepdims=True)),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        y = arrays[0].max(axis=(1, 2), keepdims=True)
        return (np.clip(y, lo, hi).astype(np.int8),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        largest = operands[0].shape[3]  # a byte per channel
        return self._call(operands, results, "max", {"lo": lo, "hi": hi}, (0, largest))


def global_kind(op_type: str) -> type[GlobalPool]:
    """The class for an ONNX operator of means or maxima, by its name."""
    return GlobalMaxPool if "Max" in op_type else GlobalAveragePool


@onnx_import("GlobalAveragePool", "GlobalMaxPool")
def import_global_pool(node: OnnxNode) -> Value:
    x = node.operand(0)
    op = global_kind(node.op_type)(*node.fresh())
    return to_nchw(node, node.add(op, to_nhwc(node, x)), len(x.shape))
