"""What changed from one report to another, and whether a report stays within limits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mcucompile.errors import DoesNotFitError
from mcucompile.report.build import Report
from mcucompile.report.fit import label

NAMES = 40  # columns for the name of a step


@dataclass(frozen=True)
class Figure:
    """A number of a report, None where it was not measured."""

    name: str
    of: Callable[[Report], int | float | None]


def _instructions(report: Report) -> int | None:
    counted: int | None = report["instructions_total"]
    return counted if counted is not None else report["instructions_estimated"]


TOTALS = (
    Figure("SRAM, bytes", lambda r: r["sram"]["total_bytes"]),
    Figure("arena, bytes", lambda r: r["sram"]["arena_bytes"]),
    Figure("flash, bytes", lambda r: r["flash"]["total_bytes"]),
    Figure("weights, bytes", lambda r: r["flash"]["const_bytes"]),
    Figure("MACs", lambda r: r["model"]["macs"]),
    Figure("instructions, counted", lambda r: r["instructions_total"]),
    Figure("instructions, estimated", lambda r: r["instructions_estimated"]),
    Figure("cycles", lambda r: r["cycles_total"]),
    Figure("cycles, measured", lambda r: r["cycles_measured"]),
    Figure("energy, uJ", lambda r: r["energy_uj"]),
    Figure("energy, uJ, estimated", lambda r: r["energy_uj_estimated"]),
)
STEP_FIGURES = ("macs", "weight_bytes", "live_bytes", "instructions", "instructions_estimated")


def compare_text(before: Report, after: Report) -> str:
    """The totals of both and, layer by layer, what is different. No final newline."""
    lines = [f"{'':24} {'before':>14} {'after':>14} {'change':>14}"]
    for figure in TOTALS:
        a, b = figure.of(before), figure.of(after)
        if a is not None or b is not None:
            lines.append(f"{figure.name:24} {_text(a):>14} {_text(b):>14} {_change(a, b):>14}")
    changed = list(_steps(before, after))
    return "\n".join([*lines, "", *(changed or ["no step is different"])])


def _steps(before: Report, after: Report) -> Iterator[str]:
    """Steps are the same if they come from the same ONNX nodes, by the same kind of operator."""
    old, new = (_by_name(report) for report in (before, after))
    for key in [*old, *(k for k in new if k not in old)]:
        a, b = old.get(key), new.get(key)
        if a is None or b is None:
            step = b if a is None else a
            assert step is not None
            yield f"{'only after' if a is None else 'only before':12} {_short(step)}"
            continue
        parts = [f"kernel {a['kernel']} -> {b['kernel']}"] if a["kernel"] != b["kernel"] else []
        parts += [
            f"{name} {_text(a[name])} -> {_text(b[name])}"
            for name in STEP_FIGURES
            if a[name] != b[name] and None not in (a[name], b[name])
        ]
        if parts:
            yield f"step {b['index']:<7} {_short(b)}: {', '.join(parts)}"


def _by_name(report: Report) -> dict[tuple[str, str, int], Report]:
    found: dict[tuple[str, str, int], Report] = {}
    for step in report["steps"]:
        names = (str(step["op"]), label(step))
        found[(*names, sum(key[:2] == names for key in found))] = step
    return found


def _short(step: Report) -> str:
    text = f"{step['op']} {label(step)}"
    return text if len(text) <= NAMES else text[: NAMES - 3] + "..."


def _text(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    if before == after:
        return "same"
    change = after - before
    text = f"{change:+,}" if isinstance(change, int) else f"{change:+,.4g}"
    return text + (f" {(after - before) / before:+.1%}" if before else "")


def require_limits(
    report: Report,
    sram: int | None = None,
    flash: int | None = None,
    instructions: int | None = None,
) -> None:
    """Raise DoesNotFitError MC303 if a figure is above its limit, or not known.

    sram, flash: bytes. instructions: counted, or estimated where they were not.
    """
    checks = (
        ("--max-sram", sram, report["sram"]["total_bytes"], "bytes of SRAM"),
        ("--max-flash", flash, report["flash"]["total_bytes"], "bytes of flash"),
        ("--max-instructions", instructions, _instructions(report), "instructions"),
    )
    broken = []
    for option, limit, value, what in checks:
        if limit is not None and (value is None or value > limit):
            is_what = "unknown" if value is None else f"{value:,}"
            broken.append(f"{what}: {is_what}, {option} is {limit:,}")
    if broken:
        raise DoesNotFitError(
            "MC303",
            f"model '{report['model']['name']}' on board '{report['board']['name']}'",
            "is not within the limits",
            "; ".join(broken),
            "raise the limit, or find out with --compare what has grown",
        )
