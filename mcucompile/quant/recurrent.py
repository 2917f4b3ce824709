"""Recurrent layers in integers: int8 outside, int16 gates and cells inside.

    a = bias + rescale(sum w*x) + rescale(sum r*h)        a gate before its function, int32
    f(a) = curve(clamp(a))                                int16
    rescale(acc) = floor(((acc << k) * m + 2^31) / 2^32)

x and h are int8, h with the scale of the result; their zero-points are folded into the sums. One
unit of `a` is 2^-12 (of a sigmoid 2^-11), so that both products and the bias keep scales of their
own, and integers that a model brings along stay what they are.

A curve is a table of 513 numbers, 128 units apart, between which it is a straight line:

    i = a >> 7,  f = a & 127
    y = t[i] + (((t[i + 1] - t[i]) * f + 64) >> 7)        t[-256] ... t[256]

in units of 2^-15 where the function keeps within [-1, 1]. A straight line is off by less than
2^-13 for tanh; sigmoid(x) = (1 + tanh(x / 2)) / 2 needs no table of its own.

    LSTM    c = sat16((f*c + ((i*g) >> s) + 2^14) >> 15)          c: 2^-e, by calibration
            h = requant((o * H(c)) >> 14)
    GRU     z, r = f(a);  n = g(a_x + floor(r*a_h / 2^15)), or
            n = g(a) with (r*H + 2^14) >> 15, requantized, in the place of h
            H = sat16((z*H + (((2^15 - z) * n) >> s) + 2^14) >> 15)        H: h as int16, 2^-e
            h = requant(H)
    RNN     h = requant(f(a))

s is what the function has more bits of fraction than the cell. requant is the rule of the number
contract. A peephole adds floor(p*c / 2^16) to a gate.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcucompile.ir import Array, QParams
from mcucompile.quant.numbers import Requant

INT16 = 2**15
SPACE = 7  # bits between two numbers of a table
POINTS = 513
STEEP = 12  # bits of fraction of the operand of a function that is flat beyond +-8
HEADROOM = 1.5  # of what calibration has seen
FLAT = 2.0**-16

State = tuple[Array, ...]  # h as int8 and, where there is one, the cell as int16; (B, H) each


def fraction(peak: float) -> int:
    """The bits of fraction with which int16 holds numbers up to `peak`, and some more."""
    return max(0, min(15, math.floor(math.log2(INT16 / max(HEADROOM * peak, FLAT)))))


def rescale(acc: Array, m: Array | int, shift: int) -> Array:
    """floor(((acc << shift) * m + 2^31) / 2^32), int64."""
    return np.asarray(((acc.astype(np.int64) << shift) * m + 2**31) >> 32)


@dataclass(frozen=True)
class Curve:
    """A function of a gate by table. table: int16, (513,). half: the result is (1 + y) / 2.

    limit: operands are clamped to [-limit - 1, limit]. operand, result: their bits of fraction.
    """

    table: Array = field(compare=False)
    half: bool
    limit: int
    operand: int
    result: int

    def apply(self, a: Array) -> Array:
        """int64 results, within int16, for integers of any size and shape."""
        a = np.clip(a.astype(np.int64), -self.limit - 1, self.limit)
        t, i = self.table.astype(np.int64), (a >> SPACE) + POINTS // 2
        y = t[i] + (((t[i + 1] - t[i]) * (a & 127) + 64) >> SPACE)
        return np.asarray((y + INT16) >> 1 if self.half else y)


def curve(f: Callable[[Array], Array], half: bool, peak: float, clip: float = math.inf) -> Curve:
    """The curve of `f` (float64); half: of (1 + f(x / 2)) / 2 in its place.

    peak: the largest operand observed, for functions that are not flat beyond +-8. clip: operands
    are clamped to [-clip, clip].
    """
    with np.errstate(all="ignore"):
        near, far = f(np.array([-8.0, 8.0])), f(np.array([-64.0, 64.0]))
    bits = STEEP if np.abs(near - far).max() < FLAT else fraction(peak)
    grid = (np.arange(POINTS) - POINTS // 2) * 2.0 ** (SPACE - bits)
    with np.errstate(all="ignore"):
        y = f(grid)
    result = max(0, min(15, math.floor(math.log2(INT16 / max(float(np.abs(y).max()), FLAT)))))
    table = np.clip(np.rint(y * 2.0**result), -INT16, INT16 - 1).astype(np.int16)
    operand = bits - 1 if half else bits
    limit = int(min(INT16 - 1, round(min(clip, 2.0**16) * 2.0**operand)))
    return Curve(table, half, limit, operand, result)


@dataclass(frozen=True)
class Sums:
    """Sums of products of rows of weights, rescaled to units of gates.

    weights: (rows, columns). offsets: int64, what begins each sum. m: one for each row.
    """

    weights: Array = field(compare=False)
    offsets: Array = field(compare=False)
    m: Array = field(compare=False)
    shift: int

    def apply(self, x: Array) -> Array:
        """int64 (B, rows) for int8 (B, columns)."""
        # Exact in float64, and much faster than numpy's integer product.
        acc = x.astype(np.float64) @ self.weights.T.astype(np.float64) + self.offsets
        return rescale(acc, self.m, self.shift)


@dataclass(frozen=True)
class Start:
    """How an initial state becomes one of the layer's own."""

    zero: int
    m: int
    shift: int

    def apply(self, q: Array) -> Array:
        """int64 for int8."""
        return rescale(q.astype(np.int64) - self.zero, self.m, self.shift)


def start(operand: QParams, result: QParams) -> Start:
    """The Start of numbers stored as `operand`, in steps of `result`.

    Raises OverflowError if these are too small beside those.
    """
    ratio, shift = operand.scale[0] / result.scale[0], 0
    while round(ratio * 2.0 ** (32 - shift)) >= 2**31:
        shift += 1
    if shift > 22:
        raise OverflowError("the initial state is far beyond the range of the state")
    return Start(operand.zero_point, round(ratio * 2.0 ** (32 - shift)), shift)


@dataclass(frozen=True)
class CellRule(ABC):
    """One step of a recurrent layer.

    x, h: the sums over the input and over the state. bias: int64, one per gate. f: the curve of
    the gates. out: what makes an int8 of a result. starts: of the initial state.
    """

    x: Sums
    h: Sums
    bias: Array = field(compare=False)
    f: Curve
    out: Requant
    starts: tuple[Start, ...]

    @abstractmethod
    def step(self, x: Array, state: State) -> State:
        """The state after the input x, int8 (B, I)."""

    @abstractmethod
    def first(self, batch: int, given: Sequence[Array]) -> State:
        """The state in the beginning; given: int8 (B or 1, H), nothing for zeros."""

    @property
    def hidden(self) -> int:
        """Numbers of the state h."""
        return int(self.h.weights.shape[1])

    def _given_h(self, batch: int, given: Sequence[Array]) -> Array:
        """The initial h in steps of the state, of which the first start tells; int64."""
        zeros = np.zeros((batch, self.hidden), dtype=np.int64)
        return zeros + self.starts[0].apply(given[0]) if given else zeros


def _sat(v: Array, bits: int) -> Array:
    limit = 2 ** (bits - 1)
    return np.asarray(np.clip(v, -limit, limit - 1), dtype=np.int8 if bits == 8 else np.int16)


@dataclass(frozen=True)
class RnnRule(CellRule):
    """h = requant(f(a))."""

    def first(self, batch: int, given: Sequence[Array]) -> State:
        return (_sat(self._given_h(batch, given) + self.out.zero_point, 8),)

    def step(self, x: Array, state: State) -> State:
        return (self.out.apply(self.f.apply(self.bias + self.x.apply(x) + self.h.apply(state[0]))),)


@dataclass(frozen=True)
class LstmRule(CellRule):
    """See the equations; gates in the order i, o, f, g of ONNX.

    peepholes: int64 (3, H), of i, o and f; None without. g, tanh: the curves of the candidate and
    of the cell. cell: bits of fraction of the cell.
    """

    peepholes: Array | None = field(compare=False)
    g: Curve
    tanh: Curve
    cell: int

    def first(self, batch: int, given: Sequence[Array]) -> State:
        h = _sat(self._given_h(batch, given) + self.out.zero_point, 8)
        c = np.zeros((batch, self.hidden), dtype=np.int64)
        return h, _sat(c + self.starts[1].apply(given[1]) if given else c, 16)

    def step(self, x: Array, state: State) -> State:
        h, c = state[0], state[1].astype(np.int64)
        sums = self.bias + self.x.apply(x) + self.h.apply(h)
        i, o, f, g = np.split(sums, 4, axis=-1)
        forget, product = self.f.apply(f + self._peep(2, c)), self.f.apply(i + self._peep(0, c))
        product = (product * self.g.apply(g)) >> (self.g.result - self.cell)
        c = _sat((forget * c + product + 2**14) >> 15, 16).astype(np.int64)
        gate = self.f.apply(o + self._peep(1, c))
        h = self.out.apply((gate * self.tanh.apply(self.of_cell(c))) >> 14)
        return h, c.astype(np.int16)

    def _peep(self, gate: int, c: Array) -> Array:
        if self.peepholes is None:
            return np.zeros_like(c)
        return np.asarray((self.peepholes[gate] * c) >> 16)

    def of_cell(self, c: Array) -> Array:
        """The cell in the units that its curve reads."""
        down = self.cell - self.tanh.operand
        return (c + (1 << down >> 1)) >> down if down >= 0 else c << -down


@dataclass(frozen=True)
class GruRule(CellRule):
    """See the equations; gates in the order z, r, n of ONNX.

    n: the sums over the state for the candidate. n_bias: int64, of these sums where they are reset
    as a whole; None where the state is reset before they are summed. g: the curve of the candidate.
    cell: bits of fraction of the int16 state.
    """

    n: Sums
    n_bias: Array | None = field(compare=False)
    g: Curve
    cell: int

    def first(self, batch: int, given: Sequence[Array]) -> State:
        wide = _sat(self._given_h(batch, given), 16)
        return self.out.apply(wide), wide

    def step(self, x: Array, state: State) -> State:
        h, wide = state[0], state[1].astype(np.int64)
        sums = self.bias + self.x.apply(x)
        z, r = np.split(self.f.apply(sums[:, : 2 * self.hidden] + self.h.apply(h)), 2, axis=-1)
        a = sums[:, 2 * self.hidden :]
        if self.n_bias is None:
            a = a + self.n.apply(self.out.apply((r * wide + 2**14) >> 15))
        else:
            a = a + ((2 * (self.n_bias + self.n.apply(h)) * r) >> 16)
        new = ((INT16 - z) * self.g.apply(a)) >> (self.g.result - self.cell)
        wide = _sat((z * wide + new + 2**14) >> 15, 16)
        return self.out.apply(wide), wide
