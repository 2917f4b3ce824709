"""ReduceMean, ReduceMax and the others: any axes of a tensor become one number."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QMAX, QMIN, Array, QParams, QuantRule, Value
from mcucompile.ops.add import Add
from mcucompile.ops.global_pool import global_kind
from mcucompile.ops.reduction import Reduction, reduced_axes, side_by_side
from mcucompile.ops.reshape import reshape, view
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.mean import MeanRule, mean_rule
from mcucompile.quant.numbers import clamp_bounds
from mcucompile.quant.steps import StepRule, step_rule


@dataclass(frozen=True)
class _Linear(Reduction):
    """clamp(sum of the numbers, divided by their count or not)."""

    is_mean: ClassVar[bool]

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        fold = np.mean if self.is_mean else np.sum
        y = np.asarray(fold(operands[0], axis=self.axes, keepdims=True, dtype=np.float64))
        return (self._clip(y).astype(np.float32),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> MeanRule:
        """A sum is the mean of numbers that are `count` times as large."""
        count, q = self.count(operands), operands[0].q
        scale = q.scale[0] if self.is_mean else q.scale[0] * count
        large = QParams((scale,), q.zero_point)
        return mean_rule(self, large, results[0].q, (count, count), self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        rule = self._rule(operands, results)
        total = arrays[0].sum(axis=self.axes, keepdims=True, dtype=np.int64)
        count = np.array(rule.full)
        return (rule.apply(total, count, count),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        params = self._rule(operands, results).params()
        return self.call("mcuc_reduce_sum_s8", operands, results, params)


@dataclass(frozen=True)
class ReduceSum(_Linear):
    """The sum."""

    is_mean: ClassVar[bool] = False


@dataclass(frozen=True)
class ReduceMean(_Linear):
    """The mean."""

    is_mean: ClassVar[bool] = True


@dataclass(frozen=True)
class _Extreme(Reduction):
    """clamp(the largest or smallest number)."""

    largest: ClassVar[bool]
    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def _fold(self, x: Array) -> Array:
        fold = np.max if self.largest else np.min
        return np.asarray(fold(x, axis=self.axes, keepdims=True))

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (self._clip(self._fold(operands[0])),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        return (np.clip(self._fold(arrays[0]), lo, hi).astype(np.int8),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params = {"largest": int(self.largest), "lo": lo, "hi": hi}
        return self.call("mcuc_reduce_extremum_s8", operands, results, params)


@dataclass(frozen=True)
class ReduceMax(_Extreme):
    """The largest number."""

    largest: ClassVar[bool] = True


@dataclass(frozen=True)
class ReduceMin(_Extreme):
    """The smallest number."""

    largest: ClassVar[bool] = False


@dataclass(frozen=True)
class _Stepped(Reduction):
    """clamp(g(sum of f(number))) with g growing."""

    @abstractmethod
    def real(self, x: Array) -> Array:
        """f and g on float64 numbers."""

    @abstractmethod
    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        """f as integers for the stored numbers -128 ... 127, and the sum of such that g makes
        a real number."""

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            y = self.real(operands[0].astype(np.float64))
        return (self._clip(y).astype(np.float32),)

    def _rule(self, operands: Sequence[Value], results: Sequence[Value]) -> StepRule:
        count = self.count(operands)
        terms, inverse = self._tables(operands[0].q, count)
        try:
            return step_rule(terms, inverse, count, results[0].q)
        except OverflowError as error:
            raise too_coarse(self, str(error)) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        y = self._rule(operands, results).apply(arrays[0], self.axes)
        return (np.clip(y, *clamp_bounds(results[0].q, self.clamp)).astype(np.int8),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule = self._rule(operands, results)
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params: dict[str, int | Const] = {
            "terms": Const("terms", rule.terms),
            "steps": Const("steps", rule.steps),
            "lo": lo,
            "hi": hi,
        }
        return self.call("mcuc_reduce_steps_s8", operands, results, params)

    def _sum(self, x: Array) -> Array:
        return np.asarray(x.sum(axis=self.axes, keepdims=True))


def _distances(q: QParams) -> Array:
    """Stored numbers less the zero-point."""
    return np.arange(QMIN, QMAX + 1) - q.zero_point


@dataclass(frozen=True)
class ReduceL1(_Stepped):
    """The sum of absolute values."""

    def real(self, x: Array) -> Array:
        return self._sum(np.abs(x))

    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        return np.abs(_distances(q)), lambda y: y / q.scale[0]


@dataclass(frozen=True)
class ReduceSumSquare(_Stepped):
    """The sum of squares."""

    def real(self, x: Array) -> Array:
        return self._sum(x * x)

    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        return _distances(q) ** 2, lambda y: y / q.scale[0] ** 2


@dataclass(frozen=True)
class ReduceL2(_Stepped):
    """The root of the sum of squares."""

    def real(self, x: Array) -> Array:
        return np.sqrt(self._sum(x * x))

    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        return _distances(q) ** 2, lambda y: np.sign(y) * (y / q.scale[0]) ** 2


@dataclass(frozen=True)
class ReduceLogSum(_Stepped):
    """The logarithm of the sum."""

    def real(self, x: Array) -> Array:
        return np.log(self._sum(x))

    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        return _distances(q), lambda y: np.exp(y) / q.scale[0]


@dataclass(frozen=True)
class ReduceLogSumExp(_Stepped):
    """The logarithm of the sum of exponentials, of numbers whose largest is about 0."""

    def real(self, x: Array) -> Array:
        return np.log(self._sum(np.exp(x)))

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        raise self.not_in_onnx("what it is told to subtract first has no tensor of its own")

    def _tables(self, q: QParams, count: int) -> tuple[Array, Callable[[Array], Array]]:
        x = _distances(q) * q.scale[0]
        largest, unit = x[-1], 2.0**30 / count
        terms = np.rint(np.exp(x - largest) * unit).astype(np.int64)
        return terms, lambda y: np.exp(y - largest) * unit


_KINDS: dict[str, type[Reduction]] = {
    "ReduceSum": ReduceSum,
    "ReduceMean": ReduceMean,
    "ReduceMax": ReduceMax,
    "ReduceMin": ReduceMin,
    "ReduceL1": ReduceL1,
    "ReduceL2": ReduceL2,
    "ReduceSumSquare": ReduceSumSquare,
    "ReduceLogSum": ReduceLogSum,
    "ReduceLogSumExp": ReduceLogSumExp,
}


@onnx_import(*_KINDS)
def import_reduce(node: OnnxNode) -> Value:
    """Of several samples at a time none is reduced: a batch of 1 counts as reduced already."""
    x = node.operand(0)
    axes = reduced_axes(node, len(x.shape))
    keepdims = bool(node.attrs.get("keepdims", 1))
    shape = tuple(1 if i in axes else d for i, d in enumerate(x.shape) if keepdims or i not in axes)
    if x.shape[:1] == (1,):
        axes = tuple(a for a in axes if a != 0)
    if not axes:
        return reshape(node, x, shape)
    is_pool = node.op_type in ("ReduceMean", "ReduceMax") and x.shape[:1] == (1,)
    pool = global_kind(node.op_type) if is_pool else None
    if pool and len(x.shape) == 4 and axes == (2, 3):  # an NCHW image
        y = node.add(pool(*node.fresh()), to_nhwc(node, x))
        return to_nchw(node, y) if keepdims else reshape(node, y, shape)
    if pool and axes == tuple(range(1, len(x.shape) - 1)):  # all but the channels, which are last
        image = (
            x
            if len(x.shape) == 4
            else view(node, x, (1, 1, x.elements // x.shape[-1], x.shape[-1]))
        )
        return reshape(node, node.add(pool(*node.fresh()), image), shape)
    x, axes = side_by_side(node, x, axes)
    if node.op_type == "ReduceLogSumExp":
        return reshape(node, _log_sum_exp(node, x, axes), shape)
    return reshape(node, node.add(_KINDS[node.op_type](*node.fresh(), axes=axes), x), shape)


def below_largest(node: OnnxNode, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value]:
    """The largest number of `x` along `axes`, and `x` less it."""
    largest = node.add_inner(ReduceMax(*node.fresh("largest"), axes=axes), x)
    return largest, node.add_inner(Add(*node.fresh("below"), sign=-1), x, largest)


def _log_sum_exp(node: OnnxNode, x: Value, axes: tuple[int, ...]) -> Value:
    largest, below = below_largest(node, x, axes)
    logarithm = node.add_inner(ReduceLogSumExp(*node.fresh("log"), axes=axes), below)
    return node.add(Add(*node.fresh()), largest, logarithm)


@onnx_import("LogSoftmax")
def import_log_softmax(node: OnnxNode) -> Value:
    """x - log(sum(exp(x))), of numbers less the largest."""
    x = node.operand(0)
    rank = len(x.shape)
    axis = int(node.attrs.get("axis", 1 if node.opset < 13 else -1)) % rank
    axes = (axis,) if node.opset >= 13 else tuple(range(axis, rank))
    _, below = below_largest(node, x, axes)
    logarithm = node.add_inner(ReduceLogSumExp(*node.fresh("log"), axes=axes), below)
    return node.add(Add(*node.fresh(), sign=-1), below, logarithm)
