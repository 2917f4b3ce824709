"""Operators that scale and shift each channel, in one form: x * factor + offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Graph, Op, Value
from mcucompile.ops.add import Add
from mcucompile.ops.batchnorm import BatchNorm
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.mul import Mul
from mcucompile.ops.unary import ScaleShift


@dataclass(frozen=True)
class Affine:
    """operand * factor + offset, per channel of the last axis.

    factor, offset: float64 of shape (C,). added: the constant that is `offset` where the operator
    is a plain addition; its integers can become those of a bias.
    """

    operand: Value
    factor: Array
    offset: Array
    added: Value | None = None


def affine_of(graph: Graph, op: Op) -> Affine | None:
    """What `op` does to each channel, if that is all it does."""
    operands = graph.operands(op)
    if getattr(op, "clamp", None) is not None:
        return None
    match op:
        case BatchNorm():
            factor, offset = op.affine(*(v.real.astype(np.float64) for v in operands[1:]))
            return Affine(operands[0], factor, offset)
        case ScaleShift():
            return _affine(operands[0], op.scale, op.offset)
        case Conv2d() if is_channelwise(op, operands):
            w, b = (v.real.astype(np.float64).reshape(-1) for v in operands[1:])
            return Affine(operands[0], w, b)
        case Mul() | Add():
            return _binary(op, operands)
    return None


def is_channelwise(op: Conv2d, operands: tuple[Value, ...]) -> bool:
    """Is the convolution depthwise, 1x1, and does it see each pixel once?"""
    x, w, b = operands
    channels = x.shape[-1]
    return (
        w.is_constant
        and b.is_constant
        and w.shape == (channels, 1, 1, 1)
        and op.groups == channels
        and op.strides == (1, 1)
        and not any(op.pads)
    )


def _binary(op: Mul | Add, operands: tuple[Value, ...]) -> Affine | None:
    """An operator of an activation and a constant that has one number, or one per channel."""
    a, b = operands
    x, constant = (b, a) if a.is_constant else (a, b)
    channels = x.shape[-1] if x.shape else 1
    if not constant.is_constant or any(d != 1 for d in constant.shape[:-1]):
        return None
    if constant.elements not in (1, channels) or len(constant.shape) > len(x.shape):
        return None
    number = constant.real.astype(np.float64).reshape(-1)
    if isinstance(op, Mul):
        return _affine(x, number, 0.0)
    if a.is_constant:
        return _affine(x, op.sign, number)
    return _affine(x, 1.0, op.sign * number, constant if op.sign == 1 else None)


def _affine(
    x: Value, factor: Array | float, offset: Array | float, added: Value | None = None
) -> Affine:
    """An Affine from numbers that may stand for all channels."""
    channels = x.shape[-1:] or (1,)
    return Affine(
        x,
        np.broadcast_to(np.asarray(factor, dtype=np.float64), channels),
        np.broadcast_to(np.asarray(offset, dtype=np.float64), channels),
        added,
    )
