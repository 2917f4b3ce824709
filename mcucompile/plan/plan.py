"""Plan: a program with an address for every buffer. Says where, and which rows when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from mcucompile.plan.program import KernelCall, Program

ARENA_ALIGN = 4  # bytes; kernels read words
CALLER = -1  # as a step: it produces the model's inputs


@dataclass(frozen=True)
class Region:
    """Bytes [offset, end) of the arena."""

    offset: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.offset

    def overlaps(self, other: Region) -> bool:
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True)
class Part:
    """The piece of the arena that lies in one memory of the board: as much of it as is used."""

    memory: str
    region: Region


@dataclass(frozen=True)
class Place:
    """Where the rows of an operand are: row y has the `row_bytes` bytes from `row(y)` on.

    The place has `rows` slots of `pitch` bytes: as many as the tensor has rows if it is whole, and
    fewer if they are a ring. Row y is in slot (y * stride + lead) % rows; stride and lead are 1 and
    0 but for a result that lives in the ring of the operand it was computed from.
    """

    offset: int
    row_bytes: int
    rows: int
    pitch: int
    stride: int = 1
    lead: int = 0

    @property
    def region(self) -> Region:
        return Region(self.offset, self.offset + (self.rows - 1) * self.pitch + self.row_bytes)

    def row(self, y: int) -> int:
        """Offset of row y in the arena."""
        return self.offset + (y * self.stride + self.lead) % self.rows * self.pitch


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that belongs to a stored value and its views, or to a scratch.

    first, last: the steps during which it is alive, both inclusive. A model input is alive from
    step 0 on, a model output until the last step, a state at all times. Buffers
    that are alive at the same step may overlap: rows that have been consumed make room for others.
    """

    name: str
    region: Region
    first: int
    last: int
    values: tuple[str, ...]
    kind: Literal["activation", "ring", "scratch", "state"]


@dataclass(frozen=True)
class Step:
    """A kernel call with the place of each operand.

    call: the program's, or one of its variants that computes a few rows at a time. reads: None
    where the operand is a constant in flash. rows: computed in one call. live: bytes of the arena
    in use at its worst moment. state: what it keeps from one run to the next.
    """

    call: KernelCall
    reads: tuple[Place | None, ...]
    writes: tuple[Place, ...]
    scratch: Region | None
    rows: int
    live: int
    state: Region | None = None

    @property
    def total_rows(self) -> int:
        """Rows that are computed in all, or folded if the kernel does that."""
        return (self.call.reads if self.call.folds else self.call.writes)[0].rows

    @property
    def repeated_macs(self) -> int:
        """Multiply-accumulates that are formed once more, for rows that several calls read."""
        call, total = self.call, self.total_rows
        window, height = call.window(0), call.reads[0].rows
        if not call.row_macs or window is None:
            return 0
        ends = [min(y + self.rows, total) for y in range(0, total, self.rows)]
        read = [
            window.end(end - 1, height) - window.begin(y, height)
            for y, end in zip(range(0, total, self.rows), ends, strict=True)
        ]
        once = window.end(total - 1, height) - window.begin(0, height)
        return call.row_macs * (sum(read) - once)


@dataclass(frozen=True)
class Pull:
    """Before a step reads operand `slot`, `producer` must have computed the rows it needs."""

    slot: int
    producer: int


@dataclass(frozen=True)
class Alternative:
    """Another way to do it. peak: bytes in use at the worst moment. instructions: estimated."""

    name: str
    peak: int
    instructions: int


@dataclass(frozen=True)
class Choice:
    """Why a segment runs as it does, for people. other: the next best way, if there is one."""

    peak: int
    instructions: int
    why: str
    other: Alternative | None = None


@dataclass(frozen=True)
class Segment:
    """Steps [first, end), run depth-first: each computes rows when another one asks for them.

    The caller asks the `sinks` for their rows, one after the other and all by the same share of
    their heights, then the `rest` for what is left of theirs. A step that is asked for rows first
    asks along its `pulls`, in order, then computes its next `rows` rows; until there are enough.
    A segment of one step that computes all its rows at once is `whole`.
    """

    first: int
    end: int
    mode: Literal["whole", "rows"]
    sinks: tuple[int, ...]
    rest: tuple[int, ...] = ()
    pulls: Mapping[int, tuple[Pull, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The schedule with addresses.

    arena_size: bytes, a multiple of ARENA_ALIGN. lower_bound: bytes that any placement of this
    schedule needs: the largest sum of bytes in use at one moment, rounded up to ARENA_ALIGN.
    proved_bound: the same, but it may be larger, as the exact search for a placement has shown.
    inputs, outputs: value name -> region, in the order of the model.
    keeps_inputs: a run leaves the bytes of the inputs intact. pushed: where the rows of the only
    input go, if the caller hands them over one by one; None if it writes the inputs before a run.
    parts: if the arena is spread over several memories, its pieces, which begin at fixed offsets;
    what lies between two of them is not there. Nothing is in two parts.
    choices: why, one for each segment. alternatives: what other schedules would need.
    """

    program: Program
    steps: tuple[Step, ...]
    segments: tuple[Segment, ...]
    buffers: tuple[Buffer, ...]
    arena_size: int
    lower_bound: int
    proved_bound: int
    inputs: Mapping[str, Region]
    outputs: Mapping[str, Region]
    keeps_inputs: bool = False
    pushed: Place | None = None
    parts: tuple[Part, ...] = ()
    choices: tuple[Choice, ...] = ()
    alternatives: tuple[Alternative, ...] = ()

    @property
    def arena_bytes(self) -> int:
        """Bytes of memory that the arena takes."""
        return sum(p.region.size for p in self.parts) if self.parts else self.arena_size

    def part_of(self, offset: int) -> int:
        """The index of the part that holds the byte at `offset`."""
        return max((k for k, p in enumerate(self.parts) if p.region.offset <= offset), default=0)

    @property
    def states(self) -> Region:
        """The states of all steps: the end of the arena, where nothing else ever is."""
        begin = min((s.state.offset for s in self.steps if s.state), default=self.arena_size)
        return Region(begin, self.arena_size)

    def events(self) -> Iterator[tuple[int, int, int]]:
        """What a run does: (step, first row, end of rows) for each kernel call, in order.

        Step CALLER stands for the caller, who hands over a row of the pushed input.
        """
        for segment in self.segments:
            yield from _Run(self, segment).events()

    def segment_of(self, step: int) -> Segment:
        return next(s for s in self.segments if s.first <= step < s.end)


class _Run:
    """One execution of a segment."""

    def __init__(self, plan: Plan, segment: Segment) -> None:
        self.steps, self.segment = plan.steps, segment
        self.done = dict.fromkeys([CALLER, *range(segment.first, segment.end)], 0)

    def events(self) -> Iterator[tuple[int, int, int]]:
        sinks = self.segment.sinks
        most = max((self.steps[k].total_rows for k in sinks), default=0)
        for t in range(1, most + 1):
            for k in sinks:
                yield from self._ask(k, t * self.steps[k].total_rows // most)
        for k in self.segment.rest:
            yield from self._ask(k, self.steps[k].total_rows)

    def _ask(self, k: int, rows: int) -> Iterator[tuple[int, int, int]]:
        if k == CALLER:
            for y in range(self.done[k], rows):
                yield k, y, y + 1
            self.done[k] = max(rows, self.done[k])
            return
        step = self.steps[k]
        while self.done[k] < rows:
            begin = self.done[k]
            end = min(begin + step.rows, step.total_rows)
            for pull in self.segment.pulls.get(k, ()):
                whole = step.call.window(pull.slot) is None and pull.producer != CALLER
                total = self.steps[pull.producer].total_rows
                rows_asked = total if whole else needed(step.call, pull.slot, end)
                yield from self._ask(pull.producer, rows_asked)
            yield k, begin, end
            self.done[k] = end


def needed(call: KernelCall, slot: int, end: int) -> int:
    """Rows of operand `slot` that must exist before `call` can go on to row `end`."""
    rows = call.reads[slot].rows
    window = call.window(slot)
    return rows if window is None else window.end(end - 1, rows)
