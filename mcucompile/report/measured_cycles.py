"""Cycles that somebody has measured on hardware, beside those that are modelled."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mcucompile.errors import UsageError

Report = dict[str, Any]

HEADER = ["step", "cycles"]


def read_cycles(path: Path, steps: int) -> list[int]:
    """Cycles of each of `steps` steps, from a CSV file with the columns step and cycles.

    Raises UsageError MC038 if it cannot be read, or does not have one line for each step.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = dict(_rows(lines))
        if len(found) != steps or set(found) != set(range(steps)):
            raise ValueError(f"it has {len(found)} steps, the model {steps}, counted from 0")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            "MC038",
            f"cycles '{path}'",
            "cannot be read",
            why or type(error).__name__,
            "give what examples/digits/profile.c prints: a header `step,cycles`, then a line for "
            "each step of the same compilation",
        ) from error
    return [found[step] for step in range(steps)]


def _rows(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """(step, cycles) of each line; ValueError says what is wrong."""
    rows = list(csv.reader(line for line in lines if line.strip()))
    if not rows or [cell.strip() for cell in rows[0]] != HEADER:
        raise ValueError("its first line is not 'step,cycles'")
    seen = set()
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not all(c.strip().isascii() and c.strip().isdigit() for c in row):
            raise ValueError(f"line {number} is not a step and its cycles: {','.join(row)!r}")
        step, cycles = (int(cell) for cell in row)
        if step in seen:
            raise ValueError(f"line {number} gives step {step} again")
        seen.add(step)
        yield step, cycles


def with_measured(report: Report, cycles: Sequence[int]) -> Report:
    """`report` with the measured `cycles` of each step, and their sum."""
    steps = [
        {**step, "cycles_measured": own} for step, own in zip(report["steps"], cycles, strict=True)
    ]
    total = sum(cycles)
    milliseconds = total / report["board"]["clock_hz"] * 1000
    return {
        **report,
        "steps": steps,
        "cycles_measured": total,
        "latency_ms_measured": milliseconds,
    }
