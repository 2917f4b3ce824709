"""The schedule in the report: which segments run how, why, and what other ways would cost."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from mcucompile.plan.plan import Alternative, Choice, Plan, Segment

Report = dict[str, Any]


def schedule(plan: Plan) -> Report:
    """The report's "schedule"."""
    choices = plan.choices or (None,) * len(plan.segments)
    return {
        "alternatives": [_alternative(a) for a in plan.alternatives],
        "segments": [_segment(plan, s, c) for s, c in zip(plan.segments, choices, strict=True)],
    }


def _alternative(a: Alternative) -> Report:
    return {"name": a.name, "peak_bytes": a.peak, "instructions_estimated": a.instructions}


def _segment(plan: Plan, segment: Segment, choice: Choice | None) -> Report:
    rows = max(plan.steps[k].rows for k in segment.sinks) if segment.mode == "rows" else None
    other = None if choice is None or choice.other is None else _alternative(choice.other)
    return {
        "first": segment.first,
        "last": segment.end - 1,
        "mode": segment.mode,
        "rows_at_a_time": rows,
        "peak_bytes": None if choice is None else choice.peak,
        "instructions_estimated": None if choice is None else choice.instructions,
        "why": "" if choice is None else choice.why,
        "next_best": other,
    }


def schedule_lines(report: Report) -> list[str]:
    """The schedule as text; steps in one call that follow each other are one line."""
    found = report["schedule"]
    if not found["segments"]:
        return []
    lines = ["schedule: bytes at the peak, instructions; then the next best"]
    for mode, group in groupby(found["segments"], key=lambda s: str(s["mode"])):
        segments = list(group)
        if mode == "whole":
            lines += _whole_lines(segments)
        else:
            for segment in segments:
                lines += _rows_lines(segment)
    return lines + [_other_line(a, "       ") for a in found["alternatives"]]


def _whole_lines(segments: list[Report]) -> list[str]:
    worst = max(segments, key=lambda s: s["peak_bytes"] or 0)
    lines = [_line(segments[0]["first"], segments[-1]["last"], _sums(segments), "each in one call")]
    if worst["next_best"] is not None:
        lines.append(_other_line(worst["next_best"], f"         step {worst['first']} "))
    return lines


def _rows_lines(segment: Report) -> list[str]:
    rows = segment["rows_at_a_time"]
    how = segment["why"] or "row by row"
    if rows > 1:
        how = how.replace("row by row", f"{rows} rows at a time", 1)
    lines = [_line(segment["first"], segment["last"], _sums([segment]), how)]
    if segment["next_best"] is not None:
        lines.append(_other_line(segment["next_best"], "         "))
    return lines


def _sums(segments: list[Report]) -> tuple[int, int]:
    """Peak and instructions of segments that follow each other."""
    peak = max(s["peak_bytes"] or 0 for s in segments)
    return peak, sum(s["instructions_estimated"] or 0 for s in segments)


def _line(first: int, last: int, figures: tuple[int, int], how: str) -> str:
    steps = f"step {first}" if first == last else f"steps {first}-{last}"
    return f"  {steps:11} {figures[0]:9,} {figures[1]:11,}  {how}"


def _other_line(other: Report, indent: str) -> str:
    figures = f"{other['peak_bytes']:,} bytes, {other['instructions_estimated']:,} instructions"
    return f"{indent}{other['name']}: {figures}"
