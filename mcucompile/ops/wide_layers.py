"""Convolutions and dense layers with int16 activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Op, Value
from mcucompile.ops.conv import Convolution
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.dense import Dense
from mcucompile.ops.wide import Wide, bounds, operand, why
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.wide import DEVIATION, WideRule, wide_rule


def _layer_rule(
    op: Op, operands: Sequence[Value], result: Value, clamp: tuple[float, float] | None
) -> WideRule:
    x, w, b = operands
    assert w.data is not None
    assert b.data is not None
    weights = np.abs(w.data.astype(np.int64)).reshape(w.shape[0], -1).sum(axis=1)
    bound = np.abs(b.data.astype(np.int64)) + DEVIATION * weights
    scales = np.broadcast_to(np.asarray(w.q.scale, dtype=np.float64), w.shape[:1])
    real = x.q.scale[0] * scales / result.q.scale[0]
    try:
        return wide_rule(real.tolist(), bound.tolist(), result.q, clamp)
    except OverflowError as error:
        raise too_coarse(op) from error


def _packed(weights: Array, x: Value) -> Array:
    """The weights as the kernel reads them: see `mcuc/conv2d_s16.h`."""
    if x.q.bits == 16 and weights.shape[-1] % 4 == 0:
        weights = weights.reshape(-1, 2, 2).transpose(0, 2, 1)
    return weights.reshape(-1)


def _layer_call(
    op: Op,
    operands: Sequence[Value],
    result: Value,
    rule: WideRule,
    geometry: Geometry,
    groups: int,
) -> KernelCall:
    x, w, b = operands
    assert w.data is not None
    assert b.data is not None
    return KernelCall(
        op=op.name,
        kernel="mcuc_conv2d_s16",
        header="mcuc/conv2d_s16.h",
        params={
            **geometry.params("in_h in_w cin out_w cout kh kw sh sw dh dw top left"),
            "groups": groups,
            "in_bits": x.q.bits,
            "in_zp": x.q.zero_point,
            "weights": Const("weights", _packed(w.data, x)),
            "bias": Const("bias", b.data),
            "scales": Const("scales", rule.table),
            **bounds(rule),
        },
        reads=(operand(x, geometry.in_h),),
        writes=(operand(result, geometry.out_h),),
        band=1,
        why=why([x], result),
        macs=result.elements * int(np.prod(w.shape[1:])),
    )


@dataclass(frozen=True)
class WideConv2d(Wide, Convolution):
    """A convolution."""

    def _rule(self, operands: Sequence[Value], result: Value) -> WideRule:
        return _layer_rule(self, operands, result, self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x, w, b = (a.astype(np.float64) for a in arrays)  # exact below 2^53
        acc = self._correlate(x - operands[0].q.zero_point, w) + b
        return (self._rule(operands, results[0]).apply(acc),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule, geometry = self._rule(operands, results[0]), self.geometry(operands, results[0])
        return _layer_call(self, operands, results[0], rule, geometry, self.groups)


@dataclass(frozen=True)
class WideDense(Wide, Dense):
    """A dense layer: a 1x1 convolution of a row of vectors."""

    def _rule(self, operands: Sequence[Value], result: Value) -> WideRule:
        return _layer_rule(self, operands, result, self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x, w, b = (a.astype(np.float64) for a in arrays)  # exact below 2^53
        acc = (x - operands[0].q.zero_point) @ w.T + b
        return (self._rule(operands, results[0]).apply(acc),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        cin, cout = operands[1].shape[1], operands[1].shape[0]
        vectors = operands[0].elements // cin
        geometry = Geometry(1, vectors, cin, 1, vectors, cout, 1, 1, 1, 1, 1, 1, 0, 0)
        rule = self._rule(operands, results[0])
        return _layer_call(self, operands, results[0], rule, geometry, 1)
