"""The arena interpreter: executes a plan inside one byte arena, as unkindly as a plan allows.

What each value must be is known from the integer reference. Call by call, or band by band where the
kernel promises that, scratch memory and the place of the result are filled with noise, that of an
operand which may be overwritten after it has been read; the rows that are read are taken from the
arena's bytes and compared with the reference; those that are written are put there. So a row that
is overwritten too early, computed too late or looked for in the wrong place is found at the first
call that reads it, even if the outputs would not show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.ir.storage import from_stored, to_stored
from mcucompile.plan.plan import CALLER, Place, Plan, Region, Step, needed
from mcucompile.plan.program import Operand
from mcucompile.reference.integer_interpreter import run_int_all


def run_plan(plan: Plan, graph: Graph, inputs: Sequence[Array], seed: int = 0) -> list[Array]:
    """Outputs of the quantized `graph`, in its order, as they stand in the arena at the end.

    inputs: int8 arrays in the order of the model; axis 0 is the batch, any size (one arena per
    sample). seed: of the noise. Returns int8 arrays with the same axis 0. Raises InternalError at
    the first call that reads something else than the reference has.
    """
    arena = _Arena(plan, graph, inputs, seed)
    for k, step in enumerate(plan.steps):  # what the run before has left
        arena.keep_state(k, step)
    for name, region in plan.inputs.items() if plan.pushed is None else ():
        arena.bytes[:, region.offset : region.end] = arena.expected(name)
    for k, begin, end in plan.events():
        if begin >= end:
            raise InternalError(f"plan: step {k} is asked for more rows than it has")
        if k == CALLER:
            assert plan.pushed is not None
            arena.store(plan.program.inputs[0], plan.pushed, range(begin, end))
        else:
            arena.call(k, plan.steps[k], begin, end)
    for k, step in enumerate(plan.steps):
        arena.keep_state(k, step)
    found = []
    for name in plan.program.outputs:
        region, value = plan.outputs[name], graph.value(name)
        raw = arena.bytes[:, region.offset : region.end].copy()
        found.append(from_stored(value, raw))
    return found


def _lets_overwrite(step: Step, begin: int) -> set[int]:
    """The slots of what the kernel lets its result take the place of, where it does so here."""
    call, target = step.call, step.writes[0]
    found = {
        r
        for r, w in call.in_place
        if (source := step.reads[r]) is not None and source.offset == step.writes[w].offset
    }
    window, source = call.window(0), step.reads[0]
    if call.takes_top and step.rows == 1 and window is not None and source is not None:
        top = (begin * window.stride - window.top) % source.rows
        if target.row(begin) == source.offset + top * source.pitch:
            found.add(0)
    if call.tile is not None and call.writes[0].rows == 1:
        found.add(0)
    return found


class _Arena:
    """One row of bytes per sample."""

    def __init__(self, plan: Plan, graph: Graph, inputs: Sequence[Array], seed: int) -> None:
        self.plan = plan
        self.values = run_int_all(graph, inputs)
        self.batch = len(inputs[0])
        self.rng = np.random.default_rng(seed)
        self.bytes = self._noise(plan.arena_size)
        self.sums: dict[int, Array] = {}  # of steps that fold, as they left them
        self.states: dict[int, Array] = {}  # of steps that keep one, as they left it

    def expected(self, name: str) -> Array:
        """The reference's bytes of value `name`, one row per sample."""
        stored = to_stored(self.plan.program.values[name], self.values[name])
        return np.broadcast_to(stored, (self.batch, stored.shape[1]))

    def keep_state(self, k: int, step: Step) -> None:
        """The state of step k must be what the step has left there, and becomes something else."""
        if step.state is None:
            return
        place = slice(step.state.offset, step.state.end)
        if k in self.states and not np.array_equal(self.bytes[:, place], self.states[k]):
            raise InternalError(f"plan: step {k} ({step.call.op}): its state is not there")
        self.states[k] = self._noise(step.state.size)
        self.bytes[:, place] = self.states[k]

    def call(self, k: int, step: Step, begin: int, end: int) -> None:
        """Compute rows [begin, end) of `step`, number k."""
        self.keep_state(k, step)
        call, scratch = step.call, step.scratch
        where = f"step {k} ({call.op})"
        if step.call.folds and begin > 0 and scratch is not None:
            if not np.array_equal(self.bytes[:, scratch.offset : scratch.end], self.sums[k]):
                raise InternalError(f"plan: {where}: its sums are not there")
        else:
            self._spoil(scratch)
        whole = (begin, end) == (0, step.total_rows)
        free = _lets_overwrite(step, begin)
        size = call.band if whole and call.band and not free and not call.folds else end - begin
        once = call.reads_once and whole and bool(call.band)
        known = 0  # rows of operand 0 that the kernel has read before
        for y in range(begin, end, size):
            until = min(y + size, end)
            self._rows(step, y, until, free | {0} if once else free, where, known)
            known = needed(call, 0, until) if once else 0
        if call.folds and end < step.total_rows and scratch is not None:
            self._spoil(scratch)
            self.sums[k] = self.bytes[:, scratch.offset : scratch.end].copy()

    def _rows(
        self, step: Step, begin: int, end: int, free: set[int], where: str, known: int
    ) -> None:
        """Rows [begin, end), which are read and written in any order, but for slots `free`."""
        call = step.call
        first, later = (
            [s for s in range(len(call.reads)) if (s in free) is f] for f in (True, False)
        )
        self._read(step, begin, end, first, where, known)
        writes = (
            []
            if call.folds and end < step.total_rows
            else list(zip(call.writes, step.writes, strict=True))
        )
        for operand, place in writes:
            for y in self._written(step, operand, begin, end):
                self.bytes[:, place.row(y) : place.row(y) + place.row_bytes] = self._noise(
                    place.row_bytes
                )
        self._read(step, begin, end, later, where)
        for operand, place in writes:
            self.store(operand.value, place, self._written(step, operand, begin, end))
        if not call.folds:
            self._spoil(step.scratch)

    def _written(self, step: Step, operand: Operand, begin: int, end: int) -> range:
        alone = len(step.writes) == 1 and not step.call.folds
        return range(begin, end) if alone else range(operand.rows)

    def _read(
        self, step: Step, begin: int, end: int, slots: list[int], where: str, known: int = 0
    ) -> None:
        for slot in slots:
            source, window = step.reads[slot], step.call.window(slot)
            operand = step.call.reads[slot]
            if source is not None:
                first = 0 if window is None else window.begin(begin, operand.rows)
                known = known if slot == 0 else 0
                rows = range(max(first, known), needed(step.call, slot, end))
                self._compare(operand.value, source, rows, where)

    def _spoil(self, region: Region | None) -> None:
        if region is not None:
            self.bytes[:, region.offset : region.end] = self._noise(region.size)

    def _compare(self, name: str, place: Place, rows: range, where: str) -> None:
        expected = self.expected(name)
        for y in rows:
            want = expected[:, y * place.row_bytes : (y + 1) * place.row_bytes]
            have = self.bytes[:, place.row(y) : place.row(y) + place.row_bytes]
            if not np.array_equal(have, want):
                raise InternalError(f"plan: {where}: row {y} of '{name}' is not there")

    def store(self, name: str, place: Place, rows: range) -> None:
        """Put rows of value `name` where they belong."""
        expected = self.expected(name)
        for y in rows:
            row = expected[:, y * place.row_bytes : (y + 1) * place.row_bytes]
            self.bytes[:, place.row(y) : place.row(y) + place.row_bytes] = row

    def _noise(self, size: int) -> Array:
        return self.rng.integers(0, 256, (self.batch, size), dtype=np.uint8)
