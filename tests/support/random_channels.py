"""Random quantized graphs in which many channels are dead or constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Op, Port, Value
from mcucompile.ops.add import Add
from mcucompile.ops.concat import Concat
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.mul import Mul
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import Unary
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize, uncalibrated

RELU = (0.0, float("inf"))


class RandomChannels:
    """A float graph in the making. Each method adds an operator behind the value `x`."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("random")
        shape = (1, self._int(3, 6), self._int(3, 6), self._int(1, 6))
        self.values = [self.graph.add_value(Value("x", shape))]
        self.graph.inputs = ("x",)
        self.graph.input_ports = (Port("x", shape, "int8"),)

    def build(self, length: int) -> Graph:
        """A quantized graph of `length` operators or so; what nobody reads is an output."""
        self.conv(self.values[0])
        kinds: list[Callable[[Value], None]] = [
            *[self.conv] * 4,
            *[self.depthwise] * 3,
            *[self.binary] * 3,
            *[self.concat] * 2,
            self.grouped,
            self.constant,
            self.unary,
            self.pool,
            self.pad,
            self.move,
        ]
        for _ in range(length):
            x = self.values[-1] if self._chance(0.8) else self._pick(self.values)
            self._pick(kinds)(x)
        x = self.values[-1]
        for finish in (self.global_pool, self.flatten, self.dense, self.softmax):
            if self._chance(0.6):
                finish(self.values[-1])
        unread = [v for v in self.values[1:] if not self.graph.users(v)]
        self.graph.outputs = tuple(v.name for v in unread)
        self.graph.output_ports = tuple(Port(v.name, v.shape, "int8") for v in unread)
        return self._quantized()

    # -- one method per kind of operator ------------------------------------------------------

    def conv(self, x: Value) -> None:
        if len(x.shape) == 4:
            self._conv(x, 1, self._int(1, 12))

    def depthwise(self, x: Value) -> None:
        if len(x.shape) == 4:
            self._conv(x, x.shape[3], x.shape[3] * self._int(1, 2))

    def grouped(self, x: Value) -> None:
        if len(x.shape) == 4 and x.shape[3] % 2 == 0:
            self._conv(x, 2, 2 * self._int(1, 4))

    def _conv(self, x: Value, groups: int, cout: int) -> None:
        kernel = (1, 1) if self._chance(0.5) else (self._int(1, 3), self._int(1, 3))
        pads = tuple(self._int(0, k - 1) for k in (*kernel, *kernel))
        if any(d + pads[i] + pads[i + 2] < kernel[i] for i, d in enumerate(x.shape[1:3])):
            return
        strides = (self._int(1, 2), self._int(1, 2))
        clamp = RELU if self._chance(0.7) else None
        weights = self._weights(cout, *kernel, x.shape[3] // groups)
        op = Conv2d(*self._name(), strides=strides, pads=pads, groups=groups, clamp=clamp)
        self._add(op, x, *weights)

    def dense(self, x: Value) -> None:
        weights = self._weights(self._int(1, 9), x.shape[-1])
        self._add(Dense(*self._name(), clamp=RELU if self._chance(0.3) else None), x, *weights)

    def binary(self, x: Value) -> None:
        """Of two equal shapes, or with a gate per channel or pixel."""
        gate = (1,) * (len(x.shape) - 1) + x.shape[-1:]
        shapes = {x.shape, gate, (*x.shape[:-1], 1)}
        other = self._pick([v for v in self.values if v.shape in shapes])
        name, origin = self._name()
        sign = 1 if self._chance(0.5) else -1
        op = Mul(name, origin) if self._chance(0.4) else Add(name, origin, sign=sign)
        self._add(op, *((x, other) if self._chance(0.5) else (other, x)))

    def constant(self, x: Value) -> None:
        shape = self._pick([(1,) * len(x.shape), x.shape[-1:], x.shape])
        data = self.rng.normal(size=shape) * (self.rng.random(shape) < 0.5)
        op = Mul(*self._name()) if self._chance(0.5) else Add(*self._name())
        self._add(op, x, self.graph.constant("c", data))

    def unary(self, x: Value) -> None:
        function = self._pick(["relu", "sigmoid", "hardswish", "abs", "neg"])
        self._add(Unary(*self._name(), function=function), x)

    def pool(self, x: Value) -> None:
        if len(x.shape) != 4:
            return
        kernel = (min(2, x.shape[1]), min(2, x.shape[2]))
        pads = (0, 0, self._int(0, kernel[0] - 1), self._int(0, kernel[1] - 1))
        kind = MaxPool if self._chance(0.5) else AveragePool
        op = kind(*self._name(), kernel=kernel, strides=(1, 2), pads=pads)
        if isinstance(op, AveragePool):
            op = replace(op, count_include_pad=self._chance(0.5))
        self._add(op, x)

    def pad(self, x: Value) -> None:
        pads = [(0, 0), *((self._int(0, 1), self._int(0, 1)) for _ in x.shape[1:])]
        if self._chance(0.8):
            pads[-1] = (0, 0)
        value = float(self._pick([0.0, -1.0, 0.5]))
        self._add(Pad(*self._name(), pads=tuple(pads), value=value), x)

    def concat(self, x: Value) -> None:
        axis = self._int(1, len(x.shape) - 1) if self._chance(0.3) else len(x.shape) - 1

        def rest(value: Value) -> list[int]:
            return [d for i, d in enumerate(value.shape) if i != axis]

        fitting = [v for v in self.values if len(v.shape) == len(x.shape) and rest(v) == rest(x)]
        self._add(Concat(*self._name(), axis=axis), x, self._pick(fitting))

    def move(self, x: Value) -> None:
        """A Transpose or a Reshape there; and one back, perhaps."""
        if len(x.shape) != 4:
            return
        _, h, w, c = x.shape
        if self._chance(0.5):
            perm = (0, 2, 1, 3) if self._chance(0.7) else (0, 3, 1, 2)
            self._add(Transpose(*self._name(), perm=perm), x)
            return
        self._add(Reshape(*self._name(), shape=(1, h, w * c)), x)
        if self._chance(0.8):
            self._add(Reshape(*self._name(), shape=(1, w, h, c)), self.values[-1])

    def global_pool(self, x: Value) -> None:
        if len(x.shape) == 4:
            kind = GlobalAveragePool if self._chance(0.5) else GlobalMaxPool
            self._add(kind(*self._name()), x)

    def flatten(self, x: Value) -> None:
        self._add(Reshape(*self._name(), shape=(1, x.elements)), x)

    def softmax(self, x: Value) -> None:
        self._add(Softmax(*self._name()), x)

    # -- helpers ------------------------------------------------------------------------------

    def _weights(self, *shape: int) -> tuple[Value, Value]:
        """Weights and bias. Some channels have no weights, some are not read, and some have a bias
        that saturates them."""
        w = self.rng.normal(size=shape)
        w[self.rng.random(shape[0]) < 0.25] = 0
        w[..., self.rng.random(shape[-1]) < 0.25] = 0
        b = self.rng.normal(size=shape[0]) * self.rng.choice([0, 1, 1, 30], shape[0])
        return self.graph.constant("w", w), self.graph.constant("b", b)

    def _add(self, op: Op, *operands: Value) -> None:
        if not any(v.is_constant or v in self.values for v in operands):
            return
        self.values += self.graph.append(op, operands)

    def _quantized(self) -> Graph:
        """Ranges are drawn so that layers with and without a shift occur."""
        scale = {v.name: 4.0 ** self.rng.integers(-1, 2) for v in uncalibrated(self.graph)}
        ranges = {n: (-s * self._int(0, 2), s * self._int(1, 3)) for n, s in scale.items()}
        return legalize(quantize(self.graph, ranges))

    def _name(self) -> tuple[str, tuple[str, ...]]:
        name = self.graph.fresh_name(f"op{len(self.values)}")
        return name, (name,)

    def _int(self, lo: int, hi: int) -> int:
        return int(self.rng.integers(lo, hi + 1))

    def _chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def _pick(self, options):
        return options[self._int(0, len(options) - 1)]


def random_channels(seed: int, length: int = 8) -> Graph:
    """The quantized graph number `seed`."""
    return RandomChannels(seed).build(length)
