"""The estimate for the steps of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mcucompile.board import Board
from mcucompile.cost import instructions
from mcucompile.cycles import cycle_model
from mcucompile.plan.plan import Plan

# Typical of convolutional networks.
CORE_CYCLES_PER_INSTRUCTION = 1.42
FLASH_READS_PER_INSTRUCTION = 0.08


def step_instructions(plan: Plan, shared: Sequence[bool]) -> list[int]:
    """Estimated executed instructions of each step of `plan`.

    shared: for each step, does it run in a function shared with others? (see emit/boundary.py)
    Rows of which nobody in its segment has asked for are not computed.
    """
    in_rows = {k for s in plan.segments if s.mode == "rows" for k in range(s.first, s.end)}
    computed = Counter[int]()
    for k, begin, end in plan.events():
        computed[k] += end - begin
    found = []
    for k, step in enumerate(plan.steps):
        whole = instructions(step.call, step.rows if k in in_rows else None, not shared[k])
        found.append(round(whole * computed[k] / step.total_rows))
    return found


def estimated_cycles(board: Board, count: float) -> int:
    """Cycles of `count` instructions of which no more is known; see cycles.py for what there is to
    know. Of models with convolutions they are within 10 % of those modelled from a profile, where
    dense layers read weights all the time they are up to 15 % too few."""
    model = cycle_model(board)
    core = model.per_core_cycle * CORE_CYCLES_PER_INSTRUCTION
    return round(count * (core + model.per_flash_read * FLASH_READS_PER_INSTRUCTION))
