"""What convolutions and dense layers share: their integer arithmetic, and weights as kernels read
them (the streams of `runtime_c/include/mcuc/gemm.h` and `dense.h`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mcucompile.ir import Array, Op, QParams, Value
from mcucompile.ir.types import QMAX, QMIN
from mcucompile.plan.program import Const, KernelCall, Operand, Target
from mcucompile.quant.bounds import too_coarse, within_int32
from mcucompile.quant.numbers import Requant, accumulator_bound, requant
from mcucompile.quant.tflite import TfliteRequant, layer_requant

LARGE_TILE = 2048  # bytes of scratch
NARROW_LIMIT = 2**23  # of the sum that shares its register with another one


@dataclass(frozen=True)
class Layer:
    """A layer of sums of products, in integers.

    op, x, y: the operator, its input and its result. weights: int8, output channel on axis 0.
    bias: int64 within int32, the input zero-point folded in, so that raw int8 inputs are
    multiplied. bound: largest |sum| per channel. rule: what becomes of the sums. groups: of
    channels, as in a convolution.
    """

    op: Op
    x: Value
    y: Value
    weights: Array
    bias: Array
    bound: Array
    rule: Requant | TfliteRequant
    groups: int = 1
    name: str = ""

    @classmethod
    def of(
        cls,
        op: Op,
        operands: Sequence[Value],
        result: Value,
        clamp: tuple[float, float] | None,
        groups: int = 1,
    ) -> Layer:
        """Layer `op`; operands: input, int8 weights, int32 bias.

        Raises QuantizationError MC201 unless every sum is sure to stay within int32.
        """
        x, w, b = operands
        assert w.data is not None
        assert b.data is not None
        scales = np.broadcast_to(np.asarray(w.q.scale, dtype=np.float64), w.shape[:1])
        rule = _rule(op, x.q, scales, result.q, clamp)
        total = w.data.astype(np.int64).reshape(w.shape[0], -1).sum(axis=1)
        bias = b.data.astype(np.int64) - x.q.zero_point * total
        bound = accumulator_bound(w.data, bias)
        if isinstance(rule, Requant):
            within_int32(op, rule, int(bound.max()))
        elif not rule.holds(bound):
            raise too_coarse(op)
        return cls(op, x, result, w.data, bias, bound, rule, groups, w.name)

    @property
    def macs(self) -> int:
        return self.y.elements * math.prod(self.weights.shape[1:])

    @property
    def m(self) -> Array:
        """Multipliers of the channels, int32; places in the table where they are TFLite's."""
        if isinstance(self.rule, TfliteRequant):
            return np.arange(len(self.rule.scales), dtype=np.int32)
        return np.asarray(self.rule.m, dtype=np.int32)

    @property
    def shift(self) -> int | Const:
        """What every sum is shifted by; the table of multipliers if they are TFLite's."""
        if isinstance(self.rule, TfliteRequant):
            return Const("scales", self.rule.table.astype(np.int32).reshape(-1))
        return self.rule.shift

    @property
    def once(self) -> Requant:
        """The rule of a layer that is sure to round by the contract's."""
        assert isinstance(self.rule, Requant)
        return self.rule

    @property
    def is_plain(self) -> bool:
        """Are results neither shifted nor clamped?"""
        return self.shift == 0 and (self.rule.lo, self.rule.hi) == (QMIN, QMAX)

    def call(
        self,
        kernel: str,
        header: str,
        params: Mapping[str, int | Const],
        rows: tuple[int, int] = (1, 1),
        scratch: int = 0,
        in_place: bool = False,
        band: int = 0,
        reads_once: bool = False,
        tile: tuple[int, int] | None = None,
        row_unit: str = "",
        takes_top: bool = False,
        why: str = "",
    ) -> KernelCall:
        """A call of `kernel` that computes this layer.

        params: all but the last ones, which every kernel has: shift, zp, lo, hi. rows: of the input
        and of the result. The others: see KernelCall.
        """
        rule = self.rule
        x, y = (
            Operand(v.name, n, v.elements // n) for v, n in zip((self.x, self.y), rows, strict=True)
        )
        return KernelCall(
            op=self.op.name,
            kernel=kernel,
            header=header,
            params={
                **params,
                "shift": self.shift,
                "zp": rule.zero_point,
                "lo": rule.lo,
                "hi": rule.hi,
            },
            reads=(x,),
            writes=(y,),
            scratch=scratch,
            in_place=((0, 0),) if in_place else (),
            band=band,
            reads_once=reads_once,
            tile=tile,
            row_unit=row_unit,
            takes_top=takes_top,
            pitched=True,
            why=why,
            macs=self.macs,
        )


def _rule(
    op: Op, x: QParams, weights: Array, y: QParams, clamp: tuple[float, float] | None
) -> Requant | TfliteRequant:
    """What becomes of sums: see Op.rounding. weights: scales, one per channel."""
    if op.rounding == "tflite":
        return layer_requant(x, weights.tolist(), y, clamp, dense=op.kind == "Dense")
    return requant((x.scale[0] * weights / y.scale[0]).tolist(), y, clamp)


def word_order(count: int) -> Array:
    """Elements as SXTB16 expands words: 0, 2, 1, 3 of every four; the last ones in their order.

    Even length; -1 stands for padding.
    """
    fours = count - count % 4
    order = natural_order(count)
    order[:fours] = order[:fours].reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1)
    return order


def natural_order(count: int) -> Array:
    """Elements in their own order; see `word_order`."""
    order = np.arange(count + count % 2)
    order[count:] = -1
    return order


def is_wide(layer: Layer) -> bool:
    """Must the two channels of a pair be summed apart? (`wide` in gemm.h)"""
    low, high = _pairs(layer, layer.weights.reshape(len(layer.weights), -1))
    beyond_lane = (low + 256 * high < -(2**15)).any()
    return bool(beyond_lane or (_pairs(layer, layer.bound)[1] >= NARROW_LIMIT).any())


def pack_pairs(layer: Layer, order: Array, wide: bool | None = None) -> Array:
    """The streams of all pairs of channels, uint32: bias[2], words, m[2] for each pair.

    order: elements of a channel in the order in which the kernel expands activations. wide: whether
    the kernel sums the channels of a pair apart; None as the layer asks for.
    """
    return np.concatenate(pair_parts(layer, order, wide), axis=1).reshape(-1)


def pack_dense(
    layer: Layer, order: Array, eights: bool, own_m: bool, wide: bool | None = None
) -> Array:
    """The streams of `mcuc/dense.h`, uint32: two pairs side by side, a last one alone.

    eights: four pairs side by side before, as long as there are. own_m: with multipliers in them.
    wide: see `pack_pairs`.
    """
    bias, words, m = pair_parts(layer, order, wide)
    pieces: list[Array] = []
    first = 0
    while first < len(words):
        pairs = 4 if eights and len(layer.m) - 2 * first >= 8 else 2
        group = slice(first, first + pairs)
        pieces += [bias[group].reshape(-1), words[group].T.reshape(-1)]
        pieces += [m[group].reshape(-1)] if own_m else []
        first += pairs
    return np.concatenate(pieces)


def tile_bytes(width: int, elements: int, small: bool = False) -> int:
    """Scratch for the tile of a kernel with rows of `width` pixels of `elements` each.

    small: the tile has two pixels, not four.
    """
    return 4 * min(width, 2 if small else 4) * ((elements + 1) // 2)


def wants_small_tile(width: int, elements: int, target: Target) -> bool:
    """Is half the scratch worth a quarter more instructions?"""
    return target.optimize == "ram" and tile_bytes(width, elements) > LARGE_TILE


def pair_parts(layer: Layer, order: Array, wide: bool | None = None) -> tuple[Array, Array, Array]:
    """Per pair of channels: biases (P, 2), words (P, len(order) / 2), multipliers (P, 2)."""
    wide = is_wide(layer) if wide is None else wide
    flat = layer.weights.reshape(len(layer.weights), -1)
    low, high = _pairs(layer, np.where(order >= 0, flat[:, np.maximum(order, 0)], 0))
    lanes = ((low & 0xFF) + 256 * high if wide else low + 256 * high) & 0xFFFF
    bias0, bias1 = _pairs(layer, layer.bias)
    bias = np.stack([bias0, bias1 if wide else bias0 + 256 * bias1], axis=1)
    m = np.stack(_pairs(layer, layer.m), axis=1)
    return _uint32(bias), _uint32(lanes[:, 0::2] | lanes[:, 1::2] << 16), _uint32(m)


def _pairs(layer: Layer, channels: Array) -> tuple[Array, Array]:
    """First and second channel of each pair, int64; zeros beside the odd last one of a group."""
    grouped = channels.astype(np.int64).reshape(layer.groups, -1, *channels.shape[1:])
    if grouped.shape[1] % 2:
        grouped = np.concatenate([grouped, np.zeros_like(grouped[:, :1])], axis=1)
    flat = grouped.reshape(-1, *channels.shape[1:])
    return flat[0::2], flat[1::2]


def _uint32(values: Array) -> Array:
    return np.asarray(values & 0xFFFFFFFF, dtype=np.uint32)
