"""Calls kernels directly, on any number of cases in one C program.

`ckit.py` compiles each graph as a model with functions of its own, in which all parameters are
constants. Here each kernel is compiled once, as where layers share a function, and parameters,
constants and operands are data; each lies in a block of exactly its size. So one program serves
thousands of cases, and each case in several ways: all rows in one call, in bands, in place of each
operand that allows it, and row by row on rings.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from mcucompile import resources
from mcucompile.ir import Array, Graph
from mcucompile.ir.storage import to_stored
from mcucompile.lower import lower
from mcucompile.plan.program import Const, KernelCall, RowWindow, height
from mcucompile.reference.integer_interpreter import run_int
from tests.support.machines import PROGRAM_DIR, Machine

# The kinds of program/kernels.c.
WHOLE, BANDS, IN_PLACE, RING, FOLDS, BELOW, TOP = range(7)
KINDS = (
    "in one call",
    "in bands of {} rows",
    "in place of operand {}",
    "row by row in a ring",
    "folding {} rows per call",
    "{} bytes below operand 0",
    "in place of the first row of its window",
)

_KERNEL = """\
/* As the generated models have it. */
#pragma GCC optimize("no-schedule-insns", "no-tree-loop-distribute-patterns")

#include "{header}"

#include "kernels.h"

static const void *params(void) {{
    static {kernel}_params p;
{fields}    return &p;
}}

static void call(const void *p, const mcuc_src *in, const mcuc_dst *out, int32_t y0, int32_t y1,
                 void *scratch) {{
    {kernel}(p, in, out, y0, y1, scratch);
}}

extern const kernel {kernel}_entry;
const kernel {kernel}_entry = {{params, call}};
"""


@dataclass(frozen=True)
class Rows:
    """Output row y reads the input rows y * stride - top ... + reach - 1 that exist."""

    stride: int = 1
    top: int = 0
    reach: int = 1


@dataclass(frozen=True)
class Case:
    """A graph of one operator with samples for its inputs: int8 arrays (N, ...).

    name: for people. wishes: fields of the target that decide which kernel is chosen. rows: which
    rows of operand 0 the operator reads, if it works row by row; None if the call's own window is
    to be trusted. The kernel is called so unless it sees other rows.
    """

    name: str
    graph: Graph
    inputs: tuple[Array, ...]
    wishes: Mapping[str, Any] = field(default_factory=dict)
    rows: Rows | None = None

    @cached_property
    def expected(self) -> list[Array]:
        """What the integer reference computes: per result, uint8 (N, bytes)."""
        results = zip(self.graph.outputs, run_int(self.graph, self.inputs), strict=True)
        return [to_stored(self.graph.value(name), y) for name, y in results]


@dataclass(frozen=True)
class _Result:
    """What one call of a kernel gives; as text, where a difference is."""

    case: Case
    call: KernelCall
    sample: int
    kind: int
    argument: int

    @property
    def expected(self) -> bytes:
        return b"".join(y[self.sample].tobytes() for y in self.case.expected)

    def __str__(self) -> str:
        way = KINDS[self.kind].format(self.argument)
        return f"{self.case.name}, sample {self.sample}, {way}: {describe(self.case, self.call)}"


class KernelProgram:
    """A program for one machine, in the folder `root`, with all kernels that were asked for."""

    def __init__(self, machine: Machine, root: Path) -> None:
        self._machine, self._root = machine, root
        self._kernels: dict[str, KernelCall] = {}

    def check(self, cases: Sequence[Case]) -> None:
        """Assert that the kernel of each case gives the integer reference's bytes, in every way."""
        calls = [(case, call) for case in cases for call in self._lower(case)]
        self._build([call for _, call in calls])
        stream = bytearray(_numbers(len(calls)))
        results: list[_Result] = []
        numbers = {kernel: i for i, kernel in enumerate(self._kernels)}
        for case, call in calls:
            ways = _ways(case, call)
            stream += _numbers(numbers[call.kernel]) + _record(case, call, ways)
            results += [
                _Result(case, call, sample, *way)
                for sample in range(len(case.inputs[0]))
                for way in ways
            ]
        (self._root / "in.bin").write_bytes(stream)
        said = self._machine.run(self._root)
        _compare(results, (self._root / "out.bin").read_bytes(), said, self._machine.name)

    def _lower(self, case: Case) -> list[KernelCall]:
        """The call of the case's operator, and those that compute the same by rows."""
        (call,) = lower(case.graph, replace(self._machine.target, **case.wishes)).calls
        calls = [call] if call.folding is None else [call, call.folding]
        rows = height(case.graph.value(call.writes[0].value).shape)
        if any(call.windows) and rows > call.writes[0].rows:
            with suppress(ValueError):
                calls.append(call.split(rows))
        return calls

    def _build(self, calls: Sequence[KernelCall]) -> None:
        """Build the program again if a kernel is missing in it."""
        new = {call.kernel: call for call in calls if call.kernel not in self._kernels}
        if not new:
            return
        self._kernels |= new
        sources = [PROGRAM_DIR / "kernels.c", self._root / "table.c"]
        for call in self._kernels.values():
            sources.append(self._root / f"{call.kernel}.c")
            sources[-1].write_text(_kernel_text(call))
        declared = "".join(f"extern const kernel {name}_entry;\n" for name in self._kernels)
        table = ", ".join(f"&{name}_entry" for name in self._kernels)
        text = f'#include "kernels.h"\n\n{declared}const kernel *const kernels[] = {{{table}}};\n'
        (self._root / "table.c").write_text(text)
        self._machine.build(self._root, sources, resources.runtime_dir())


def _kernel_text(call: KernelCall) -> str:
    fields = []
    for name, value in call.params.items():
        reader = f"(__typeof__(p.{name}))number()"
        if isinstance(value, Const | float):
            reader = "constant()" if isinstance(value, Const) else "real()"
        fields.append(f"    p.{name} = {reader};\n")
    return _KERNEL.format(header=call.header, kernel=call.kernel, fields="".join(fields))


def _ways(case: Case, call: KernelCall) -> list[tuple[int, int]]:
    """The kinds of calls of a case, each with its argument."""
    rows, some = call.writes[0].rows, crc32(case.name.encode())
    if call.folds:
        rows = call.reads[0].rows
        return [(FOLDS, rows), (FOLDS, 1 + some % rows)]
    ways = [(WHOLE, 0)]
    if rows > 1:
        ways.append((BANDS, 1 + some % (rows - 1)))
    for slot, _ in call.in_place:
        if call.reads[slot].value in case.graph.inputs and _same_as(call)[slot] < 0:
            ways.append((IN_PLACE, slot))
    operands = (call.reads[0], call.writes[0])
    sees_rows = all(o.rows == height(case.graph.value(o.value).shape) for o in operands)
    if operands[0].value in case.graph.inputs and len(set(call.reads)) == len(call.reads):
        ways += [(BELOW, lead) for lead in _leads(call)]
    window = _window(case, call)
    if window is not None and rows > 1 and sees_rows:
        ways.append((RING, 0))
        fits = operands[0].row_bytes >= operands[1].row_bytes
        if call.takes_top and fits and operands[0].rows >= window.size:
            ways.append((TOP, 0))
    return ways


def _leads(call: KernelCall) -> Iterator[int]:
    """How few bytes below operand 0 the result may begin, by the order that the kernel promises."""
    x, y, window = call.reads[0], call.writes[0], call.window(0)
    if call.tile is not None and x.rows == y.rows == 1:
        taken, given = call.tile
        tiles = -(-x.size // taken)
        yield _aligned(max((t * (given - taken) for t in range(1, tiles)), default=0))
    elif call.band and window is not None and len(call.writes) == 1:
        ends = [(min(b + call.band, y.rows), b) for b in range(0, y.rows, call.band)]
        yield _aligned(
            max(e * y.row_bytes - window.begin(b, x.rows) * x.row_bytes for e, b in ends)
        )


def _aligned(size: int) -> int:
    return max(0, size + -size % 4)


def _window(case: Case, call: KernelCall) -> RowWindow | None:
    """The rows of operand 0 that a row of the result is computed from."""
    rows = case.rows
    return RowWindow(rows.reach, rows.stride, rows.top) if rows else call.window(0)


def _same_as(call: KernelCall) -> list[int]:
    """For each operand the first earlier one that is the same, or -1."""
    names = [o.value for o in call.reads]
    return [names.index(n) if n in names[:i] else -1 for i, n in enumerate(names)]


def _record(case: Case, call: KernelCall, ways: Sequence[tuple[int, int]]) -> bytes:
    """A case as program/kernels.c reads it, from the parameters on."""
    record = bytearray()
    for value in call.params.values():
        if isinstance(value, Const):
            record += _numbers(value.data.nbytes) + value.data.tobytes()
        elif isinstance(value, float):
            record += struct.pack("<f", value)
        else:
            record += _numbers(value)
    same = _same_as(call)
    record += _numbers(len(call.reads))
    for operand, earlier in zip(call.reads, same, strict=True):
        record += _numbers(operand.rows, operand.row_bytes, earlier)
    record += _numbers(len(call.writes))
    for operand in call.writes:
        record += _numbers(operand.rows, operand.row_bytes)
    record += _numbers(call.scratch, len(ways), *(n for way in ways for n in way))
    window = _window(case, call) or RowWindow()
    held = min(window.size, call.reads[0].rows)
    record += _numbers(held, window.stride, window.divide, window.top, window.size)
    arrays = dict(zip(case.graph.inputs, case.inputs, strict=True))
    samples = len(case.inputs[0])
    record += _numbers(samples)
    for s in range(samples):
        for operand, earlier in zip(call.reads, same, strict=True):
            if earlier < 0:
                value = case.graph.value(operand.value)
                data = arrays[operand.value][s : s + 1] if value.data is None else value.data
                record += to_stored(value, data).tobytes()
    return bytes(record)


def describe(case: Case, call: KernelCall) -> str:
    """A case in one line."""
    (op,) = case.graph.ops()
    values = [*case.graph.operands(op), *case.graph.results(op)]
    shapes = ", ".join(f"{v.name} {v.shape} zp {v.q.zero_point}" for v in values)
    numbers = {k: v for k, v in call.params.items() if not isinstance(v, Const)}
    return f"{op}\n  {shapes}\n  {call.kernel} {numbers} {case.wishes}"


def _compare(results: Sequence[_Result], got: bytes, said: str, where: str) -> None:
    position = 0
    for result in results:
        want = result.expected
        have = got[position : position + len(want)]
        position += len(want)
        if len(have) < len(want):
            raise AssertionError(f"on {where}: {said or 'too few results'}\nin {result}")
        if have != want:
            a, b = np.frombuffer(have, np.int8), np.frombuffer(want, np.int8)
            bad = np.flatnonzero(a != b)
            raise AssertionError(
                f"on {where}: {bad.size} of {a.size} bytes differ, first at {bad[0]}: "
                f"C {a[bad[0]]}, reference {b[bad[0]]}\nin {result}"
            )
    assert not said, f"on {where}: {said}"
    assert position == len(got)


def _numbers(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *(v & 0xFFFFFFFF for v in values))
