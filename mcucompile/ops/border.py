"""The border: numbers as the caller has them become stored int8 numbers, and results the caller's.

`mcucompile.quant.border` puts these operators after the model's inputs and before its outputs,
`mcucompile.quant.float_layers` two of them around float32 layers; no other operator but those
layers sees uint8 or float32 in a quantized graph.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mcucompile.ir import QMIN, Array, Op, Preprocessing, QParams, QuantRule, Shape, Value
from mcucompile.ir.storage import stored_bytes
from mcucompile.plan.program import Const, KernelCall, Operand, Target
from mcucompile.quant.float32 import REAL
from mcucompile.quant.numbers import dequantize_float32, quantize_float32

_HEADER = "mcuc/border.h"
_FLIP = "a uint8 number is the stored one + 128"


@dataclass(frozen=True)
class _Border(Op):
    """An identity on real numbers between two ways to store them."""

    is_rowwise = True

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return (operands[0].shape,)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        return (operands[0],)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        return (self.convert(arrays[0], self.stored(operands[0], results[0]).q),)

    def stored(self, operand: Value, result: Value) -> Value:
        """That of the two whose numbers are the model's integers."""
        return result

    @abstractmethod
    def convert(self, x: Array, q: QParams) -> Array:
        """The numbers `x` as the result stores them; q: what the integers mean."""

    def _call(
        self,
        operands: Sequence[Value],
        results: Sequence[Value],
        kernel: str,
        params: dict[str, int | float | Const],
        why: str,
    ) -> KernelCall:
        """One pass over a single long row, whose numbers are counted by the first parameter."""
        x, y = operands[0], results[0]
        taken, given = stored_bytes(x), stored_bytes(y)
        tile = (taken // x.elements, given // y.elements)
        return KernelCall(
            op=self.name,
            kernel=kernel,
            header="mcuc/lut.h" if kernel == "mcuc_lut_s8" else _HEADER,
            params=params,
            reads=(Operand(x.name, 1, taken),),
            writes=(Operand(y.name, 1, given),),
            in_place=((0, 0),) if taken == given else (),
            row_unit=next(iter(params)),
            tile=(4, 4) if tile == (1, 1) else tile,
            why=why,
        )


class FlipSign(_Border):
    """uint8 numbers become int8 numbers, or the other way round, by 128."""

    def convert(self, x: Array, q: QParams) -> Array:
        return np.asarray((x.view(np.uint8) ^ 128).view(_OTHER[str(x.dtype)]))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        params: dict[str, int | float | Const] = {"width": results[0].elements}
        return self._call(operands, results, "mcuc_flip_s8", params, _FLIP)


_OTHER = {"uint8": np.int8, "int8": np.uint8}


@dataclass(frozen=True)
class Preprocess(_Border):
    """Raw uint8 numbers become int8 ones: the nearest of (raw - mean) * scale."""

    preprocessing: Preprocessing

    def tables(self, q: QParams) -> Array:
        """int8 results for the raw numbers 0 ... 255, shape (256, channels)."""
        every = Preprocessing(self.preprocessing.scale, self.preprocessing.mean, axis=1)
        return q.quantize(every.real(np.arange(256).reshape(256, 1)))

    def convert(self, x: Array, q: QParams) -> Array:
        tables = self.tables(q)
        shape = [1] * x.ndim
        shape[self.preprocessing.axis] = -1
        channels = np.arange(tables.shape[1]).reshape(shape)
        return np.asarray(tables[x, channels])

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        tables = self.tables(results[0].q)
        channels = tables.shape[1]
        table = Const("table", np.ascontiguousarray(tables.T).reshape(-1))
        params: dict[str, int | float | Const]
        if channels == 1:
            params = {"width": results[0].elements, "table": table}
            why = "any function of one byte is a table of 256"
            return self._call(operands, results, "mcuc_lut_s8", params, why)
        run = math.prod(results[0].shape[self.preprocessing.axis + 1 :])
        blocks = results[0].elements // (channels * run)
        params = {"blocks": blocks, "channels": channels, "run": run, "table": table}
        why = "every channel has a table of 256"
        return self._call(operands, results, "mcuc_lut_channels_s8", params, why)


class FromFloat(_Border):
    """float32 numbers become int8 ones as by QuantizeLinear; NaN becomes the lowest."""

    takes_float = True

    def convert(self, x: Array, q: QParams) -> Array:
        return quantize_float32(x, q)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        why = "real numbers become stored ones"
        return self._call(operands, results, "mcuc_quantize_f32", _scale(results[0]), why)


class ToFloat(_Border):
    """int8 or int16 numbers become the real numbers that they stand for."""

    takes_float = True
    takes_int16 = True
    quant_rule: ClassVar[QuantRule] = QuantRule.FIXED

    def fixed_qparams(self) -> QParams:
        return REAL

    def result_dtype(self, operands: Sequence[Value]) -> str:
        return "float32"

    def stored(self, operand: Value, result: Value) -> Value:
        return operand

    def convert(self, x: Array, q: QParams) -> Array:
        return dequantize_float32(x, q)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        why = "stored numbers become real ones"
        kernel = f"mcuc_dequantize{'_s16' if operands[0].q.bits == 16 else ''}_f32"
        return self._call(operands, results, kernel, _scale(operands[0]), why)


def _scale(stored: Value) -> dict[str, int | float | Const]:
    q = stored.q
    return {"width": stored.elements, "scale": q.scale[0], "zp": q.zero_point}


def is_plain(op: Preprocess, q: QParams) -> bool:
    """Are the results nothing but the raw numbers - 128?"""
    return bool((op.tables(q) == np.arange(256).reshape(256, 1) + QMIN).all())
