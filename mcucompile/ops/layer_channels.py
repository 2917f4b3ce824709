"""How channels pass through sums of products: convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Op, QParams, Value
from mcucompile.ir.channels import ChannelRange, ChannelRules
from mcucompile.ops.gemm import Layer
from mcucompile.quant.numbers import Requant, requant


@dataclass(frozen=True)
class LayerChannels(ChannelRules):
    """The rules of `layer`, whose operands are its input, weights and bias.

    seen: for both axes of the window, the different sets of taps with which windows see the image,
    flags (sets, taps); the other taps see padding.
    """

    layer: Layer
    seen: tuple[Array, Array] = (np.ones((1, 1), dtype=bool), np.ones((1, 1), dtype=bool))

    @property
    def _zero(self) -> int:
        return self.layer.x.q.zero_point

    @cached_property
    def _weights(self) -> Array:
        """(groups, O / groups, taps, I / groups), float64: products are fast, and exact."""
        groups = self.layer.groups
        taps = self.seen[0].shape[1] * self.seen[1].shape[1]
        w = self.layer.weights.astype(np.float64)
        return w.reshape(groups, len(w) // groups, taps, -1)

    @cached_property
    def _bias(self) -> Array:
        bias = self.operands[2].data
        assert bias is not None
        return bias.astype(np.int64)

    def ranges(self, operands: Sequence[ChannelRange]) -> tuple[ChannelRange, ...]:
        """Requantization is monotone."""
        lo, hi = (self.layer.rule.apply(s).astype(np.int64) for s in self._sums(operands[0]))
        return (ChannelRange(lo, hi),)

    def _sums(self, x: ChannelRange) -> tuple[Array, Array]:
        """The lowest and the highest sum of each channel of the result, bias included, int64."""
        groups, each, taps, depth = self._weights.shape
        lo, hi = ((q - self._zero).astype(np.float64).reshape(groups, -1, 1) for q in (x.lo, x.hi))
        flat = self._weights.reshape(groups, each * taps, depth)
        up, down = np.maximum(flat, 0), np.minimum(flat, 0)
        least = self._of_windows(up @ lo + down @ hi).min(axis=1)
        most = self._of_windows(up @ hi + down @ lo).max(axis=1)
        return self._bias + least.astype(np.int64), self._bias + most.astype(np.int64)

    def _of_windows(self, products: Array) -> Array:
        """Sums over the taps of each kind of window, (O, kinds), of `products` of each tap."""
        rows, cols = (flags.astype(np.float64) for flags in self.seen)
        window = products.reshape(-1, rows.shape[1], cols.shape[1])
        return np.asarray(rows @ window @ cols.T).reshape(len(window), -1)

    def folded(
        self, operands: Sequence[ChannelRange], results: Sequence[ChannelRange]
    ) -> tuple[Value, ...]:
        """A constant channel of the result needs no weights. A constant channel of the input is
        part of the bias, unless it differs from padding. No accumulator grows."""
        (x, w, b), known, y = self.operands, operands[0], results[0].is_constant
        groups, each, _, depth = self._weights.shape
        unpadded = all(flags.all() for flags in self.seen)
        foldable = known.is_constant & (unpadded | (known.lo == self._zero))
        numbers = np.where(foldable, known.lo - self._zero, 0).reshape(groups, 1, 1, depth)
        moved = (self._weights * numbers).sum(axis=(2, 3)).reshape(-1).astype(np.int64)
        unread = foldable.reshape(groups, 1, 1, depth) | y.reshape(groups, each, 1, 1)
        if not (unread & (self._weights != 0)).any():
            return self.operands
        weights = np.where(unread, 0, self._weights).astype(np.int8).reshape(w.shape)
        bias = np.where(y, np.clip(0, *self._sums(known)), self._bias + moved)
        return x, replace(w, data=weights), replace(b, data=bias.astype(np.int32))

    @cached_property
    def _reads(self) -> Array:
        """Which channel of a result reads which of the input: (groups, O / groups, I / groups)."""
        return np.asarray((self._weights != 0).any(axis=2))

    def linked(self, kept: Sequence[Array]) -> Sequence[Array]:
        """A channel of the input stays if a weight reads it. Groups stay or go as a whole. Where
        there is a result, there is an input with a channel at least."""
        x, *constants, y = kept
        groups, each, depth = self._reads.shape
        if groups > 1:
            stay = x.reshape(groups, depth).any(axis=1) | y.reshape(groups, each).any(axis=1)
            return np.repeat(stay, depth), *constants, np.repeat(stay, each)
        x = x | self._reads[0, y].any(axis=0)
        if y.any() and not x.any():
            x[0] = True
        return x, *constants, y

    def selected(self, kept: Sequence[Array]) -> tuple[Op, tuple[Value, ...]]:
        x, w, b = self.operands
        inputs, outputs = kept[0], kept[-1]
        assert w.data is not None
        data = w.data[outputs] if self.layer.groups > 1 else w.data[outputs][..., inputs]
        w_scales, b_scales = self._scales(w.q, b.q, outputs)
        weights = replace(
            w,
            shape=data.shape,
            data=np.ascontiguousarray(data),
            qparams=w.q if w.q.axis is None else QParams(w_scales, 0, 0),
        )
        sums = self._bias[outputs].astype(np.int32)
        bias = replace(b, shape=sums.shape, data=sums, qparams=QParams(b_scales, 0, 0))
        if self.layer.groups == 1:
            return self.op, (x, weights, bias)
        fields: dict[str, Any] = {"groups": int(inputs.sum()) // self._reads.shape[2]}
        return replace(self.op, **fields), (x, weights, bias)

    def _scales(
        self, w: QParams, b: QParams, outputs: Array
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The scales of weights and bias for the results `outputs`.

        The shift of a layer is that of its largest multiplier. Where that one goes, the others get
        scales that are exactly their multipliers as they were rounded, and stay what they are.
        """
        rule, y = self.layer.rule, self.layer.y.q
        assert isinstance(rule, Requant)  # of layers that round otherwise nothing is pruned
        ratio = self.layer.x.q.scale[0] / y.scale[0]
        w_scales, b_scales = (
            np.broadcast_to(np.asarray(q.scale), outputs.shape)[outputs] for q in (w, b)
        )
        if requant((ratio * w_scales).tolist(), y).shift != rule.shift:
            m = self.layer.m[outputs].astype(np.int64)
            w_scales = m * 2.0 ** (rule.shift - 32) / ratio
            b_scales = self.layer.x.q.scale[0] * w_scales
            now = requant((ratio * w_scales).tolist(), y)
            if (np.asarray(now.m) != m << (rule.shift - now.shift)).any():
                raise InternalError(f"the multipliers of {self.op.name} change with its channels")
        return tuple(w_scales.tolist()), tuple(b_scales.tolist())
