"""Which segment of a network runs patch by patch, and in which grid: what needs the least SRAM.

Every segment around the layer with the most bytes, and every grid of a few patches, is estimated
layer by layer. The best of them are cut, lowered and placed; the smallest arena is taken, of equal
ones that with the fewest multiply-accumulates. Everything else runs layer by layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from mcucompile.errors import UsageError
from mcucompile.ir import Graph, Op
from mcucompile.ir.verify import verify
from mcucompile.lower import lower
from mcucompile.passes.split_patches import Grid, Wiring, clones_for, parts, split_patches
from mcucompile.plan.planner import PlanOptions, make_plan
from mcucompile.plan.program import KernelCall, Program, Target
from mcucompile.plan.segments import Segmenter
from mcucompile.plan.stores import build_network
from mcucompile.progress import track

MOST = 5  # patches along each axis of the grids that are tried
TRIED = 8  # candidates that are placed
HOPELESS = 1.1  # times the least peak estimated: what needs more without its patches is left out

Extents = dict[str, tuple[int, int]]  # operator -> rows and columns of its result


@dataclass(frozen=True)
class Patches:
    """What runs patch by patch.

    ops: the segment, as it was. macs: of the whole model, before and with what is computed again.
    """

    grid: Grid
    ops: tuple[Op, ...]
    macs: tuple[int, int]


@dataclass(frozen=True)
class _Candidate:
    """Estimates for operators [first, end) in `grid`. peak: bytes. macs: of the segment."""

    peak: int
    macs: float
    grid: Grid
    first: int
    end: int


def split_best(
    graph: Graph, target: Target, options: PlanOptions, grid: Grid | None = None
) -> tuple[Graph, Patches]:
    """The quantized `graph` with a segment cut into patches. grid: that one, and no other.

    Raises UsageError MC034 if no segment of the graph can be cut like that.
    """
    program = lower(graph, target)
    candidates = sorted(_Estimates(graph, program, options).candidates(grid), key=_rank)
    ops, best = graph.ops(), None
    for found in track(tried := candidates[:TRIED], "plan patches", len(tried)):
        split = split_patches(graph, ops[found.first : found.end], found.grid)
        verify(split, "quantized", "split_patches")
        cut = lower(split, target)
        rank = (make_plan(cut, options).arena_size, _macs(cut))
        if best is None or rank < best[0]:
            segment = tuple(ops[found.first : found.end])
            best = rank, split, Patches(found.grid, segment, (_macs(program), rank[1]))
    if best is None:
        raise UsageError(
            "MC034",
            f"model '{graph.name}'",
            "cannot be computed in patches" + ("" if grid is None else f" of {grid[0]}x{grid[1]}"),
            "that needs two layers or more of images, the one with the most bytes among them, and "
            "only the last of them may be read by others",
            "choose another grid, or another --schedule",
        )
    return best[1:]


def _rank(candidate: _Candidate) -> tuple[int, float]:
    return candidate.peak, candidate.macs


def _macs(program: Program) -> int:
    return sum(call.macs for call in program.calls)


class _Estimates:
    def __init__(self, graph: Graph, program: Program, options: PlanOptions) -> None:
        self.graph, self.ops = graph, graph.ops()
        self.wiring = Wiring.of(graph, self.ops)
        self.calls: dict[str, KernelCall] = {c.op: c for c in program.calls}
        segmenter = Segmenter(build_network(program, options.keep_input), streams=False)
        step_of = {c.op: k for k, c in enumerate(program.calls)}
        self.steps = [step_of.get(op.name) for op in self.ops]
        self.borders = segmenter.borders
        self.peaks = [0 if k is None else segmenter.wholes[k].peak for k in self.steps]
        self.worst = self.peaks.index(max(self.peaks))

    def candidates(self, grid: Grid | None) -> Iterator[_Candidate]:
        least = math.inf
        for first, end in self._segments():
            if max(self._rest(first, end), self._around(first, end)) > HOPELESS * least:
                continue
            for found in self._grids(first, end, grid):
                least = min(least, found.peak)
                yield found

    def _segments(self) -> Iterator[tuple[int, int]]:
        """Those that can be cut, with the layer of the most bytes."""
        for first in range(self.worst, -1, -1):
            if not self._cuts(first):
                return
            for end in range(self.worst + 1, len(self.ops) + 1):
                if not self._cuts(end - 1):
                    break
                if end - first > 1 and self._is_alone(first, end):
                    yield first, end

    def _rest(self, first: int, end: int) -> int:
        """Bytes that the other layers need."""
        return max((*self.peaks[:first], *self.peaks[end:]), default=0)

    def _around(self, first: int, end: int) -> int:
        """Bytes of what exists as a whole while operators [first, end) run."""
        step, result = self.steps[first], self.wiring.result[self.ops[end - 1].name]
        assert step is not None
        return self.borders[step] + result.elements

    def _cuts(self, index: int) -> bool:
        """Can the operator be computed for a part of its result?"""
        op = self.ops[index]
        results = self.graph.results(op)
        if len(results) != 1 or len(results[0].shape) != 4 or op.is_view:
            return False
        if any(v.dtype != "int8" for v in results):
            return False
        _, height, width, _ = results[0].shape
        return op.patch((range(height), range(width)), self.graph.operands(op), results) is not None

    def _is_alone(self, first: int, end: int) -> bool:
        """Is the last of the operators the only one whose result others use?"""
        inside = {op.name for op in self.ops[first:end]}
        for op in self.ops[first : end - 1]:
            value = self.graph.result(op)
            others = any(user.name not in inside for user in self.graph.users(value))
            if others or value.name in self.graph.outputs:
                return False
        return True

    def _grids(self, first: int, end: int, grid: Grid | None) -> Iterator[_Candidate]:
        ops = self.ops[first:end]
        _, height, width, _ = self.wiring.result[ops[-1].name].shape
        rest, around = self._rest(first, end), self._around(first, end)
        extents: dict[int, list[Extents]] = {}
        sizes = range(1, MOST + 1)
        for down, across in [grid] if grid is not None else product(sizes, sizes):
            if (down, across) == (1, 1) or down > height or across > width:
                continue
            for n in {down, across} - set(extents):
                extents[n] = self._diagonal(ops, n)
            if not (extents[down] and extents[across]):
                continue
            rows = [{name: h for name, (h, _) in e.items()} for e in extents[down]]
            columns = [{name: w for name, (_, w) in e.items()} for e in extents[across]]
            inner = self._inner(ops, rows[down // 2], columns[across // 2])
            peak = max(rest, around + inner)
            macs = sum(self._macs(op, rows, columns) for op in ops)
            yield _Candidate(peak, macs, (down, across), first, end)

    def _diagonal(self, ops: Sequence[Op], n: int) -> list[Extents]:
        """What the patches on the diagonal of an n x n grid compute; none if they cannot. Rows and
        columns do not depend on each other, so this says all of any grid."""
        _, height, width, _ = self.wiring.result[ops[-1].name].shape
        if n > min(height, width):
            return []
        found = []
        for box in zip(parts(height, n), parts(width, n), strict=True):
            clones = clones_for(self.wiring, ops, box)
            if clones is None:
                return []
            found.append({c.op.name: (len(c.box[0]), len(c.box[1])) for c in clones})
        return found

    def _inner(self, ops: Sequence[Op], rows: dict[str, int], columns: dict[str, int]) -> int:
        """Bytes of what is computed for one patch, where there are the most of them."""
        size: dict[str, int] = {}  # by the value of the whole image
        last: dict[str, int] = {}  # the operator that reads it last
        for k, op in enumerate(ops):
            result = self.wiring.result[op.name]
            size[result.name] = rows[op.name] * columns[op.name] * result.shape[3]
            last |= {v.name: k for v in self.wiring.operands[op.name]}
        size[self.wiring.result[ops[-1].name].name] = 0  # a part of what exists as a whole
        dead: list[list[int]] = [[] for _ in ops]
        for name, k in last.items():
            dead[k].append(size.get(name, 0))
        live = most = 0
        for op, dying in zip(ops, dead, strict=True):
            call, born = self.calls[op.name], size[self.wiring.result[op.name].name]
            shared = min(born, max(dying, default=0)) if call.in_place else 0
            most = max(most, live + born - shared + call.scratch)
            live += born - sum(dying)
        return most

    def _macs(
        self, op: Op, rows: Sequence[dict[str, int]], columns: Sequence[dict[str, int]]
    ) -> float:
        """Multiply-accumulates of `op` in all patches."""
        _, height, width, _ = self.wiring.result[op.name].shape
        down, across = sum(r[op.name] for r in rows), sum(c[op.name] for c in columns)
        return self.calls[op.name].macs * down * across / (height * width)
