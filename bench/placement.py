"""How far the arenas of models are from their lower bounds, what the modes cost, and how long
planning takes. Needs no toolchain."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import BOARDS, RAM
from bench.models import MODELS
from bench.table import aligned
from mcucompile.board import Board, load_board
from mcucompile.compiler import compile_model
from mcucompile.cost.steps import step_instructions
from mcucompile.emit.boundary import shared_kernels
from mcucompile.errors import McuCompileError, UsageError
from mcucompile.ir import Graph
from mcucompile.options import CompileOptions
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import TOLERANCE, PlanOptions
from mcucompile.plan.program import Optimize
from mcucompile.planning import plan_graph
from tests.support import zoo

CORE = "cortex-m4"
FLASH = 64 << 20  # bytes: no model is refused
OPTIMIZE: tuple[Optimize, ...] = ("time", "balanced", "ram")
MOST_GAP = 0.02  # of an arena above its bound
MOST_SECONDS = 20.0


@dataclass(frozen=True)
class Placed:
    """A model planned in one mode.

    arena, bound: bytes. proved: bytes below which an exhaustive search found no placement. seconds:
    of planning, in which the processor was at work. instructions: an
    estimate; fastest: that of the same model with -O time.
    """

    name: str
    optimize: Optimize
    stream_input: bool
    arena: int
    bound: int
    proved: int
    seconds: float
    instructions: int
    fastest: int

    @property
    def gap(self) -> float:
        """How much larger the arena is than any placement of its schedule must be."""
        return self.arena / self.bound - 1 if self.bound else 0.0

    @property
    def is_proved(self) -> bool:
        """Is it proved that no placement of the schedule is smaller?"""
        return self.arena <= self.proved

    @property
    def more(self) -> float:
        """Instructions, relative to those with -O time."""
        return self.instructions / self.fastest if self.fastest else 1.0

    @property
    def flaws(self) -> list[str]:
        """The goals that are missed."""
        found = ["gap"] if self.gap > MOST_GAP and not self.is_proved else []
        found += ["seconds"] if self.seconds > MOST_SECONDS else []
        dear = self.optimize == "balanced" and self.more > TOLERANCE
        return found + (["instructions"] if dear else [])


def placed_models(names: Sequence[str]) -> Iterator[Placed]:
    """The example and the models of the zoo whose names contain one of `names`, or all, in each
    mode, and where it is possible with an input that arrives in rows.

    Models that cannot be compiled are left out. Raises InternalError if a plan is wrong.
    """
    files = {m.file for m in MODELS if m.is_there} | set((zoo.ZOO / "models").glob("*.onnx"))
    for path in sorted(files, key=lambda p: p.stem):
        if not names or any(n in path.stem for n in names):
            yield from placed(path)


def placed(path: Path) -> Iterator[Placed]:
    """The model in `path` in each mode; see placed_models."""
    board = load_board(BOARDS[CORE]).with_limits(RAM, FLASH)
    for stream_input in (False, True):
        try:
            graph = _unplanned(path, stream_input)
        except McuCompileError:
            return
        fastest = 0
        for optimize in OPTIMIZE:
            try:
                one = _planned(path.stem, graph, board, optimize, stream_input, fastest)
            except UsageError:  # its input has no rows
                return
            fastest = one.fastest
            yield one


def _unplanned(path: Path, stream_input: bool) -> Graph:
    """The quantized graph of a model, as it is before it is planned."""
    options = CompileOptions(
        BOARDS[CORE],
        calibration={m.file: m.calibration for m in MODELS}.get(path),
        ram=RAM,
        flash=FLASH,
        dims=zoo.DIMS.get(path.stem, {}),
        input_layout="nhwc" if stream_input else "",
    )
    return compile_model(path, options).graph


def _planned(
    name: str, graph: Graph, board: Board, optimize: Optimize, stream_input: bool, fastest: int
) -> Placed:
    """fastest: instructions with -O time; 0 if this is the first plan."""
    options = PlanOptions(optimize, board.ram_bytes, stream_input=stream_input)
    start = time.process_time()
    _, plan = plan_graph(graph, board.target(optimize), options)
    seconds = time.process_time() - start
    check_plan(plan)
    count = sum(step_instructions(plan, shared_kernels(plan, optimize)))
    size = plan.arena_size, plan.lower_bound, plan.proved_bound
    return Placed(name, optimize, stream_input, *size, seconds, count, fastest or count)


def placement_table(models: Sequence[Placed]) -> str:
    """One row for each model and mode, and what misses a goal."""
    table = [
        "model|-O|input|arena|bound|gap|smallest|seconds|instructions|of -O time|misses".split("|")
    ]
    for m in models:
        numbers = [f"{m.arena:,}", f"{m.bound:,}", f"{m.gap:.1%}"]
        numbers += ["proved" if m.is_proved else "", f"{m.seconds:.1f}"]
        work = [f"{m.instructions:,}", f"{m.more:.3f}", ", ".join(m.flaws)]
        rows = "rows" if m.stream_input else "whole"
        table.append([m.name, m.optimize, rows, *numbers, *work])
    return aligned(table)
