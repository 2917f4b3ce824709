"""Everything but sums of products of int8: other types, and operators that are no layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from bench.cost_parts import IMAGES, X, Y, by_rows, conv_graph, graph_of, rng
from mcucompile.ir import Graph, QParams, Value
from mcucompile.lower import lower
from mcucompile.ops.add import Add
from mcucompile.ops.concat import Concat
from mcucompile.ops.dense import Dense
from mcucompile.ops.float_elements import FloatFunction
from mcucompile.ops.global_pool import GlobalAveragePool, GlobalMaxPool
from mcucompile.ops.gru import Gru
from mcucompile.ops.lstm import Lstm
from mcucompile.ops.mul import Mul
from mcucompile.ops.pad import Pad
from mcucompile.ops.pool import AveragePool, MaxPool
from mcucompile.ops.recurrent import Activation
from mcucompile.ops.rnn import Rnn
from mcucompile.ops.softmax import Softmax
from mcucompile.ops.transpose import Transpose
from mcucompile.ops.unary import Unary
from mcucompile.ops.wide import Narrow
from mcucompile.ops.widened import widened
from mcucompile.plan.program import KernelCall, Target
from mcucompile.quant.float32 import FUNCTIONS as FLOAT_FUNCTIONS
from mcucompile.quant.float32 import REAL
from tests.support.graphs import as_float, as_int16, op_graph
from tests.support.layers import layer_graph
from tests.support.recurrent import recurrent_graph

# steps, input, hidden
_RECURRENT = [
    *[(28, 28, 20), (10, 40, 32), (6, 64, 64), (12, 5, 3), (20, 1, 16), (9, 13, 8), (5, 32, 48)],
    *[(16, 3, 12), (4, 20, 33), (1, 16, 16), (8, 10, 10), (3, 4, 2), (6, 2, 5), (4, 5, 3)],
    *[(5, 3, 7), (2, 8, 4), (4, 5, 4), (9, 1, 2)],
]


def wide() -> Iterator[KernelCall]:
    """Operators of which some activations are int16."""
    for h, w, c in [(12, 12, 16), (6, 5, 40), (9, 9, 10), (7, 11, 3), (5, 6, 64)]:
        image = (1, h, w, c)
        yield from _widened(conv_graph((h, w, c), 24, (1, 1)))
        yield from _widened(conv_graph((h, w, c), 8, (3, 3), pad=1))
        yield from _widened(conv_graph((h, w, c), c, (3, 3), pad=1, groups=c))
        yield from _widened(conv_graph((h, w, c), 12, (h, w)))
        yield from _widened(graph_of(Add("op", ()), image, image))
        yield from _widened(graph_of(GlobalAveragePool("op", ()), image))
        yield from _widened(graph_of(AveragePool("op", (), (3, 3), (2, 2)), image))
        narrow = [Value("x", image, "int16", QParams((X.scale[0] / 256,), bits=16))]
        yield from lower(op_graph(Narrow("op", ()), narrow, Y), Target()).calls


def _widened(graph: Graph) -> Iterator[KernelCall]:
    """The operator of `graph` with int16 out, in, and both."""
    (op,), y = graph.ops(), graph.value("y")
    for given, bits in ((False, 16), (True, 8), (True, 16)):
        operands = [as_int16(v) if given and not v.is_constant else v for v in graph.operands(op)]
        result = as_int16(y).q if bits == 16 else y.q
        yield from lower(op_graph(widened(op, bits), operands, result), Target()).calls


def real() -> Iterator[KernelCall]:
    """Operators on float32 numbers."""
    for number, (h, w, c) in enumerate(IMAGES):
        image = (1, h, w, c)
        graphs = [
            conv_graph((h, w, c), 24, (1, 1)),
            conv_graph((h, w, c), 10, (3, 3), pad=1),
            conv_graph((h, w, c), 8, (3, 3), (2, 2)),
            conv_graph((h, w, c), c, (3, 3), pad=1, groups=c),
            conv_graph((h, w, c), c, (5, 5), (2, 2), pad=2, groups=c),
            conv_graph((h, w, c), 12, (h, w)),
            graph_of(Add("op", ()), image, image),
            graph_of(Mul("op", ()), image, (1, 1, 1, c)),
            graph_of(GlobalAveragePool("op", ()), image),
            graph_of(AveragePool("op", (), (3, 3), (2, 2)), image),
            graph_of(MaxPool("op", (), (2, 2), (2, 2)), image, y=X),
            layer_graph(Dense("op", ()), (1, 16 * c), (12, 16 * c), rng()),
        ]
        for graph in graphs if number < 6 else graphs[:4]:
            yield from lower(as_float(graph), Target()).calls
        for name in sorted(FLOAT_FUNCTIONS):
            x = Value("x", image, "float32", REAL)
            graph = op_graph(FloatFunction("op", (), name, 0.3, 0.2), [x], REAL)
            (call,) = lower(graph, Target()).calls
            yield call
            yield by_rows(call, h)


def elementwise() -> Iterator[Graph]:
    for image in IMAGES:
        for kind in (Add, Mul):
            for clamp in (None, (0.0, 2.0)):
                yield graph_of(kind("op", (), clamp=clamp), (1, *image), (1, *image))
            yield graph_of(kind("op", ()), (1, *image), (1, 1, 1, image[2]))
        yield graph_of(Unary("op", (), "sigmoid"), (1, *image))
        yield graph_of(Add("op", (), rounding="tflite"), (1, *image), (1, *image))
        yield graph_of(GlobalAveragePool("op", (), rounding="tflite"), (1, *image))
    for rows, width in [(1, 10), (1, 1000), (1, 2), (5, 12), (1, 100), (7, 33)]:
        yield graph_of(Softmax("op", ()), (1, rows, width), y=QParams((1 / 256,), -128))


def recurrent() -> Iterator[Graph]:
    sigmoid, tanh = Activation("sigmoid"), Activation("tanh")
    for number, (time, width, hidden) in enumerate(_RECURRENT):
        fields: dict[str, Any] = {"hidden": hidden, "sequence": number % 2 == 0}
        for op in (
            Lstm("op", (), activations=(sigmoid, tanh, tanh), **fields, peepholes=number % 4 == 3),
            Gru("op", (), activations=(sigmoid, tanh), **fields, reset_sums=number % 2 == 1),
            Rnn("op", (), activations=(tanh,), **fields),
        ):
            numbers, rows = rng(), op.gates * hidden
            shapes = (rows, width), (rows, hidden), (op.added,)
            yield recurrent_graph(
                op, time, X, [QParams((1 / 128,))], [numbers.normal(0, 0.1, s) for s in shapes]
            )


def pools() -> Iterator[Graph]:
    for number, image in enumerate(IMAGES):
        clamp = (0.0, 2.0) if number % 2 else None
        for size, stride, pad in [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 1, 0), (3, 3, 0), (5, 1, 2)]:
            if min(image[:2]) < size:
                continue
            window = ((size, size), (stride, stride), (pad,) * 4)
            yield graph_of(MaxPool("op", (), *window, clamp=clamp), (1, *image), y=X)
            yield graph_of(AveragePool("op", (), *window, clamp=clamp), (1, *image))
        if number % 2:
            window = ((image[0], 1), (1, 1), (0, 0, 0, 0))
            yield graph_of(MaxPool("op", (), *window), (1, *image), y=X)
            yield graph_of(AveragePool("op", (), *window), (1, *image))
        yield graph_of(GlobalAveragePool("op", (), clamp), (1, *image))
        yield graph_of(GlobalMaxPool("op", (), clamp), (1, *image), y=X)
    for image in [(24, 24, 64), (7, 7, 320), (1, 1, 256), (1, 3, 160), (20, 20, 12), (2, 2, 192)]:
        yield graph_of(GlobalAveragePool("op", ()), (1, *image))
        yield graph_of(GlobalMaxPool("op", ()), (1, *image), y=X)


def moves() -> Iterator[Graph]:
    for h, w, c in IMAGES:
        x = (1, h, w, c)
        for axis, other in [(3, (1, h, w, 12)), (3, (1, h, w, 7)), (1, (1, 5, w, c))]:
            yield graph_of(Concat("op", (), axis), x, other, y=X)
        yield graph_of(Concat("op", (), 3), x, x, x, y=X)
        for mode, pads in product(("constant", "edge", "reflect"), _paddings()):
            yield graph_of(Pad("op", (), pads, 0.0, mode), x, y=X)
        for perm in [(0, 3, 1, 2), (0, 2, 3, 1), (0, 2, 1, 3), (0, 3, 2, 1)]:
            yield graph_of(Transpose("op", (), perm), x, y=X)


def _paddings() -> list[tuple[tuple[int, int], ...]]:
    none = (0, 0)
    return [(none, (1, 1), (1, 1), none), (none, (0, 2), (2, 1), none), (none, none, none, (0, 2))]
