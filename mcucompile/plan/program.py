"""Program: an ordered list of kernel calls. Says in which order and with which kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mcucompile.ir.types import Array, Shape, Value

Optimize = Literal["time", "balanced", "ram"]
Packing = Literal["palette", "huffman"]


@dataclass(frozen=True)
class Target:
    """What lowering may know of the board: its core, and what to optimize for.

    flash: bytes that kernels may spend on faster constants, None for any number.
    winograd: use Winograd convolutions wherever possible (True), never (False), where they pay.
    sparse: leave out blocks of weights that are zero: the same choice.
    packed: weights to store in fewer bits, by the name of their value ("" for all), and how.
    """

    core: str = "cortex-m4"
    dsp: bool = True
    optimize: Optimize = "balanced"
    flash: int | None = None
    winograd: bool | None = None
    sparse: bool | None = None
    packed: Mapping[str, Packing] = field(default_factory=dict)


@dataclass(frozen=True)
class Const:
    """A constant array in flash, read by a kernel: packed weights, tables, pointers' targets.

    data: a one-dimensional array; its dtype (int8, int16, int32, uint8, uint32) gives the C type.
    Arrays are 4-byte aligned.
    """

    name: str
    data: Array = field(repr=False, compare=False)


@dataclass(frozen=True)
class RowWindow:
    """The rows of an operand from which row y of the result is computed.

    They are the `size` rows from y * stride // divide - top on, as far as they exist.
    """

    size: int = 1
    stride: int = 1
    top: int = 0
    divide: int = 1

    def begin(self, y: int, rows: int) -> int:
        """The first of the operand's `rows` rows that row y, or any later one, is computed from."""
        return min(max(y * self.stride // self.divide - self.top, 0), rows)

    def end(self, y: int, rows: int) -> int:
        """How many of the operand's `rows` rows there must be before row y can be computed."""
        return min(max(y * self.stride // self.divide - self.top + self.size, 0), rows)


def height(shape: Shape) -> int:
    """Rows of a tensor: the height of an image, otherwise one."""
    return shape[1] if len(shape) == 4 else 1


@dataclass(frozen=True)
class Operand:
    """A tensor as a kernel sees it: `rows` rows of `row_bytes` contiguous bytes."""

    value: str
    rows: int
    row_bytes: int

    @property
    def size(self) -> int:
        return self.rows * self.row_bytes

    def split(self, rows: int) -> Operand:
        """The same bytes as `rows` rows."""
        return Operand(self.value, rows, self.size // rows)


@dataclass(frozen=True)
class Inset:
    """Where the bytes of a value are set into those of another one, `root`.

    They are `rows` rows of `row_bytes` bytes, the first from byte `offset` on, `pitch` bytes apart.
    """

    root: str
    offset: int
    rows: int
    row_bytes: int
    pitch: int

    @property
    def is_dense(self) -> bool:
        """Do its bytes follow each other?"""
        return self.rows == 1 or self.pitch == self.row_bytes

    def within(self, outer: Inset) -> Inset:
        """The same bytes in what the root is set into.

        Raises ValueError if they are not equally spaced there.
        """
        if outer.is_dense:
            return replace(self, root=outer.root, offset=outer.offset + self.offset)
        row, at = divmod(self.offset, outer.row_bytes)
        skewed = self.rows > 1 and self.pitch != outer.row_bytes
        if skewed or at + self.row_bytes > outer.row_bytes:
            raise ValueError("its rows are not rows of the root")
        return replace(
            self,
            root=outer.root,
            offset=outer.offset + row * outer.pitch + at,
            pitch=outer.pitch,
        )

    def bytes(self, first: int, size: int) -> Array:
        """Bytes [first, first + size) of the value as numbers of bytes of the root."""
        row, at = np.divmod(np.arange(first, first + size), self.row_bytes)
        return np.asarray(self.offset + row * self.pitch + at)


def inset(
    root: str, shape: Shape, name: str, size: Shape, start: Sequence[int]
) -> dict[str, Inset]:
    """{name: where a box of `size`, from index `start` on, is in `root` of `shape`}; {} if its rows
    are not equally spaced runs of bytes."""
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    offset = sum(i * step for i, step in zip(start, steps, strict=True))
    cut = [axis for axis, (d, n) in enumerate(zip(shape, size, strict=True)) if n < d]
    if len(cut) == 1 and math.prod(shape[: cut[0]]) == 1:
        rows = height(size)
        length = math.prod(size) // rows
        return {name: Inset(root, offset, rows, length, length)}
    if len(shape) == 4 and set(cut) <= {1, 2}:
        return {name: Inset(root, offset, size[1], size[2] * size[3], shape[2] * shape[3])}
    return {}


@dataclass(frozen=True)
class KernelCall:
    """One call of a runtime kernel, as data. The emitter renders any call the same way.

    op: name of the graph operator it computes.
    kernel: C function, e.g. "mcuc_conv1x1_s8". Its parameter struct is `<kernel>_params`.
    header: the runtime header that defines it, e.g. "mcuc/conv1x1.h".
    params: the struct's fields in order; a Const becomes a pointer to its array, a float a float32.
    reads, writes: operands in slot order. A constant activation operand is read from flash.
    scratch: bytes of 4-aligned scratch memory the kernel needs for exactly these params.
    state: bytes that the kernel keeps from one run to the next, and that are zero where it is to
        begin anew. It sees them as one more result.
    in_place: pairs (read index, write index) which may share their bytes (same base address).
    windows: per read, the rows that a row of the (only) result is computed from; None where it
        may be any. Empty: None for all.
    band: the kernel computes the result from top to bottom, this many rows at a time, and while it
        computes those from y on, it reads no row of an operand before window.begin(y). 0 if it
        goes another way. A call for some of the rows begins at a multiple of it.
    reads_once: in one call for all rows, the kernel reads each row of operand 0 but once, before it
        writes the first row of the result that needs it.
    tile: (bytes of operand 0, bytes of the result): the kernel walks over both in such tiles, and
        has read all of a tile before it writes the tile of the result.
    row_unit: the parameter that counts what the only row of this call is made of; the kernel
        computes as well h rows of an h-th of it. Empty: rows are what they are.
    takes_top: computed one row at a time, a row of the result may take the place of the first row
        of its window of operand 0, even one that is only read for it.
    folds: the kernel is called for rows [y0, y1) of operand 0, not of the result: it keeps sums in
        scratch from the call with y0 == 0 on, and writes the result in that with the last row.
    folding: the call that computes the same by folding, if this one does not.
    pitched: rows of operands and results may lie further apart than they are long, if the call
        sees them as rows.
    turns: number of rows -> the kernel to use where that many rows are computed in one call.
    why: why this kernel was chosen; stands in the generated code and in the report.
    macs: multiply-accumulates.
    row_macs: those of one row of operand 0, if each call that reads the row forms them anew.
    """

    op: str
    kernel: str
    header: str
    params: Mapping[str, int | float | Const]
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    scratch: int = 0
    state: int = 0
    in_place: tuple[tuple[int, int], ...] = ()
    windows: tuple[RowWindow | None, ...] = ()
    band: int = 0
    reads_once: bool = False
    tile: tuple[int, int] | None = None
    row_unit: str = ""
    takes_top: bool = False
    folds: bool = False
    folding: KernelCall | None = None
    pitched: bool = False
    turns: Mapping[int, KernelCall] = field(default_factory=dict)
    why: str = ""
    macs: int = 0
    row_macs: int = 0

    @property
    def consts(self) -> tuple[Const, ...]:
        return tuple(p for p in self.params.values() if isinstance(p, Const))

    def window(self, read: int) -> RowWindow | None:
        """The window of operand `read`."""
        return self.windows[read] if self.windows else None

    def split(self, rows: int) -> KernelCall:
        """This call with `rows` rows where it sees a single one; see row_unit.

        Raises ValueError if it cannot be split like that.
        """
        count = self.params.get(self.row_unit)
        parts = [self.window(i) is not None and o.rows == 1 for i, o in enumerate(self.reads)]
        split = [o for o, part in zip(self.reads, parts, strict=True) if part] + [*self.writes]
        if not isinstance(count, int) or count % rows or any(o.size % rows for o in split):
            raise ValueError(f"{self.kernel} cannot be split into {rows} rows")
        return replace(
            self,
            params={**self.params, self.row_unit: count // rows},
            reads=tuple(o.split(rows) if p else o for o, p in zip(self.reads, parts, strict=True)),
            writes=tuple(o.split(rows) for o in self.writes),
        )


@dataclass(frozen=True)
class Program:
    """Kernel calls in execution order.

    values: every value by name: activations, and constants that kernels read as operands.
    aliases: views: value name -> name of the value whose bytes it is (never itself a view).
    insets: value name -> which bytes of another value it is, of one that is no view and no inset.
    inputs, outputs: value names, in the order of the model.
    """

    calls: tuple[KernelCall, ...]
    values: Mapping[str, Value]
    aliases: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    insets: Mapping[str, Inset] = field(default_factory=dict)

    def root(self, name: str) -> str:
        """The value whose bytes, or among whose bytes, `name` is."""
        if name in self.insets:
            return self.insets[name].root
        return self.aliases.get(name, name)


def row_form(program: Program, call: KernelCall) -> KernelCall:
    """`call` in the form that computes rows of its result, or folds those of its operand.

    See KernelCall.row_unit and KernelCall.folding. `call` itself if there is no such form.
    """
    if call.folding is not None:
        return call.folding
    rows = height(program.values[call.writes[0].value].shape)
    if not call.row_unit or call.writes[0].rows == rows:
        return call
    try:
        return call.split(rows)
    except ValueError:
        return call
