"""Which operators may have int16 activations, and what computes them then."""

from __future__ import annotations

from dataclasses import fields

from mcucompile.ir import Op
from mcucompile.ops.add import Add
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.wide import Wide
from mcucompile.ops.wide_add import WideAdd
from mcucompile.ops.wide_layers import WideConv2d, WideDense
from mcucompile.ops.wide_pools import (
    WideAveragePool,
    WideGlobalAveragePool,
    WideGlobalMaxPool,
    WideMaxPool,
)

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
