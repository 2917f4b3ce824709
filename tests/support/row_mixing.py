"""Graphs of made-up operators that have rows, for tests of row streaming.

A row of a `RowMix` hashes all bytes of the rows it is computed from, and where they stand in its
window, into each of its bytes. Beside it there is what real networks have: kernels that see a
tensor as one long row and can be split, sums in place, gates that need a whole operand, sums folded
row by row, views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.ir import Array, Graph, Op, Shape, Value
from mcucompile.plan.program import Const, KernelCall, Operand, Program, RowWindow, Target, height
from tests.support.mixing import Builder

SAME = RowWindow()  # row y is computed from row y


@dataclass(frozen=True)
class Kernel:
    """What the kernel of a RowMix promises; see KernelCall.

    flat: it sees one long row, and can be split into rows if `splits`. folding: it can fold the
    rows of operand 0. turns: it has variants for 2 and 4 rows, with more scratch memory.
    """

    flat: bool = False
    splits: bool = True
    scratch: int = 0
    in_place: tuple[tuple[int, int], ...] = ()
    band: int = 0
    tile: tuple[int, int] | None = None
    takes_top: bool = False
    folding: bool = False
    turns: bool = False


@dataclass(frozen=True)
class RowMix(Op):
    """Results of the given shapes (1, rows, width, channels); windows: one per operand."""

    shapes: tuple[Shape, ...]
    windows: tuple[RowWindow | None, ...]
    runs: Kernel = Kernel()

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        return self.shapes

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        raise NotImplementedError

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        return self.windows[operand]

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        batch = max(len(a) for a in arrays)
        return tuple(self._hash(batch, shape, k, arrays) for k, shape in enumerate(self.shapes))

    def _hash(self, batch: int, shape: Shape, k: int, arrays: Sequence[Array]) -> Array:
        found = np.zeros((batch, *shape[1:]), dtype=np.int64)
        odd = 2 * np.arange(shape[2] * shape[3]).reshape(shape[2:]) + 1  # no byte change is lost
        for y in range(shape[1]):
            total = np.full((batch, 1, 1), y + k, dtype=np.int64)
            for slot, (a, window) in enumerate(zip(arrays, self.windows, strict=True)):
                total += 3 * slot + _sum(a, window, y)
            found[:, y] = total * odd + odd // 2
        return found.astype(np.int8)

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        runs = self.runs
        call = KernelCall(
            op=self.name,
            kernel="mcuc_row_mix_s8",
            header="mcuc/row_mix.h",
            params={
                "width": self.shapes[0][1] * self.shapes[0][2],
                "table": Const("table", np.zeros(16, dtype=np.int8)),
            },
            reads=tuple(self._operand(v) for v in operands),
            writes=tuple(self._operand(v) for v in results),
            scratch=runs.scratch,
            in_place=runs.in_place,
            band=runs.band,
            tile=runs.tile,
            row_unit="width" if runs.flat and runs.splits else "",
            takes_top=runs.takes_top,
            why="it mixes rows",
            macs=sum(v.elements for v in operands) * results[0].shape[3],
        )
        if runs.turns:
            more = {n: replace(call, kernel=f"mcuc_row_mix{n}_s8", scratch=8 * n) for n in (2, 4)}
            call = replace(call, turns=more)
        if runs.folding:
            folds = replace(call, folds=True, in_place=(), turns={}, windows=(SAME,))
            sums = 4 * results[0].elements
            call = replace(call, folding=replace(folds, kernel="mcuc_fold_s8", scratch=sums))
        return call

    def _operand(self, value: Value) -> Operand:
        rows = 1 if self.runs.flat else height(value.shape)
        return Operand(value.name, rows, value.elements // rows)


def _sum(array: Array, window: RowWindow | None, y: int) -> Array:
    """A hash of the rows of `array`, (batch, rows, ...), that row y is computed from."""
    rows = array.shape[1] if array.ndim == 4 else 1
    flat = array.reshape(len(array), rows, -1).astype(np.int64)
    first, end, start = 0, rows, 0
    if window is not None:
        first, end = window.begin(y, rows), window.end(y, rows)
        start = y * window.stride // window.divide - window.top
    seen = flat[:, first : max(first, end)]
    at = (np.arange(seen.shape[1]) + first - start)[:, None] * flat.shape[2]
    weights = 2 * (at + np.arange(flat.shape[2])) + 1
    return np.asarray((seen * weights).sum(axis=(1, 2))[:, None, None])


class RowBuilder(Builder):
    """Builds graphs of RowMix operators as well. inputs: (rows, width, channels) each."""

    def __init__(self, *inputs: tuple[int, int, int]) -> None:
        super().__init__()
        names = [f"in{i}" for i in range(len(inputs))]
        self.inputs = [self._value(n, (1, *s)) for n, s in zip(names, inputs, strict=True)]
        self.graph.inputs = tuple(names)

    def rows(
        self,
        name: str,
        operands: Sequence[Value],
        windows: Sequence[RowWindow | None],
        shape: tuple[int, int, int],
        runs: Kernel = Kernel(),
    ) -> Value:
        """A RowMix with one result, which is called like the op."""
        op = RowMix(name, (name,), ((1, *shape),), tuple(windows), runs)
        result = self._value(name, (1, *shape))
        self.graph.add_op(op, [v.name for v in operands], [name])
        return result

    # -- what networks consist of -----------------------------------------------------------

    def conv(self, name: str, x: Value, window: RowWindow, channels: int, **runs: object) -> Value:
        """As many rows as there are windows that begin inside `x`."""
        _, rows, width, _ = x.shape
        count = max(1, -(-(rows + window.top) // window.stride))
        made = {"band": 1, **runs}
        return self.rows(name, [x], [window], (count, width, channels), Kernel(**made))  # type: ignore[arg-type]

    def pointwise(self, name: str, x: Value, channels: int) -> Value:
        _, rows, width, old = x.shape
        runs = Kernel(flat=True, scratch=8, tile=(4 * old, 4 * channels))
        return self.rows(name, [x], [SAME], (rows, width, channels), runs)

    def depthwise(self, name: str, x: Value, size: int = 3, stride: int = 1) -> Value:
        """May take the top row of its window, or run in place as a whole."""
        _, rows, width, channels = x.shape
        window = RowWindow(size, stride, size // 2)
        runs = Kernel(scratch=12, band=1, takes_top=True, in_place=((0, 0),))
        shape = (-(-rows // stride), width, channels)
        return self.rows(name, [x], [window], shape, runs)

    def add(self, name: str, *operands: Value, in_place: Sequence[int] | None = None) -> Value:
        """Element by element, over any of the operands or those in slots `in_place`."""
        slots = range(len(operands)) if in_place is None else in_place
        runs = Kernel(flat=True, in_place=tuple((s, 0) for s in slots))
        _, *shape = operands[0].shape
        return self.rows(name, operands, [SAME] * len(operands), tuple(shape), runs)  # type: ignore[arg-type]

    def pool(self, name: str, x: Value) -> Value:
        """One pixel of all rows, which can be folded."""
        runs = Kernel(folding=True, scratch=4)
        window = RowWindow(x.shape[1], 1, 0)
        return self.rows(name, [x], [window], (1, 1, x.shape[3]), runs)

    def block(self, name: str, x: Value, size: int = 3, stride: int = 1) -> Value:
        """An inverted residual: expanded, depthwise, projected, and the sum if it fits."""
        expanded = self.pointwise(name + "x", x, 3 * x.shape[3])
        filtered = self.depthwise(name + "d", expanded, size, stride)
        projected = self.pointwise(name + "p", filtered, x.shape[3])
        same = projected.shape == x.shape
        return self.add(name, x, projected, in_place=[1]) if same else projected

    def gate(self, name: str, x: Value, by: Value) -> Value:
        """Every row of `x` needs all of `by`."""
        _, rows, width, channels = x.shape
        runs = Kernel(in_place=((0, 0),), band=1)
        return self.rows(name, [x, by], [SAME, None], (rows, width, channels), runs)


# -- random graphs ----------------------------------------------------------------------------


def random_row_graph(rng: np.random.Generator, ops: int) -> tuple[Graph, Program]:
    """Windows of all sorts, branches, sums, gates, folded sums, views, several outputs."""

    def shape() -> tuple[int, int, int]:
        return int(rng.integers(1, 14)), int(rng.integers(1, 4)), int(rng.integers(1, 7))

    build = RowBuilder(*(shape() for _ in range(int(rng.integers(1, 3)))))
    pool = list(build.inputs)
    kinds = list(_KINDS.values())
    weights = np.array([4.0, 2, 4, 3, 2, 2, 1, 1, 1, 1, 0.5])
    for i in range(ops):
        x = pool[max(0, len(pool) - int(rng.geometric(0.6)))]
        kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
        pool.append(kind(build, rng, f"n{i}", x, pool))
    outputs = [pool[-1]]
    if rng.random() < 0.4:
        outputs.append(pool[int(rng.integers(len(pool)))])
    return build.graph, build.program(*dict.fromkeys(outputs))


def _window_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    """Any window: larger than the operand, in the padding alone, or leaving rows unread."""
    rows = height(x.shape)
    size, stride = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    window = RowWindow(size, stride, int(rng.integers(-1, size + 2)))
    if rng.random() < 0.15:
        window = RowWindow(int(rng.integers(1, 3)), 1, int(rng.integers(0, 2)), 2)
    most = (rows + 3) * window.divide // window.stride + 1
    count = int(rng.integers(1, max(2, min(most, 16))))
    runs = Kernel(
        scratch=int(rng.integers(0, 30)) if rng.random() < 0.5 else 0,
        band=int(rng.choice([0, 1, 1, 2])),
        turns=bool(rng.random() < 0.3),
    )
    return build.rows(name, [x], [window], (count, *_pixels(rng)), runs)


def _pixels(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(1, 4)), int(rng.integers(1, 7))


def _depthwise_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    if len(x.shape) != 4:
        return _flat_op(build, rng, name, x, pool)
    _, rows, width, channels = x.shape
    size, stride = int(rng.integers(1, 6)), int(rng.integers(1, 3))
    window = RowWindow(size, stride, int(rng.integers(0, size)))
    count = max(1, int(rng.integers(rows // stride, rows // stride + 2)))
    whole = ((0, 0),) if rng.random() < 0.5 else ()
    runs = Kernel(scratch=int(rng.integers(0, 12)), band=1, takes_top=True, in_place=whole)
    fewer = max(1, channels - int(rng.integers(0, 2)))
    return build.rows(name, [x], [window], (count, width, fewer), runs)


def _block_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    if len(x.shape) != 4:
        return _flat_op(build, rng, name, x, pool)
    return build.block(name, x, int(rng.choice([1, 2, 3, 5])), int(rng.choice([1, 1, 2])))


def _unary_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    if len(x.shape) != 4:
        return _flat_op(build, rng, name, x, pool)
    _, rows, width, channels = x.shape
    more = max(1, channels + int(rng.integers(-2, 3)))
    if rng.random() < 0.5:
        runs = Kernel(flat=True, scratch=4, tile=(2 * channels, 2 * more))
        return build.rows(name, [x], [SAME], (rows, width, more), runs)
    runs = Kernel(flat=True, splits=bool(rng.random() < 0.8), in_place=((0, 0),))
    return build.rows(name, [x], [SAME], (rows, width, channels), runs)


def _sum_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    """Of values of the same shape; `x` is made one that there is twice if it is alone."""
    others = [v for v in pool if v.shape == x.shape] if len(x.shape) == 4 else []
    if len(x.shape) != 4:
        return _flat_op(build, rng, name, x, pool)
    y = others[int(rng.integers(len(others)))]
    if y is x and rng.random() < 0.8:
        y = build.conv(name + "m", x, RowWindow(3, 1, 1), x.shape[3])
        y = build.rows(name + "s", [y], [RowWindow(1, 1, 0)], x.shape[1:], Kernel(band=1))  # type: ignore[arg-type]
    pairs = [s for s in (0, 1) if rng.random() < 0.8 or y is x]
    return build.add(name, x, y, in_place=pairs)


def _gate_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    if len(x.shape) != 4:
        return _flat_op(build, rng, name, x, pool)
    mean = build.pool(name + "p", x)
    return build.gate(name, x, build.pointwise(name + "e", mean, x.shape[3]))


def _fold_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    return build.pool(name, x) if len(x.shape) == 4 else _flat_op(build, rng, name, x, pool)


def _concat_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    rows = height(x.shape)
    others = [v for v in pool if height(v.shape) == rows]
    y = others[int(rng.integers(len(others)))]
    return build.rows(name, [x, y], [SAME, SAME], (rows, *_pixels(rng)), Kernel(band=1))


def _any_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    """Needs all rows of one operand, and a window of another one."""
    y = pool[int(rng.integers(len(pool)))]
    windows = [None, RowWindow(3, 1, 1)]
    rows = int(rng.integers(1, height(y.shape) + 2))
    return build.rows(name, [x, y], windows, (rows, *_pixels(rng)), Kernel(band=1))


def _flat_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    """A view with other rows, and an operator that knows no rows."""
    view = build.view(name + "v", x)
    return build.mix(name, [view], int(rng.integers(1, 20)))[0] if rng.random() < 0.5 else view


def _constant_op(
    build: RowBuilder, rng: np.random.Generator, name: str, x: Value, pool: list[Value]
) -> Value:
    table = build.constant(f"c{name}", 5)
    shape = (height(x.shape), *_pixels(rng))
    return build.rows(name, [x, table], [SAME, None], shape, Kernel(band=1))


_Kind = Callable[[RowBuilder, np.random.Generator, str, Value, list[Value]], Value]
_KINDS: dict[str, _Kind] = {
    "window": _window_op,
    "depthwise": _depthwise_op,
    "block": _block_op,
    "sum": _sum_op,
    "unary": _unary_op,
    "gate": _gate_op,
    "fold": _fold_op,
    "concat": _concat_op,
    "any": _any_op,
    "flat": _flat_op,
    "constant": _constant_op,
}
