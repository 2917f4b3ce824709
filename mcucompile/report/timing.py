"""Time and energy of a report: counted, estimated, or measured by somebody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mcucompile.board import Board
from mcucompile.cost.steps import estimated_cycles
from mcucompile.cycles import cycle_model
from mcucompile.emulate.work import Work
from mcucompile.report.figures import significant

Report = dict[str, Any]


@dataclass(frozen=True)
class Profiled:
    """What an inference executes: instructions and work of each step, instructions of the whole
    run, what lies between the steps included."""

    instructions: Sequence[int]
    work: Sequence[Work]
    total: int


def execution(board: Board, profiled: Profiled | None, index: int) -> Report:
    """What step `index` executes, its cycles, milliseconds and microjoules; null if not counted."""
    if profiled is None:
        return dict.fromkeys(("instructions", "executed", "cycles", "latency_ms", "energy_uj"))
    work = profiled.work[index]
    cycles = cycle_model(board).cycles(work)
    return {
        "instructions": profiled.instructions[index],
        "executed": {
            **{kind.value: count for kind, count in work.instructions.items()},
            "taken_branches": work.taken_branches,
            "core_cycles": work.core_cycles,
            "flash_reads": work.flash_reads,
        },
        "cycles": cycles,
        **_time("", board, cycles),
    }


def total(board: Board, profiled: Profiled | None) -> Report:
    """Of the whole run; the few instructions between the steps count as one cycle each."""
    if profiled is None:
        keys = ("instructions_total", "cycles_total", "cycles_error", "latency_ms", "energy_uj")
        return dict.fromkeys(keys)
    model = cycle_model(board)
    between = profiled.total - sum(profiled.instructions)
    cycles = between + sum(model.cycles(work) for work in profiled.work)
    return {
        "instructions_total": profiled.total,
        "cycles_total": cycles,
        "cycles_error": model.error,
        **_time("", board, cycles),
    }


def estimate(board: Board, estimated: Sequence[int] | None) -> Report:
    """The whole run by the cost model. estimated: instructions of each step, None if unknown."""
    if estimated is None:
        keys = ("instructions", "cycles", "latency_ms", "energy_uj")
        return {f"{key}_estimated": None for key in keys}
    cycles = estimated_cycles(board, sum(estimated))
    return {
        "instructions_estimated": sum(estimated),
        "cycles_estimated": cycles,
        **_time("_estimated", board, cycles),
    }


def _time(suffix: str, board: Board, cycles: int) -> Report:
    """Milliseconds at the board's clock, and microjoules if its energy is known."""
    milliseconds = cycles / board.clock_hz * 1000
    energy = None if board.energy is None else board.energy.microjoules(milliseconds)
    return {f"latency_ms{suffix}": milliseconds, f"energy_uj{suffix}": energy}


def energy_source(board: Board) -> Report | None:
    """What a cycle takes, and who says so; None for a board that does not tell."""
    if board.energy is None:
        return None
    per_cycle = board.energy.picojoules_per_cycle(board.clock_hz)
    return {"picojoules_per_cycle": per_cycle, "source": board.energy.source}


def time_lines(report: Report) -> list[str]:
    """Time and energy for people, as lines of the summary."""
    if report["instructions_total"] is None:
        unknown = "time       not measured (`mcucompile profile` counts instructions)"
        return [unknown, *_guess(report)]
    cycles, milliseconds = report["cycles_total"], report["latency_ms"]
    error = f"modelled, within {report['cycles_error']:.0%} of published times"
    return [
        f"time       {report['instructions_total']:,} instructions, counted",
        f"           {cycles:,} cycles, {significant(milliseconds)} ms, {error}",
        *_measured(report),
        *_energy(report, report["energy_uj"]),
    ]


def _measured(report: Report) -> list[str]:
    """Cycles from hardware, and how far those of the model are from them."""
    cycles = report["cycles_measured"]
    if cycles is None:
        return []
    modelled = sum(step["cycles"] for step in report["steps"])
    off = f", the model says {modelled / cycles - 1:+.1%}" if cycles else ""
    milliseconds = significant(report["latency_ms_measured"])
    return [f"measured   {cycles:,} cycles in the steps, {milliseconds} ms{off}"]


def _guess(report: Report) -> list[str]:
    if report["instructions_estimated"] is None:
        return []
    count, milliseconds = report["instructions_estimated"], report["latency_ms_estimated"]
    return [
        f"           estimate: {count:,} instructions, {significant(milliseconds, 2)} ms",
        *_energy(report, report["energy_uj_estimated"], "about "),
    ]


def _energy(report: Report, microjoules: float | None, about: str = "") -> list[str]:
    if microjoules is None:
        return []
    energy = report["board"]["energy"]
    per_cycle = f"{significant(energy['picojoules_per_cycle'])} pJ a cycle"
    return [
        f"energy     {about}{significant(microjoules, 2 if about else 3)} uJ, {per_cycle}",
        f"           {energy['source']}",
    ]
