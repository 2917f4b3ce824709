"""How channels pass through operators that compute each channel from the same channel of every
operand. An operand with a single channel is broadcast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from mcucompile.ir import Array, Op, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules, channels


def take(constant: Value, kept: Array) -> Value:
    """`constant` with its `kept` channels only."""
    assert constant.data is not None
    if kept.all():
        return constant
    data = np.ascontiguousarray(constant.data[..., kept])
    return replace(constant, shape=data.shape, data=data)


@dataclass(frozen=True)
class Channelwise(ChannelRules):
    """A channel stays in all operands and the result, or in none of them."""

    def linked(self, kept: Sequence[Array]) -> Sequence[Array]:
        values = (*self.operands, *self.results)
        count = channels(self.results[0])
        stay = np.zeros(count, dtype=bool)
        for value, flags in zip(values, kept, strict=True):
            if channels(value) == count:
                stay = stay | flags
        return [stay if channels(v) == count else np.full(1, stay.any()) for v in values]

    def selected(self, kept: Sequence[Array]) -> tuple[Op, tuple[Value, ...]]:
        pairs = zip(self.operands, kept, strict=False)
        return self.op, tuple(take(v, flags) if v.is_constant else v for v, flags in pairs)


@dataclass(frozen=True)
class Monotone(Channelwise):
    """The result grows, if it changes, with every element of the only operand."""

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        (x,), (known,) = self.operands, operands
        images = [np.broadcast_to(q.astype(np.int8), x.shape) for q in (known.lo, known.hi)]
        run = self.op.evaluate_int
        computed = [run(self.operands, self.results, [image])[0] for image in images]
        return (ChannelRange.around(computed),)


@dataclass(frozen=True)
class Elementwise(Channelwise):
    """Element by element, and monotone in each operand in whatever direction: the extremes are at
    the corners of the operands' ranges."""

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        extremes = [
            (v.data,) if v.data is not None else (_pixel(v, r.lo), _pixel(v, r.hi))
            for v, r in zip(self.operands, operands, strict=True)
        ]
        run = self.op.evaluate_int
        computed = [run(self.operands, self.results, corner)[0] for corner in product(*extremes)]
        return (ChannelRange.around(computed),)

    def folded(
        self, operands: Sequence[ChannelRange], results: Sequence[ChannelRange]
    ) -> tuple[Value, ...]:
        """An operand that is constant as a whole becomes a constant, and none of its pixels is
        read; unless nothing else is left from which the result would have its shape."""
        for slot, known in enumerate(operands):
            values = list(self.operands)
            if not known.is_constant.all() or values[slot].is_constant:
                continue
            data = _pixel(values[slot], known.lo)
            values[slot] = replace(values[slot], shape=data.shape, data=data, onnx_name="")
            computed = any(not v.is_constant for v in values)
            if computed and self.op.result_shapes(values)[0] == self.results[0].shape:
                return tuple(values)
        return self.operands


def _pixel(value: Value, numbers: Array) -> Array:
    """`numbers`, one per channel, as a tensor of the rank of `value`."""
    return numbers.astype(np.int8).reshape((1,) * (len(value.shape) - 1) + (-1,))
