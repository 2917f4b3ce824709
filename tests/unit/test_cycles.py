"""The cycle model against published times of code that had no part in it: docs/cycle_model.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mcucompile.board import load_board
from mcucompile.cycles import FITTED_WAIT_STATES, M7_RATIO, cycle_model
from mcucompile.emulate.cortex_m4 import Kind
from mcucompile.emulate.work import Work

NANO = load_board("nano33ble")
M4 = replace(NANO, flash_wait_states=FITTED_WAIT_STATES)
M7 = load_board("stm32f746")

# ONNC in MLPerf Tiny v1.1: core cycles and flash reads of its code, counted; milliseconds on an
# STM32L4R5 at 120 MHz with Zephyr and with Mbed OS, on an M467 at 200 MHz.
PUBLISHED = {
    "anomaly detection": (751_856, 67_746, 8.006, 8.073, 4.887),
    "image classification": (31_460_899, 1_624_274, 296.560, 298.686, 171.438),
    "keyword spotting": (8_582_327, 422_778, 93.642, 82.001, 46.185),
    "visual wake words": (19_225_291, 709_459, 197.785, 172.176, 98.726),
}


def work(core_cycles: int, flash_reads: int) -> Work:
    return Work(dict.fromkeys(Kind, 0), 0, core_cycles, flash_reads)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_times(name: str) -> None:
    core_cycles, flash_reads, *times = PUBLISHED[name]
    model = cycle_model(M4)
    cycles = model.cycles(work(core_cycles, flash_reads))
    for milliseconds, clock_khz in zip(times, (120_000, 120_000, 200_000), strict=True):
        error = cycles / (milliseconds * clock_khz) - 1
        assert abs(error) < 0.12 < model.error


def test_waiting_is_proportional_to_wait_states() -> None:
    reading = work(0, 1_000_000)
    assert cycle_model(M4).cycles(reading) == 3_505_000
    assert cycle_model(NANO).cycles(reading) == 3_505_000 * 3 // 5
    assert cycle_model(replace(NANO, flash_wait_states=0)).cycles(reading) == 0


def test_cortex_m7_is_a_ratio_of_the_cortex_m4() -> None:
    some = work(2_000_000, 300_000)
    assert cycle_model(M7).cycles(some) == round(M7_RATIO * cycle_model(M4).cycles(some))
    assert cycle_model(M7).error > cycle_model(M4).error
