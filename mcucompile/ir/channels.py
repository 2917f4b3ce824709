"""How the channels of quantized values depend on each other. A channel is an index of the last
axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mcucompile.ir.types import QMAX, QMIN, Array, Value

if TYPE_CHECKING:
    from mcucompile.ir.op import Op


def channels(value: Value) -> int:
    """How many channels `value` has; a scalar has one."""
    return value.shape[-1] if value.shape else 1


@dataclass(frozen=True)
class ChannelRange:
    """The stored integers of each channel lie within lo and hi, whatever the model's inputs are.

    lo, hi: int64, shape (channels,).
    """

    lo: Array
    hi: Array

    @classmethod
    def of(cls, value: Value) -> ChannelRange:
        """All that is known of a value by itself: its contents if it is a constant."""
        if value.data is not None:
            return cls.around([value.data])
        every = np.ones(channels(value), dtype=np.int64)
        lo, hi = (QMIN, QMAX) if value.qparams is None else value.qparams.limits
        return cls(lo * every, hi * every)

    @classmethod
    def around(cls, arrays: Sequence[Array]) -> ChannelRange:
        """The smallest range that holds the contents of `arrays`, which have the same channels."""
        flat = [a.reshape(-1, a.shape[-1] if a.shape else 1).astype(np.int64) for a in arrays]
        lo = np.min([a.min(axis=0) for a in flat], axis=0)
        hi = np.max([a.max(axis=0) for a in flat], axis=0)
        return cls(np.asarray(lo), np.asarray(hi))

    @property
    def is_constant(self) -> Array:
        """Per channel: is it one and the same number everywhere?"""
        return np.asarray(self.lo == self.hi)


@dataclass(frozen=True)
class ChannelRules:
    """How channels pass through `op`.

    This class knows of nothing: every channel is needed, and may hold any number. Operators that
    let channels be removed have rules of their own, see Op.channel_rules.

    `kept`, wherever it occurs: a flag per channel, for each operand and then for each result.
    """

    op: Op
    operands: tuple[Value, ...]
    results: tuple[Value, ...]

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        """The ranges of the results, proved from those of the operands."""
        return tuple(ChannelRange.of(v) for v in self.results)

    def folded(
        self, operands: Sequence[ChannelRange], results: Sequence[ChannelRange]
    ) -> tuple[Value, ...]:
        """The operands, with constants that give the same results from fewer channels."""
        return self.operands

    def linked(self, kept: Sequence[Array]) -> Sequence[Array]:
        """`kept` and what must stay beside it."""
        return [np.ones(channels(v), dtype=bool) for v in (*self.operands, *self.results)]

    def selected(self, kept: Sequence[Array]) -> tuple[Op, tuple[Value, ...]]:
        """The operator and its operands when only `kept` is left, which is as `linked` says.

        Constants are cut here; of the activations, only those without channels are left out.
        """
        return self.op, self.operands
