"""The energy of an inference: the power of a running core times the time that it runs.

Only the core and the memory it runs from count, at the board's own clock and voltage; what the rest
of a board takes, and what it takes while the core sleeps, is no matter of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NUMBERS = ("active_milliamps", "volts")
KEYS = (*_NUMBERS, "source")


@dataclass(frozen=True)
class Energy:
    """What a board takes while its core runs at the clock of its board file. source: where the
    figures are from, for people."""

    active_milliamps: float
    volts: float
    source: str

    def microjoules(self, milliseconds: float) -> float:
        """mA x V x ms."""
        return self.active_milliamps * self.volts * milliseconds

    def picojoules_per_cycle(self, clock_hz: int) -> float:
        return self.active_milliamps * self.volts * 1e9 / clock_hz


def energy_of(table: Mapping[str, Any]) -> Energy:
    """The table [energy] of a board file; ValueError says what is wrong with it."""
    if set(table) != set(KEYS):
        raise ValueError(f"[energy] must have {', '.join(KEYS)}, and nothing else")
    for key in _NUMBERS:
        value = table[key]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
            raise ValueError(f"{key} in [energy] must be a positive number, not {value!r}")
    if not isinstance(table["source"], str) or not table["source"].strip():
        raise ValueError("source in [energy] must say where its figures are from")
    return Energy(float(table["active_milliamps"]), float(table["volts"]), table["source"])
