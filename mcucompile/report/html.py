"""The report as one self-contained HTML page: no network, pictures as inline SVG.

Made from the report's data alone, like every other view. Geometry and wording are decided here,
`templates/report.html.j2` prints them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mcucompile.report.build import Report, check_version
from mcucompile.report.figures import significant, whole
from mcucompile.report.fit import arena_end, label, origin, peak_step
from mcucompile.report.weights import decibels
from mcucompile.templating import render

MAP_HEIGHT = 320  # units of the memory map's picture
MAP_WIDTH = 1100  # units of it that steps fill, if there are few
STEP_WIDTH = (22, 120)  # units of one step, at least and at most
TOP_MARGIN, BOTTOM_MARGIN, LEFT_MARGIN = 18, 26, 70
TICKS = 5  # of the address axis
HINTS = 3  # largest consumers that are named


@dataclass(frozen=True)
class Box:
    """A buffer in the memory map: a rectangle, in units of the picture. text: for people."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True)
class MemoryMap:
    """Steps from left to right, addresses upwards. peak: the middle of the step that needs most."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    addresses: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    peak: Tick | None


@dataclass(frozen=True)
class Part:
    """A part of a bar, as a share of what there is. kind: its color."""

    name: str
    bytes: int
    percent: float
    kind: str


@dataclass(frozen=True)
class Cell:
    """A number of the table of steps. percent: of the largest in its column."""

    text: str
    value: float
    percent: float


@dataclass(frozen=True)
class Column:
    """key: of a step in the report. form: of its figures."""

    title: str
    key: str
    form: Callable[[float], str] = whole


def _rough(value: float) -> str:
    return significant(value, 2)


COLUMNS = (
    Column("MACs", "macs"),
    Column("instructions", "instructions"),
    Column("instructions, estimated", "instructions_estimated"),
    Column("cycles", "cycles"),
    Column("cycles, measured", "cycles_measured"),
    Column("ms", "latency_ms", significant),
    Column("ms, estimated", "latency_ms_estimated", _rough),
    Column("uJ", "energy_uj", significant),
    Column("uJ, estimated", "energy_uj_estimated", _rough),
    Column("SQNR, dB", "sqnr_db", significant),
    Column("alone, dB", "sqnr_alone_db", significant),
    Column("weights, bytes", "weight_bytes"),
    Column("code, bytes", "code_bytes"),
    Column("SRAM in use, bytes", "live_bytes"),
)


def render_html(report: Report) -> str:
    """The page. Raises ValueError if `report` is of another schema version."""
    check_version(report)
    columns = [c for c in COLUMNS if any(s[c.key] is not None for s in report["steps"])]
    if report["instructions_total"] is not None:
        columns = [c for c in columns if not c.key.endswith("_estimated")]
    return render(
        "report.html.j2",
        r=report,
        sram=_parts(report["sram"], ("arena", "stack", "static")),
        flash=_parts(report["flash"], ("const", "code")),
        map=memory_map(report),
        significant=significant,
        decibels=decibels,
        columns=columns,
        sparse=[(report["steps"][layer["step"]], layer) for layer in report["sparsity"]],
        rows=[(s, label(s), _cells(report, s, columns)) for s in report["steps"]],
        hints=_hints(report),
        origin=lambda b: origin(report, b),
        label=label,
        dims=lambda shape: "x".join(map(str, shape)),
    )


def _parts(memory: Report, names: Sequence[str]) -> list[Part]:
    """What a memory holds, as shares of what is available."""
    titles = {"static": "statics", "const": "weights"}
    found = [(name, memory[f"{name}_bytes"]) for name in names]
    whole = max(memory["available_bytes"], sum(b or 0 for _, b in found), 1)
    return [
        Part(titles.get(name, name), size, 100 * size / whole, name)
        for name, size in found
        if size is not None
    ]


def memory_map(report: Report) -> MemoryMap | None:
    """The arena over time; None if there is nothing in it."""
    size = arena_end(report)
    if not report["steps"] or not size:
        return None
    scale = MAP_HEIGHT / size
    count = len(report["steps"])
    step_width = min(max(MAP_WIDTH // count, STEP_WIDTH[0]), STEP_WIDTH[1])

    def across(step: float) -> float:
        return LEFT_MARGIN + step * step_width

    def up(address: int) -> float:
        return round(TOP_MARGIN + (size - address) * scale, 2)

    boxes = [
        Box(
            across(b["first"]) + 1,
            up(b["end"]),
            (b["last"] - b["first"] + 1) * step_width - 2,
            round(max((b["end"] - b["offset"]) * scale, 1), 2),
            _kind(report, b),
            _words(report, b),
        )
        for b in report["buffers"]
    ]
    every = -(-count // 40)
    peak = peak_step(report)
    return MemoryMap(
        across(count) + 4,
        TOP_MARGIN + MAP_HEIGHT + BOTTOM_MARGIN,
        tuple(boxes),
        tuple(Tick(up(size * i // TICKS), f"{size * i // TICKS:,}") for i in range(TICKS + 1)),
        tuple(Tick(across(k + 0.5), str(k)) for k in range(0, count, every)),
        None if peak is None else Tick(across(peak["index"] + 0.5), f"peak {peak['live_bytes']:,}"),
    )


def _kind(report: Report, buffer: Report) -> str:
    ports = {(p["offset"], p["end"]) for p in (*report["inputs"], *report["outputs"])}
    is_port = (buffer["offset"], buffer["end"]) in ports and buffer["kind"] == "activation"
    return "port" if is_port else str(buffer["kind"])


def _words(report: Report, b: Report) -> str:
    size = b["end"] - b["offset"]
    steps = f"step {b['first']}" if b["first"] == b["last"] else f"steps {b['first']}-{b['last']}"
    ring = "a ring of rows of the " if b["kind"] == "ring" else ""
    return f"{ring}{origin(report, b)}: {size:,} bytes at [{b['offset']}, {b['end']}), {steps}"


def _cells(report: Report, step: Report, columns: Sequence[Column]) -> list[Cell]:
    cells = []
    for c in columns:
        value: Any = step[c.key]
        largest = max(s[c.key] or 0 for s in report["steps"])
        text = "" if value is None else c.form(value)
        cells.append(Cell(text, value or 0, 100 * (value or 0) / largest if largest else 0))
    return cells


def _hints(report: Report) -> list[str]:
    """Where a change would pay, in words."""
    steps = report["steps"]
    if not steps:
        return []
    peak = peak_step(report)
    assert peak is not None
    hints = [
        f"SRAM is decided by step {peak['index']} ({peak['op']} {label(peak)}): fewer channels or "
        "a smaller image there lower the peak"
    ]
    timed = "instructions" if report["instructions_total"] is not None else "instructions_estimated"
    if all(s[timed] is not None for s in steps):
        hints.append(_share("instructions", timed, steps))
    hints.append(_share("bytes of weights", "weight_bytes", steps))
    return hints


def _share(what: str, key: str, steps: Sequence[Report]) -> str:
    total = max(sum(s[key] for s in steps), 1)
    largest = sorted(steps, key=lambda s: (-s[key], s["index"]))[:HINTS]
    share = sum(s[key] for s in largest) / total
    names = ", ".join(str(s["index"]) for s in largest)
    return f"{share:.0%} of all {what} are in steps {names}"
