"""Min and Max of tensors: of activations, and clamping where one of them is a single constant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import Array, QuantRule, Value
from mcucompile.ops.pairwise import Pairwise, add_chain
from mcucompile.ops.unary import unary
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.numbers import clamp_bounds


@dataclass(frozen=True)
class Extremum(Pairwise):
    """clamp of the larger, or the smaller, of x1 and x2. Stored numbers are compared."""

    largest: ClassVar[bool]
    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    clamp: tuple[float, float] | None = None

    def _larger_or_smaller(self, arrays: Sequence[Array]) -> Array:
        return (np.maximum if self.largest else np.minimum)(*arrays)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        y = self._larger_or_smaller(operands)
        return (y if self.clamp is None else np.clip(y, *self.clamp),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        y = self._larger_or_smaller(arrays)
        return (np.clip(y, *clamp_bounds(results[0].q, self.clamp)).astype(np.int8),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.clipped(out.add(self.kind, *map(out.real, operands)), self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params = {"largest": int(self.largest), "lo": lo, "hi": hi}
        return self.call("mcuc_extremum_s8", "mcuc/select.h", operands, results, params)


@dataclass(frozen=True)
class Max(Extremum):
    """The larger one."""

    largest: ClassVar[bool] = True


@dataclass(frozen=True)
class Min(Extremum):
    """The smaller one."""

    largest: ClassVar[bool] = False


@onnx_import("Max", "Min")
def import_extremum(node: OnnxNode) -> Value:
    operands = [v for v in node.inputs if v is not None]
    bounds = [float(v.real.reshape(())) for v in operands if v.is_constant and v.elements == 1]
    others = [v for v in operands if not (v.is_constant and v.elements == 1)]
    is_max = node.op_type == "Max"
    if bounds and len(others) == 1:  # a constant alone would have been folded
        least = max(bounds) if is_max else -math.inf
        most = math.inf if is_max else min(bounds)
        return node.add(unary(node, "clip", (least, most)), others[0])
    return add_chain(node, Max if is_max else Min)
