"""Random quantized image networks: convolutions, pools, sums, tables and joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mcucompile.ir import Graph, Op, Port, QParams, Value
from mcucompile.ops.add import Add
from mcucompile.ops.concat import Concat
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.unary import Unary

SCALE = 0.05


class Stack:
    """A quantized graph in the making, of images (1, height, width, channels)."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("stack")
        self.graph.inputs, self.graph.input_ports = ("x",), (Port("x", (1, *shape), "int8"),)
        self.last = self.graph.add_value(Value("x", (1, *shape), "int8", self._qparams()))

    def done(self, *outputs: Value) -> Graph:
        """The graph; outputs: the last value if none are given."""
        found = outputs or (self.last,)
        self.graph.outputs = tuple(v.name for v in found)
        self.graph.output_ports = tuple(Port(v.name, v.shape, "int8") for v in found)
        return self.graph

    def _qparams(self) -> QParams:
        return QParams(
            (float(SCALE * self.rng.uniform(0.7, 1.4)),), int(self.rng.integers(-40, 40))
        )

    def add(self, op: Op, operands: Sequence[Value], qparams: QParams | None = None) -> Value:
        """Add `op`; its result is the last value."""
        (result,) = self.graph.append(op, operands, (op.name,))
        stored = replace(result, dtype="int8", qparams=qparams or self._qparams())
        self.last = self.graph.set_value(stored)
        return self.last

    def _name(self, wish: str) -> tuple[str, tuple[str, ...]]:
        name = self.graph.fresh_name(wish)
        return name, (name,)

    def conv(
        self,
        x: Value,
        channels: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        dilations: tuple[int, int] = (1, 1),
        clamp: tuple[float, float] | None = None,
    ) -> Value:
        """channels: of the result; 0 for a depthwise convolution."""
        groups = 1 if channels else x.shape[3]
        shape = (channels or x.shape[3], *kernel, x.shape[3] // groups)
        weights = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = SCALE / (60 * np.sqrt(np.prod(shape[1:]) * SCALE)) * np.ones(shape[0])
        bias = self.rng.integers(-3000, 3000, shape[0]).astype(np.int32)
        name, origin = self._name("conv" if channels else "depthwise")
        per_channel = QParams(tuple(scale.tolist()), 0, 0)
        sums = QParams(tuple((x.q.scale[0] * scale).tolist()), 0, 0)
        w = self.graph.add_value(Value(f"{name}_w", shape, "int8", per_channel, weights))
        b = self.graph.add_value(Value(f"{name}_b", shape[:1], "int32", sums, bias))
        op = Conv2d(name, origin, strides, pads, dilations, groups, clamp)
        return self.add(op, (x, w, b))

    def pool(self, x: Value, kind: type[MaxPool | AveragePool], *geometry: object) -> Value:
        """geometry: kernel, strides, pads, dilations."""
        op = kind(*self._name("pool"), *geometry)  # type: ignore[arg-type]
        return self.add(op, (x,), x.q if kind is MaxPool else None)

    def mean(self, x: Value, counts_padding: bool, *geometry: object) -> Value:
        pool = AveragePool(*self._name("mean"), *geometry)  # type: ignore[arg-type]
        return self.add(replace(pool, count_include_pad=counts_padding), (x,))

    def sum(self, a: Value, b: Value) -> Value:
        return self.add(Add(*self._name("sum")), (a, b))

    def table(self, x: Value) -> Value:
        return self.add(Unary(*self._name("table"), function="sigmoid"), (x,))

    def join(self, *parts: Value, axis: int = 3) -> Value:
        """Parts of equal quantization, side by side."""
        alike = [self.graph.set_value(replace(v, qparams=parts[0].q)) for v in parts]
        return self.add(Concat(*self._name("join"), axis=axis), alike, parts[0].q)


def random_stack(rng: np.random.Generator, length: int) -> Graph:
    """`length` operators or a few more, all of which can be computed in patches."""
    size = rng.integers(5, 14, 2)
    stack = Stack(
        (int(size[0]), int(size[1]), int(rng.choice([1, 3, 4, 6]))), int(rng.integers(99))
    )
    kinds = [_conv, _conv, _pointwise, _depthwise, _depthwise, _pool, _residual, _branches]
    for _ in range(length):
        kinds[rng.integers(len(kinds))](stack, rng)
    return stack.done()


def _pair(rng: np.random.Generator, *choices: int) -> tuple[int, int]:
    first, second = rng.choice(choices, 2)
    return int(first), int(second)


def _window(
    stack: Stack, rng: np.random.Generator, most: int = 5
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int], tuple[int, int]]:
    """Kernel, strides, pads and dilations of windows that fit, and each of which sees something."""
    while True:
        kernel, strides = _pair(rng, 1, 2, 3, 3, most), _pair(rng, 1, 1, 2, 3)
        dilations = _pair(rng, 1, 1, 1, 2)
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        pads = [int(rng.integers(0, reach[i % 2])) for i in range(4)]
        size = stack.last.shape[1:3]
        if all(d + pads[i] + pads[i + 2] >= reach[i] for i, d in enumerate(size)):
            return kernel, strides, (pads[0], pads[1], pads[2], pads[3]), dilations


def _conv(stack: Stack, rng: np.random.Generator) -> None:
    clamp = (0.0, 3.0) if rng.random() < 0.5 else None
    stack.conv(stack.last, int(rng.choice([2, 3, 4, 8])), *_window(stack, rng), clamp=clamp)


def _pointwise(stack: Stack, rng: np.random.Generator) -> None:
    stack.conv(stack.last, int(rng.choice([3, 4, 8])), (1, 1), (1, 1), (0, 0, 0, 0))


def _depthwise(stack: Stack, rng: np.random.Generator) -> None:
    stack.conv(stack.last, 0, *_window(stack, rng, 7))


def _pool(stack: Stack, rng: np.random.Generator) -> None:
    kernel, strides, pads, dilations = _window(stack, rng, 4)
    if any(d > 1 for d in dilations):  # a window between dilated taps may see only padding
        pads = (0, 0, 0, 0)
    size = stack.last.shape[1:3]
    if any((k - 1) * d + 1 > n for k, d, n in zip(kernel, dilations, size, strict=True)):
        return
    if rng.random() < 0.5:
        stack.pool(stack.last, MaxPool, kernel, strides, pads, dilations)
    else:
        stack.mean(stack.last, bool(rng.random() < 0.5), kernel, strides, pads, dilations)


def _residual(stack: Stack, rng: np.random.Generator) -> None:
    x = stack.last
    y = stack.conv(x, 2 * x.shape[3], (1, 1), (1, 1), (0, 0, 0, 0))
    y = stack.conv(y, 0)
    stack.sum(x, stack.conv(y, x.shape[3], (1, 1), (1, 1), (0, 0, 0, 0)))


def _branches(stack: Stack, rng: np.random.Generator) -> None:
    x = stack.last
    stack.join(stack.conv(x, 3), stack.conv(x, 4, (1, 1), (1, 1), (0, 0, 0, 0)))
    if rng.random() < 0.5:
        stack.table(stack.last)
