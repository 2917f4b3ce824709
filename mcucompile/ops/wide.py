"""Operators whose activations may be int16: each operand, and the result, is int8 or int16.

`mcucompile.quant.widen` puts them where 8 bits are too few for the result of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from mcucompile.ir import Array, Box, Op, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ir.storage import stored_bytes
from mcucompile.ops.add import Add
from mcucompile.ops.broadcast import walk
from mcucompile.ops.conv import Conv2d, Convolution
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.ops.dense import Dense
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.pool import AveragePool, MaxPool, Pool2d
from mcucompile.plan.program import Const, KernelCall, Operand, Target
from mcucompile.quant.bounds import too_coarse
from mcucompile.quant.numbers import clamp_bounds
from mcucompile.quant.wide import (
    DEVIATION,
    WideMean,
    WideRule,
    WideSum,
    wide_mean,
    wide_rule,
    wide_sum,
)


@dataclass(frozen=True)
class Wide(Op):
    """bits: of the result, 8 or 16. All channels stay, whatever the weights are."""

    takes_int16 = True

    bits: int = field(default=16, kw_only=True)

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return f"int{self.bits}"

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        return ChannelRules(self, tuple(operands), tuple(results))

    def patch(
        self, box: Box, operands: Sequence[Value], results: Sequence[Value]
    ) -> tuple[Op, tuple[Box | None, ...]] | None:
        return None  # operators that cut and join know nothing of int16


def _operand(value: Value, rows: int = 1) -> Operand:
    return Operand(value.name, rows, stored_bytes(value) // rows)


def _bounds(rule: WideRule) -> dict[str, int]:
    """The last parameters of every kernel."""
    q = rule.result
    return {"out_bits": q.bits, "zp": q.zero_point, "lo": rule.lo, "hi": rule.hi}


def _why(operands: Sequence[Value], result: Value) -> str:
    """Activations of a step for people."""
    given = " and ".join(v.dtype for v in operands if not v.is_constant)
    return f"mixed precision: {given} in, {result.dtype} out"


# -- Sums of products -------------------------------------------------------------------------


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
            **_bounds(rule),
        },
        reads=(_operand(x, geometry.in_h),),
        writes=(_operand(result, geometry.out_h),),
        band=1,
        why=_why([x], result),
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


# -- Sums and means of activations ------------------------------------------------------------


@dataclass(frozen=True)
class WideAdd(Wide, Add):
    """clamp(x1 + sign * x2)."""

    def _wide_sum(self, operands: Sequence[Value], result: Value) -> WideSum:
        try:
            return wide_sum([v.q for v in operands], (1, self.sign), result.q, self.clamp)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._wide_sum(operands, results[0]).apply(arrays),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rule, result = self._wide_sum(operands, results[0]), results[0]
        loops = walk([v.shape for v in operands])
        rows = [loops.operand(v, slot).rows for slot, v in enumerate(operands)]
        params: dict[str, int | float | Const] = {**loops.params()}
        for i, (v, m, zero) in enumerate(zip(operands, rule.m, rule.zeros, strict=True), 1):
            params |= {f"bits{i}": v.q.bits, f"zp{i}": zero, f"m{i}": m}
        sizes = [stored_bytes(v) for v in operands]
        return KernelCall(
            op=self.name,
            kernel="mcuc_add_s16",
            header="mcuc/add_s16.h",
            params={**params, "shift": rule.rule.shift[0], **_bounds(rule.rule)},
            reads=tuple(_operand(v, n) for v, n in zip(operands, rows, strict=True)),
            writes=(_operand(result, loops.dims[0]),),
            in_place=tuple(p for p in loops.in_place() if sizes[p[0]] == stored_bytes(result)),
            row_unit=loops.row_unit(),
            why=_why(operands, result),
        )


def _mean(op: Op, x: Value, result: Value, clamp: tuple[float, float] | None) -> WideMean:
    try:
        return wide_mean(x.q, result.q, clamp)
    except OverflowError as error:
        raise too_coarse(op) from error


def _pool_call(
    op: Op, x: Value, result: Value, pool: Pool2d, kernel: str, params: dict[str, int]
) -> KernelCall:
    """The call for `pool`, which `op` is, or is the same as."""
    _, h, w, c = x.shape
    _, oh, ow, _ = result.shape
    top, left, _, _ = pool.pads
    geometry = {"height": h, "width": w, "channels": c, "out_width": ow, "in_bits": x.q.bits}
    for name, (first, second) in (
        ("kernel", pool.kernel),
        ("stride", pool.strides),
        ("dilation", pool.dilations),
    ):
        geometry |= {f"{name}_h": first, f"{name}_w": second}
    return KernelCall(
        op=op.name,
        kernel=kernel,
        header="mcuc/pool_s16.h",
        params={**geometry, "pad_top": top, "pad_left": left, **params},
        reads=(_operand(x, h),),
        writes=(_operand(result, oh),),
        band=1,
        why=_why([x], result),
    )


@dataclass(frozen=True)
class WideAveragePool(Wide, AveragePool):
    """The mean of a window."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        x = arrays[0].astype(np.int64)
        n = self._counts(x.shape[1], x.shape[2], (0, 0, 0, 0))
        counts = self._counts(x.shape[1], x.shape[2], self._counted())
        total = np.asarray(sum(self._taps(x, 0)))
        mean = _mean(self, operands[0], results[0], self.clamp)
        return (mean.apply(total, n, counts),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        mean = _mean(self, operands[0], results[0], self.clamp)
        sides = ("top", "left", "bottom", "right")
        counted = {f"count_{s}": n for s, n in zip(sides, self._counted(), strict=True)}
        params = {**counted, **_mean_params(mean)}
        return _pool_call(self, operands[0], results[0], self, "mcuc_average_pool_s16", params)


def _mean_params(mean: WideMean) -> dict[str, int]:
    rule = mean.rule
    return {
        "in_zp": mean.zero,
        "numerator": mean.numerator,
        "shift": rule.shift[0],
        **_bounds(rule),
    }


@dataclass(frozen=True)
class WideGlobalAveragePool(Wide, GlobalAveragePool):
    """The mean of a whole image: of its only window."""

    def _pool(self, image: Shape) -> WideAveragePool:
        return WideAveragePool(
            self.name, self.origin, (image[1], image[2]), (1, 1), clamp=self.clamp, bits=self.bits
        )

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return self._pool(operands[0].shape).evaluate_int(operands, results, arrays)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return self._pool(operands[0].shape).lower(operands, results, target)


# -- Maxima -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class WideMaxPool(Wide, MaxPool):
    """The largest number of a window."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        q = results[0].q
        y = self._largest(arrays[0], q.limits[0])
        return (np.clip(y, *clamp_bounds(q, self.clamp)).astype(q.dtype),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        lo, hi = clamp_bounds(results[0].q, self.clamp)
        params = {"lo": lo, "hi": hi}
        return _pool_call(self, operands[0], results[0], self, "mcuc_max_pool_s16", params)


@dataclass(frozen=True)
class WideGlobalMaxPool(Wide, GlobalMaxPool):
    """The largest number of a whole image: of its only window."""

    def _pool(self, image: Shape) -> WideMaxPool:
        kernel = image[1], image[2]
        return WideMaxPool(self.name, self.origin, kernel, (1, 1), clamp=self.clamp)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return self._pool(operands[0].shape).evaluate_int(operands, results, arrays)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return self._pool(operands[0].shape).lower(operands, results, target)


# -- Back to 8 bits ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Narrow(Op):
    """The identity, from int16 to int8: for operators that know nothing of int16."""

    is_rowwise = True
    takes_int16 = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (operands[0],)

    def _rule(self, x: Value, result: Value) -> WideRule:
        try:
            return wide_rule([x.q.scale[0] / result.q.scale[0]], [DEVIATION], result.q)
        except OverflowError as error:
            raise too_coarse(self) from error

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self._rule(operands[0], results[0]).apply(arrays[0]),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        (x,), (y,) = operands, results
        rule = self._rule(x, y)
        params = {"width": y.elements, "m": rule.m[0], "shift": rule.shift[0], "zp": y.q.zero_point}
        return KernelCall(
            op=self.name,
            kernel="mcuc_narrow_s16",
            header="mcuc/narrow_s16.h",
            params=params,
            reads=(_operand(x),),
            writes=(_operand(y),),
            row_unit="width",
            tile=(2, 1),
            why=_why(operands, y),
        )


# -- Which operators there are ----------------------------------------------------------------

_WIDE: dict[type[Op], type[Wide]] = {
    Conv2d: WideConv2d,
    Dense: WideDense,
    Add: WideAdd,
    AveragePool: WideAveragePool,
    GlobalAveragePool: WideGlobalAveragePool,
    MaxPool: WideMaxPool,
    GlobalMaxPool: WideGlobalMaxPool,
}


def can_be_wide(op: Op) -> bool:
    """May its activations be int16?"""
    return type(op) in _WIDE


def widened(op: Op, bits: int) -> Wide:
    """The operator that computes what `op` does, with a result of `bits`."""
    return _WIDE[type(op)](**{f.name: getattr(op, f.name) for f in fields(op)}, bits=bits)
