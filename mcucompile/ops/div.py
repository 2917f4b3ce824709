"""Div of two tensors, and PRelu: a number times what a table gives for another number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QMAX, QMIN, Array, Value
from mcucompile.ops.mul import Mul
from mcucompile.ops.pairwise import Pairwise, add_pairwise
from mcucompile.ops.unary import unary
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.factor import FactorRule, factor_rule


@dataclass(frozen=True)
class _Factor(Pairwise):
    """clamp(x1 * f(x2))."""

    clamp: tuple[float, float] | None = None

    @abstractmethod
    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> FactorRule:
        """Its integer arithmetic."""

    def _clip(self, y: Array) -> Array:
        return y if self.clamp is None else np.clip(y, *self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._rule(operands, results).apply(*arrays),)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        return out.clipped(out.add(self.kind, *map(out.real, operands)), self.clamp)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        params: dict[str, int | Const] = {
            "zp1": rule.operand_zero,
            "positive": rule.positive,
            "table": Const("factors", rule.table),
            "shift": rule.shift,
            "zp": rule.zero_point,
            "lo": rule.lo,
            "hi": rule.hi,
        }
        return self.call("mcuc_factor_s8", "mcuc/factor.h", operands, results, params)


@dataclass(frozen=True)
class Div(_Factor):
    """x1 / x2.

    In integers a divisor that is stored as zero divides like one step above it.
    """

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return (self._clip(operands[0] / operands[1]),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> FactorRule:
        a, b = operands[0].q, operands[1].q
        steps = np.arange(QMIN, QMAX + 1) - b.zero_point
        factors = 1.0 / (np.where(steps == 0, 1, steps) * b.scale[0])
        return factor_rule(factors, 0.0, a, results[0].q, self.clamp)


@dataclass(frozen=True)
class PRelu(_Factor):
    """x1 where it is positive, x1 * x2 where it is negative."""

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x, slope = operands
        return (self._clip(np.where(x < 0, x * slope, x)),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> FactorRule:
        slopes = operands[1].q.dequantize(np.arange(QMIN, QMAX + 1)).astype(np.float64)
        return factor_rule(slopes, 1.0, operands[0].q, results[0].q, self.clamp)


@onnx_import("Div")
def import_div(node: OnnxNode) -> Value:
    """Division by a constant is multiplication by its reciprocal."""
    a, b = node.operand(0), node.operand(1)
    if not b.is_constant:
        return add_pairwise(node, Div(*node.fresh()), a, b)
    divisor = node.constant(1, "divisor").astype(np.float64)
    if not np.all(divisor):
        node.unsupported("its divisor holds zeros", "repair the model")
    inverse = node.graph.constant(f"{node.name}.inverse", 1.0 / divisor)
    return add_pairwise(node, Mul(*node.fresh()), a, inverse)


@onnx_import("PRelu")
def import_prelu(node: OnnxNode) -> Value:
    x, slope = node.operand(0), node.operand(1)
    if slope.data is not None and np.ptp(slope.real) == 0:
        return node.add(unary(node, "leakyrelu", (float(slope.real.reshape(-1)[0]),)), x)
    return add_pairwise(node, PRelu(*node.fresh()), x, slope)
