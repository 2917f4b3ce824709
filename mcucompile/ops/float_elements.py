"""Sums, products and functions of single numbers in float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Shape, Value
from mcucompile.ops.add import Add
from mcucompile.ops.broadcast import walk
from mcucompile.ops.float32 import WHY, Float, float_operand
from mcucompile.ops.mul import Mul
from mcucompile.ops.table import Table
from mcucompile.ops.unary import ScaleShift, Unary
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.float32 import FUNCTIONS, Clamp, bounds, clamped


def _pairwise_call(
    op: Float,
    kernel: str,
    params: Mapping[str, int],
    clamp: Clamp,
    operands: Sequence[Value],
    result: Value,
) -> KernelCall:
    loops = walk([v.shape for v in operands])
    rows = [loops.operand(v, slot).rows for slot, v in enumerate(operands)]
    lo, hi = bounds(clamp)
    return KernelCall(
        op=op.name,
        kernel=kernel,
        header="mcuc/elements_f32.h",
        params={**loops.params(), **params, "lo": lo, "hi": hi},
        reads=tuple(float_operand(v, n) for v, n in zip(operands, rows, strict=True)),
        writes=(float_operand(result, loops.dims[0]),),
        in_place=loops.in_place(),
        row_unit=loops.row_unit(),
        why=WHY,
    )


@dataclass(frozen=True)
class FloatAdd(Float, Add):
    """clamp(x1 + sign * x2)."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        a, b = arrays
        with np.errstate(all="ignore"):
            return (clamped(a - b if self.sign < 0 else a + b, self.clamp),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        params = {"subtract": int(self.sign < 0)}
        return _pairwise_call(self, "mcuc_add_f32", params, self.clamp, operands, results[0])


@dataclass(frozen=True)
class FloatFunction(Float):
    """clamp(f(x, a, b)) with f one of `float32.FUNCTIONS`."""

    is_rowwise = True
    is_pixelwise = True

    function: str
    a: float = 0.0
    b: float = 0.0
    clamp: Clamp = None

    @classmethod
    def of(cls, op: Table) -> FloatFunction | None:
        """What computes `op` in float32; None if nothing does."""
        if isinstance(op, ScaleShift):
            return cls(op.name, op.origin, "scale", op.scale, op.offset)
        if not isinstance(op, Unary):
            return None
        if (bounds := op.clamp_bounds()) is not None:
            return cls(op.name, op.origin, "identity", clamp=bounds)
        if op.function == "neg":
            return cls(op.name, op.origin, "scale", -1.0, 0.0)
        if op.function not in FUNCTIONS:
            return None
        a, b = (*op.args, *_DEFAULTS.get(op.function, ())[len(op.args) :], 0.0, 0.0)[:2]
        return cls(op.name, op.origin, op.function, a, b)

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return self.evaluate_int((), (), operands)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            y = FUNCTIONS[self.function](arrays[0].astype(np.float32), self.a, self.b)
        return (clamped(y, self.clamp),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        (x,), (y,), (lo, hi) = operands, results, bounds(self.clamp)
        return KernelCall(
            op=self.name,
            kernel=f"mcuc_{self.function}_f32",
            header="mcuc/functions_f32.h",
            params={
                "width": y.elements,
                **{k: float(np.float32(v)) for k, v in (("a", self.a), ("b", self.b))},
                "lo": lo,
                "hi": hi,
            },
            reads=(float_operand(x),),
            writes=(float_operand(y),),
            in_place=((0, 0),),
            row_unit="width",
            tile=(4, 4),
            why=WHY,
        )


# Arguments of functions that may have fewer, as FUNCTIONS of `unary.py` has them.
_DEFAULTS = {"leakyrelu": (0.01,), "hardsigmoid": (0.2, 0.5), "elu": (1.0,), "swish": (1.0,)}


@dataclass(frozen=True)
class FloatMul(Float, Mul):
    """clamp(x1 * x2)."""

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        with np.errstate(all="ignore"):
            return (clamped(arrays[0] * arrays[1], self.clamp),)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        return _pairwise_call(self, "mcuc_mul_f32", {}, self.clamp, operands, results[0])
