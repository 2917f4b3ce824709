"""Cycles on a board, modelled from what a step executes. See docs/cycle_model.md.

Cortex-M3 and M4: the core's own cycles, which the Technical Reference Manual gives, and waiting for
data from flash. Both factors were fitted to published times of an STM32L4R5, whose flash has 5 wait
states. The wait scales with the board's wait states.

Cortex-M7: the cycles of that Cortex-M4 times one ratio. The same engines, measured on both cores,
give it; it contains the caches and the flash of the Cortex-M7 boards that were measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcucompile.board import Board
from mcucompile.emulate.work import Work

CORE_FACTOR = 0.988
FITTED_WAIT_STATES = 5
WAIT_FACTOR = 3.505 / FITTED_WAIT_STATES  # cycles per read and wait state
M7_RATIO = 0.60


@dataclass(frozen=True)
class CycleModel:
    """Factors of one board. error: the largest relative difference from published times."""

    per_core_cycle: float
    per_flash_read: float
    error: float

    def cycles(self, work: Work) -> int:
        flash = self.per_flash_read * work.flash_reads
        return round(self.per_core_cycle * work.core_cycles + flash)


def cycle_model(board: Board) -> CycleModel:
    """The model of `board`."""
    if board.core == "cortex-m7":
        wait = WAIT_FACTOR * FITTED_WAIT_STATES
        return CycleModel(M7_RATIO * CORE_FACTOR, M7_RATIO * wait, 0.30)
    return CycleModel(CORE_FACTOR, WAIT_FACTOR * board.flash_wait_states, 0.16)
