"""The arena interpreter: executes a plan inside one byte arena, as unkindly as a plan allows.

What each value must be is known from the integer reference. Call by call, scratch memory, and the
place of the result where the kernel promises nothing, are filled with noise; the rows that are read
are taken from the arena's bytes and compared with the reference; the rows that are written are put
there. So a row that is overwritten too early, computed too late or looked for in the wrong place is
found at the first call that reads it, even if the outputs would not show it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcucompile.errors import InternalError
from mcucompile.ir import Array, Graph
from mcucompile.plan.plan import CALLER, Place, Plan, Step, needed
from mcucompile.reference.integer_interpreter import run_int_all


def run_plan(plan: Plan, graph: Graph, inputs: Sequence[Array], seed: int = 0) -> list[Array]:
    """Outputs of the quantized `graph`, in its order, as they stand in the arena at the end.

    inputs: int8 arrays in the order of the model; axis 0 is the batch, any size (one arena per
    sample). seed: of the noise. Returns int8 arrays with the same axis 0. Raises InternalError at
    the first call that reads something else than the reference has.
    """
    arena = _Arena(plan, graph, inputs, seed)
    for name, region in plan.inputs.items() if plan.pushed is None else ():
        arena.bytes[:, region.offset : region.end] = arena.expected(name)
    for k, begin, end in plan.events():
        if k == CALLER:
            assert plan.pushed is not None
            arena.store(plan.program.inputs[0], plan.pushed, range(begin, end))
        else:
            arena.call(k, plan.steps[k], begin, end)
    found = []
    for name in plan.program.outputs:
        region, value = plan.outputs[name], graph.value(name)
        raw = arena.bytes[:, region.offset : region.end].copy()
        found.append(np.asarray(raw.view(value.dtype).reshape(-1, *value.shape[1:])))
    return found


def _may_overlap(step: Step, whole: bool) -> bool:
    """Does the kernel promise anything on writing over what it reads? If not, all of its results
    may be written first."""
    call = step.call
    return bool(call.in_place or call.takes_top or (whole and (call.band or call.tile)))


class _Arena:
    """One row of bytes per sample."""

    def __init__(self, plan: Plan, graph: Graph, inputs: Sequence[Array], seed: int) -> None:
        self.plan = plan
        self.values = run_int_all(graph, inputs)
        self.batch = len(inputs[0])
        self.rng = np.random.default_rng(seed)
        self.bytes = self._noise(plan.arena_size)

    def expected(self, name: str) -> Array:
        """The reference's bytes of value `name`, one row per sample."""
        flat = np.ascontiguousarray(self.values[name]).view(np.uint8)
        return np.broadcast_to(flat.reshape(len(flat), -1), (self.batch, flat[0].size))

    def call(self, k: int, step: Step, begin: int, end: int) -> None:
        """Compute rows [begin, end) of `step`, number k."""
        folds, last = step.call.folds, end == step.total_rows
        if step.scratch is not None and not (folds and begin > 0):
            self.bytes[:, step.scratch.offset : step.scratch.end] = self._noise(step.scratch.size)
        whole = folds or (begin, end) == (0, step.total_rows)
        for operand, place in zip(step.call.writes, step.writes, strict=True):
            if not _may_overlap(step, whole):
                for y in range(operand.rows) if whole else range(begin, end):
                    row = slice(place.row(y), place.row(y) + place.row_bytes)
                    self.bytes[:, row] = self._noise(place.row_bytes)
        for slot, operand in enumerate(step.call.reads):
            source, window = step.reads[slot], step.call.window(slot)
            if source is not None:
                first = 0 if window is None else window.begin(begin, operand.rows)
                rows = range(first, needed(step.call, slot, end))
                self._compare(operand.value, source, rows, f"step {k} ({step.call.op})")
        if not folds or last:
            for operand, place in zip(step.call.writes, step.writes, strict=True):
                rows = range(operand.rows) if whole else range(begin, end)
                self.store(operand.value, place, rows)

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
