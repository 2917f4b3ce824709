"""The independent checker: is this plan right? Trusts nothing that the planner says.

It shares no code with the planner and looks at no lifetimes. It walks through the kernel calls of a
run with a tag on every byte of the arena: which byte of which value was written there last. Each
row that a call reads must be there, byte for byte, and nothing that a call writes may touch what it
has still to read. From that alone it follows that no row is overwritten too early, computed too
late or looked for in the wrong place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array
from mcucompile.plan.check_steps import check_region, check_steps, text, value_bytes
from mcucompile.plan.plan import ARENA_ALIGN, CALLER, Place, Plan, Region, Step, needed

NOTHING = -1  # tag of bytes that hold no value
STATES = -(1 << 32)  # from here downwards: of states; below NOTHING: of sums in scratch


def check_plan(plan: Plan) -> None:
    """Raise InternalError, naming step and values, unless running `plan` computes its program.

    Checked: the steps are the program's calls, each in its own or a permitted form, and compute all
    rows that are read or are outputs, once and in order; every place is aligned, inside the arena
    and of its operand's size; every row that a call reads, and every output at the end, is intact;
    a call writes over what it reads only as its kernel allows; scratch memory touches nothing that
    the call reads or writes; inputs survive where that is promised; nothing touches the state of a
    step but that step.
    """
    check_steps(plan)
    arena = _Arena(plan)
    for k, step in enumerate(plan.steps):  # what the run before has left
        arena.mark(step.state, _state_tag(k))
    for name, region in plan.inputs.items() if plan.pushed is None else ():
        arena.write(plan.program.root(name), region.offset, 0, region.size)
    for name, region in plan.inputs.items():
        if plan.pushed is None:
            arena.expect(plan.program.root(name), region.offset, 0, region.size, f"input '{name}'")
    done = [0] * len(plan.steps)
    for k, begin, end in plan.events():
        if k == CALLER:
            _push(plan, arena, begin)
            continue
        step = plan.steps[k]
        if begin != done[k] or not begin < end <= step.total_rows:
            raise InternalError(f"plan: step {k} computes rows {begin} to {end} after {done[k]}")
        done[k] = end
        _Call(arena, k, step, begin, end).check()
    _check_end(plan, arena)


def _check_end(plan: Plan, arena: _Arena) -> None:
    """After a run there are the outputs, the states, and the inputs where that is promised."""
    found = [("output", item) for item in plan.outputs.items()]
    found += [("input", item) for item in plan.inputs.items() if plan.keeps_inputs]
    for kind, (name, region) in found:
        arena.expect(plan.program.root(name), region.offset, 0, region.size, f"{kind} '{name}'")
    for k, step in enumerate(plan.steps):
        arena.find(step.state, _state_tag(k), f"the state of step {k}, after the run,")


def _state_tag(k: int) -> int:
    """Of the bytes of the state of step k."""
    return STATES - k


def _push(plan: Plan, arena: _Arena, y: int) -> None:
    """The caller hands over row y of the only input."""
    (name,) = plan.inputs
    place = plan.pushed
    if place is None:
        raise InternalError("plan: it asks the caller for rows")
    check_region(plan, place.region, f"plan: input '{name}'")
    arena.write(plan.program.root(name), place.row(y), y * place.row_bytes, place.row_bytes)


class _Arena:
    """tags: per byte of the arena, the number of the byte of the value that is there.

    Bytes of all values are numbered one value after the other.
    """

    def __init__(self, plan: Plan) -> None:
        if plan.arena_size < 0 or plan.arena_size % ARENA_ALIGN:
            raise InternalError(f"plan: the arena has {plan.arena_size} bytes: not aligned")
        self.program = plan.program
        self.tags = np.full(plan.arena_size, NOTHING, dtype=np.int64)
        self.starts: dict[str, int] = {}
        self.names: list[str] = []
        total = 0
        for name in plan.program.values:
            if plan.program.root(name) == name:
                self.starts[name] = total
                self.names.append(name)
                total += value_bytes(plan.program, name)

    def write(self, name: str, offset: int, first: int, size: int) -> None:
        """Bytes [first, first + size) of value `name` are now at `offset`."""
        self.tags[offset : offset + size] = self.numbers(name, first, size)

    def mark(self, region: Region | None, tag: int) -> None:
        """Bytes of `region`, if there is one, have this tag now."""
        if region is not None:
            self.tags[region.offset : region.end] = tag

    def find(self, region: Region | None, tag: int, what: str) -> None:
        """Raise unless all bytes of `region`, if there is one, have this tag."""
        if region is not None and (self.tags[region.offset : region.end] != tag).any():
            raise InternalError(f"plan: {what} is not intact")

    def expect(self, name: str, offset: int, first: int, size: int, where: str) -> None:
        """Raise unless bytes [first, first + size) of value `name` are at `offset`."""
        found = self.tags[offset : offset + size]
        wrong = np.flatnonzero(found != self.numbers(name, first, size))
        if wrong.size:
            at = int(wrong[0])
            raise InternalError(
                f"plan: {where}: '{name}' is not intact: byte {offset + at} of the arena holds "
                f"{self.holds(int(found[at]))} instead of its byte {first + at}"
            )

    def numbers(self, name: str, first: int, size: int) -> Array:
        """The numbers of bytes [first, first + size) of value `name`."""
        inset = self.program.insets.get(name)
        own = np.arange(first, first + size) if inset is None else inset.bytes(first, size)
        return np.asarray(self.starts[self.program.root(name)] + own)

    def holds(self, tag: int) -> str:
        if tag == NOTHING:
            return "nothing"
        name = next(n for n in reversed(self.names) if self.starts[n] <= tag)
        return f"byte {tag - self.starts[name]} of '{name}'"


Bytes = tuple[int, int, int]  # of a value: (operand slot, first byte, number)


@dataclass(frozen=True)
class _Moment:
    """During one moment of a kernel call `reads` may be read until the last of `writes` is written.

    before: what is read in this moment, and certainly before anything is written.
    """

    reads: list[Bytes]
    writes: list[Bytes]
    before: list[Bytes] = field(default_factory=list)


@dataclass(frozen=True)
class _Call:
    """One kernel call: rows [begin, end) of step k."""

    arena: _Arena
    k: int
    step: Step
    begin: int
    end: int

    @property
    def where(self) -> str:
        return f"step {self.k} ({self.step.call.op}), rows {self.begin} to {self.end}"

    def check(self) -> None:
        """Walk through the moments of the call."""
        self._use_scratch()
        self.arena.find(self.step.state, _state_tag(self.k), f"{self.where}: its state")
        for moment in self._moments():
            for slot, first, size in (*moment.before, *moment.reads):
                self._read(slot, first, size)
            self._check_apart(moment)
            for slot, first, size in moment.writes:
                self._write(slot, first, size)

    def _moments(self) -> Iterator[_Moment]:
        """Without a promise of the kernel there is one moment."""
        call = self.step.call
        if call.folds:
            last = self.end == self.step.total_rows
            yield _Moment(self._rows_read(self.begin, self.end), self._all_writes() if last else [])
        elif not self._is_all:
            row = self.step.writes[0].row_bytes
            written = [(0, self.begin * row, (self.end - self.begin) * row)]
            yield _Moment(self._rows_read(self.begin, self.end), written)
        elif self._is_in_place:
            yield _Moment(self._rows_read(0, self.end), self._all_writes())
        elif call.tile is not None and self._walks_in_tiles:
            yield from self._tiles(*call.tile)
        elif call.band > 0 and len(call.writes) == 1:
            yield from self._bands(call.band)
        else:
            yield _Moment(self._rows_read(0, self.end), self._all_writes())

    @property
    def _is_all(self) -> bool:
        return (self.begin, self.end) == (0, self.step.total_rows)

    @property
    def _is_in_place(self) -> bool:
        """Does it write over an operand from the same base on? That promise is one of its own."""
        pairs = [(self.step.reads[r], self.step.writes[w]) for r, w in self.step.call.in_place]
        return any(r is not None and r.offset == w.offset for r, w in pairs)

    @property
    def _walks_in_tiles(self) -> bool:
        """The promise of tiles is about one long row."""
        call = self.step.call
        return call.reads[0].rows == call.writes[0].rows == 1 and self.step.reads[0] is not None

    def _bands(self, band: int) -> Iterator[_Moment]:
        row = self.step.writes[0].row_bytes
        known = 0  # bytes of operand 0 that need not be read again
        for y in range(0, self.end, band):
            stop = min(y + band, self.end)
            reads = self._rows_read(y, stop)
            before: list[Bytes] = []
            if self.step.call.reads_once:
                before = [
                    (s, max(first, known), first + size - max(first, known))
                    for s, first, size in reads
                    if s == 0 and first + size > known
                ]
                known = max([known, *(first + size for s, first, size in reads if s == 0)])
                reads = [r for r in reads if r[0] != 0]
            yield _Moment(reads, [(0, y * row, (stop - y) * row)], before)

    def _tiles(self, taken: int, given: int) -> Iterator[_Moment]:
        size, result = self.step.call.reads[0].size, self.step.call.writes[0].size
        others = [r for r in self._rows_read(0, 1) if r[0] != 0]
        tiles = -(-size // taken)
        if -(-result // given) != tiles:
            raise InternalError(f"plan: {self.where}: its tiles do not match")
        for t in range(tiles):
            tile = (0, t * taken, min(taken, size - t * taken))
            target = (0, t * given, min(given, result - t * given))
            yield _Moment(others, [target], [tile])

    def _rows_read(self, begin: int, end: int) -> list[Bytes]:
        """What rows [begin, end) are computed from."""
        call, found = self.step.call, []
        for slot, operand in enumerate(call.reads):
            window = call.window(slot)
            first = 0 if window is None else window.begin(begin, operand.rows)
            last = needed(call, slot, end)
            if self.step.reads[slot] is not None and first < last:
                row = operand.row_bytes
                found.append((slot, first * row, (last - first) * row))
        return found

    def _all_writes(self) -> list[Bytes]:
        return [(slot, 0, o.size) for slot, o in enumerate(self.step.call.writes)]

    def _use_scratch(self) -> None:
        """A kernel writes to its scratch memory at any time. What it leaves there is lost, unless
        it folds: then it must find it again."""
        scratch, size = self.step.scratch, self.step.call.scratch
        if scratch is None or not size:
            return
        tags = self.arena.tags[scratch.offset : scratch.offset + size]
        sums = NOTHING - 1 - self.k
        if self.step.call.folds and self.begin > 0 and (tags != sums).any():
            raise InternalError(f"plan: {self.where}: its sums in scratch are not intact")
        tags[:] = sums if self.step.call.folds else NOTHING

    def _read(self, slot: int, first: int, size: int) -> None:
        name = self.step.call.reads[slot].value
        place = self.step.reads[slot]
        assert place is not None
        for offset, at, length in _pieces(place, first, size):
            where = f"{self.where} reads '{name}'"
            self.arena.expect(name, offset, at, length, where)

    def _write(self, slot: int, first: int, size: int) -> None:
        name = self.step.call.writes[slot].value
        for offset, at, length in _pieces(self.step.writes[slot], first, size):
            self.arena.write(name, offset, at, length)

    def _check_apart(self, moment: _Moment) -> None:
        """Nothing that is written may touch what may still be read, but for what is allowed."""
        written = list(_regions(self.step.writes, moment.writes))
        if self.step.scratch is not None and self.step.call.scratch:
            offset = self.step.scratch.offset
            written.append((SCRATCH, Region(offset, offset + self.step.call.scratch)))
        for slot, mine in _regions(self.step.reads, moment.reads):
            for target, region in written:
                if region.overlaps(mine) and not self._may_share(slot, target):
                    what = "its scratch" if target == SCRATCH else f"result {target}"
                    raise InternalError(
                        f"plan: {self.where}: {what} in {text(region)} overlaps what is read of "
                        f"'{self.step.call.reads[slot].value}' in {text(mine)}"
                    )
        for i, (s, a) in enumerate(written):
            if any(t != s and a.overlaps(b) for t, b in written[:i]):
                what = "its scratch overlaps a result" if s == SCRATCH else "two results overlap"
                raise InternalError(f"plan: {self.where}: {what}")

    def _may_share(self, read: int, write: int) -> bool:
        """May the result take the bytes of the operand that is being read?

        In place: from the same base on, and where rows are computed a few at a time, the same rows
        in the same slots. Or the row of the result is where the first row of its window was.
        """
        if write == SCRATCH:
            return False
        call, source, target = self.step.call, self.step.reads[read], self.step.writes[write]
        assert source is not None
        if (read, write) in call.in_place and source.offset == target.offset:
            same_slots = (source.rows, source.pitch) == (target.rows, target.pitch)
            dense = source.pitch == source.row_bytes and target.pitch == target.row_bytes
            plain = (source.stride, source.lead) == (target.stride, target.lead) == (1, 0)
            if plain and (same_slots or (self._is_all and dense)):
                return True
        window = call.window(0)
        if not call.takes_top or window is None or self.end - self.begin != 1 or read != 0:
            return False
        top = self.begin * window.stride // window.divide - window.top
        end = window.end(self.begin, call.reads[0].rows)
        fits = target.row_bytes <= source.row_bytes and end - top <= source.rows
        slot = source.offset + top % source.rows * source.pitch
        return fits and target.row(self.begin) == slot


SCRATCH = -1  # in the place of the slot of a result


def _regions(
    places: Sequence[Place | None], found: Sequence[Bytes]
) -> Iterator[tuple[int, Region]]:
    """(slot, where it is in the arena), piece by piece."""
    for slot, first, size in found:
        place = places[slot]
        assert place is not None
        for offset, _, length in _pieces(place, first, size):
            yield slot, Region(offset, offset + length)


def _pieces(place: Place, first: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Bytes [first, first + size) of a tensor as (offset in the arena, first byte, bytes)."""
    if (place.stride, place.lead) == (1, 0) and place.pitch == place.row_bytes:
        ring = place.rows * place.pitch
        while size > 0:
            at = first % ring
            length = min(size, ring - at)
            yield place.offset + at, first, length
            first, size = first + length, size - length
        return
    while size > 0:
        y, at = divmod(first, place.row_bytes)
        length = min(size, place.row_bytes - at)
        yield place.row(y) + at, first, length
        first, size = first + length, size - length
