"""The report as text: what a person reads in a terminal. Made from the report's data alone."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mcucompile.report.accuracy import validation_lines
from mcucompile.report.build import Report, check_version
from mcucompile.report.figures import significant, whole
from mcucompile.report.fit import arena_end, label, live_buffers, origin, peak_step
from mcucompile.report.quantization import quantization_lines
from mcucompile.report.schedule import schedule_lines
from mcucompile.report.sparsity import sparsity_lines
from mcucompile.report.timing import time_lines
from mcucompile.report.weights import weight_lines, weight_table

WIDTH = 96  # columns, unless a terminal has others
NARROWEST = 60
MAP_MARGIN = 24  # columns of the memory map besides operators and bytes of the arena
LEGEND = (
    "r read, w written, x written in place of what is read, s scratch, - kept for a later step, "
    ". free"
)
HANGING = " " * 11  # before what does not fit a line of the summary
LARGEST = 5


@dataclass(frozen=True)
class _Column:
    """A column of the table of steps: a key of the step, how wide and in which format."""

    title: str
    key: str
    width: int
    form: Callable[[float], str] = whole


_COLUMNS = (
    _Column("MACs", "macs", 11),
    _Column("weights", "weight_bytes", 9),
    _Column("code", "code_bytes", 7),
    _Column("instructions", "instructions", 12),
    _Column("cycles", "cycles", 11),
    _Column("measured", "cycles_measured", 11),
    _Column("ms", "latency_ms", 7, significant),
    _Column("uJ", "energy_uj", 7, significant),
    _Column("SQNR", "sqnr_db", 6, significant),
    _Column("alone", "sqnr_alone_db", 6, significant),
)


def render_text(report: Report, width: int = WIDTH) -> str:
    """All of a report: warnings, summary, memory map, steps, largest consumers. No final newline.

    No line is longer than `width` columns, or NARROWEST. Raises ValueError if `report` is of
    another schema version.
    """
    width = max(width, NARROWEST)
    check_version(report)
    tables = [
        _memory_map(report, width),
        schedule_lines(report),
        _steps(report),
        _shared_code(report),
        _largest(report),
        _pruned(report),
        weight_table(report),
    ]
    sections = [
        _warnings(report, width),
        [part for line in _summary(report) for part in _folded(line, width)],
        *([_cut(line, width) for line in lines] for lines in tables),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _folded(line: str, width: int) -> list[str]:
    """A line of the summary as one or several, cut between words if possible."""
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=HANGING,
        drop_whitespace=True,
        replace_whitespace=False,
        break_on_hyphens=False,
    ) or [line]


def _cut(line: str, width: int) -> str:
    """A line of a table without what does not fit."""
    return line if len(line) <= width else line[: width - 3] + "..."


def _warnings(report: Report, width: int) -> list[str]:
    """A frame that nobody can miss."""
    if not report["warnings"]:
        return []
    bar = "!" * width
    lines = [bar]
    for warning in report["warnings"]:
        text = textwrap.wrap(f"WARNING: {warning}", width - 6)
        lines += [f"!! {line.ljust(width - 6)} !!" for line in text]
    return [*lines, bar]


# -- summary ----------------------------------------------------------------------------------


def _summary(report: Report) -> list[str]:
    model, board = report["model"], report["board"]
    core = f"{board['core']} at {board['clock_hz'] / 1e6:g} MHz"
    verdict = {True: "yes", False: "NO", None: "not known: see what is not measured"}
    return [
        f"model      {model['name']}: {model['macs']:,} MAC, {model['params']:,} parameters",
        f"           sha256 {model['sha256']}",
        *_repeated(model),
        f"board      {board['name']}: {board['title']}, {core}",
        f"flags      {board['cflags']}",
        f"fits       {verdict[report['fits']]}",
        *_port_lines("input", report["inputs"]),
        *_port_lines("output", report["outputs"]),
        *(quantization_lines(report["quantization"]) if report["quantization"] else []),
        *validation_lines(report["validation"]),
        *_pruned_lines(report["pruning"]),
        *sparsity_lines(report["sparsity"]),
        *weight_lines(report["weights"]),
        *_patch_lines(report["patches"]),
        "",
        *_sram(report),
        "",
        *_flash(report),
        "",
        *time_lines(report),
    ]


def _repeated(model: Report) -> list[str]:
    again = model["macs_repeated"]
    if not again:
        return []
    share = f"{again / model['macs']:.1%}"
    return [f"           {again:,} MAC more ({share}): rows are computed again to save SRAM"]


def _pruned_lines(pruning: Report) -> list[str]:
    if not pruning["layers"]:
        return []
    channels, macs, weights = (pruning[key] for key in ("channels", "macs", "weights"))
    removed = channels["before"] - channels["after"]
    return [
        f"pruned     {removed:,} of {channels['before']:,} channels, which change no output:",
        f"           {_change(macs)} MAC, {_change(weights)} weights",
    ]


def _patch_lines(patches: Report | None) -> list[str]:
    if patches is None:
        return []
    (down, across), segment = patches["grid"], patches["segment"]
    return [
        f"patches    {down} x {across}: {segment[0]['name']} to {segment[-1]['name']}, "
        f"{len(segment)} operators",
        f"           {_change(patches['macs'])} MAC, {patches['macs_overhead']:+.1%}",
    ]


def _change(figure: Report) -> str:
    return f"{figure['before']:,} -> {figure['after']:,}"


def _port_lines(kind: str, ports: Sequence[Report]) -> list[str]:
    lines = []
    for p in ports:
        place = f"as {p['element']} at {_range(p)}"
        lines.append(f"{kind:10} {p['name']}: {_shape(p['shape'])} {p['dtype']}, {place}")
        lines += [f"{'':10} {p['meaning']}"] if p["meaning"] else []
    return lines


def _sram(report: Report) -> list[str]:
    sram = report["sram"]
    arena, bound = sram["arena_bytes"], sram["lower_bound_bytes"]
    kept = sram["state_bytes"]
    return [
        f"SRAM       {_of(sram['total_bytes'], sram['available_bytes'])}",
        f"  arena    {_bytes(arena)}  lower bound {bound:,}: {_gap(sram)}",
        f"  scratch  {_bytes(sram['scratch_bytes'])}  of the arena, in the step that needs most",
        *([f"  states   {_bytes(kept)}  of the arena, kept from run to run"] if kept else []),
        f"  stack    {_bytes(sram['stack_bytes'])}",
        f"  statics  {_bytes(sram['static_bytes'])}",
        *_region_lines(sram["regions"]),
    ]


def _gap(sram: Report) -> str:
    """How good the placement is."""
    arena, bound, proved = (
        sram[f"{name}_bytes"] for name in ("arena", "lower_bound", "proved_bound")
    )
    if arena == bound:
        return "no placement is smaller"
    above = f"{arena - bound:,} above ({arena / bound - 1:.1%})"
    if arena <= proved:
        return f"{above}, proved: no placement is smaller"
    return f"{above}, {proved - bound:,} of them proved" if proved > bound else above


def _flash(report: Report) -> list[str]:
    flash = report["flash"]
    return [
        f"flash      {_of(flash['total_bytes'], flash['available_bytes'])}",
        f"  weights  {_bytes(flash['const_bytes'])}  constants of all steps",
        f"  code     {_bytes(flash['code_bytes'])}",
        *_region_lines(flash["regions"]),
    ]


def _region_lines(regions: Sequence[Report]) -> list[str]:
    return [f"  in {r['name']}: {_of(r['used_bytes'], r['capacity_bytes'])}" for r in regions]


def _of(used: int | None, available: int) -> str:
    if used is None:
        return f"not all measured, {available:,} bytes available"
    return f"{used:,} of {available:,} bytes ({used / available:.1%})"


def _bytes(count: int | None) -> str:
    return "not measured" if count is None else f"{count:12,}"


# -- memory map -------------------------------------------------------------------------------


def _memory_map(report: Report, width: int) -> list[str]:
    """One row per step, one column per slice of the arena."""
    size = arena_end(report)
    if not report["steps"] or not size:
        return []
    kinds = max(len(s["op"]) for s in report["steps"])
    columns = width - kinds - MAP_MARGIN
    head = " " * (kinds + 18)
    lines = [
        *_folded(f"memory map: {LEGEND}", width),
        f"{head}0{f'{size:,}'.rjust(columns)}",
    ]
    peak = peak_step(report)
    for step in report["steps"]:
        mark = " peak" if step is peak else ""
        row = _map_row(report, step, size, columns)
        lines.append(
            f"{step['index']:5} {step['op']:{kinds}} {step['live_bytes']:9,} |{row}|{mark}"
        )
    return lines


def _map_row(report: Report, step: Report, size: int, columns: int) -> str:
    layers = [("-", b) for b in live_buffers(report, step["index"])]
    roles = {"scratch": "s", "read": "r", "write": "w", "state": "x"}
    layers += [(roles[b["role"]], b) for b in step["buffers"]]
    read = [b for b in step["buffers"] if b["role"] == "read"]
    layers += [
        ("x", {"offset": r["offset"], "end": min(r["end"], w["end"])})
        for w in step["buffers"]
        for r in read
        if w["role"] == "write" and w["offset"] == r["offset"]
    ]
    row = ["."] * columns
    for letter, use in sorted(layers, key=lambda layer: "-srwx".index(layer[0])):
        for column in _columns(use["offset"], use["end"], size, columns):
            row[column] = letter
    return "".join(row)


def _columns(offset: int, end: int, size: int, columns: int) -> range:
    """The columns whose slice of the arena has a byte of [offset, end)."""
    return range(offset * columns // size, -(-end * columns // size))


# -- steps and largest consumers --------------------------------------------------------------


def _steps(report: Report) -> list[str]:
    """A table with four lines per step."""
    kinds = max((len(s["op"]) for s in report["steps"]), default=0)
    columns = [c for c in _COLUMNS if any(s[c.key] is not None for s in report["steps"])]
    lines = [f" step {'op':{kinds}}" + "".join(f" {c.title:>{c.width}}" for c in columns)]
    for step in report["steps"]:
        cells = "".join(f" {c.form(step[c.key]):>{c.width}}" for c in columns)
        places = ", ".join(f"{b['role']} {_range(b)}" for b in step["buffers"])
        lines += [f"{step['index']:5} {step['op']:{kinds}}{cells}"]
        lines += [f"      {_flow(step['shapes'])} {label(step)}", f"      {places}"]
        lines.append(f"      {step['kernel']}: {step['why']}")
    return lines


def _shared_code(report: Report) -> list[str]:
    """Functions of several steps; a step's own are in the table of steps."""
    shared = report["shared_code"]
    if not shared:
        return []
    lines = ["code of several steps:"]
    for f in shared:
        lines.append(f"{f['bytes']:13,} {f['function']}, steps {', '.join(map(str, f['steps']))}")
    return lines


def _flow(shapes: Report) -> str:
    inputs = " + ".join(_shape(s) for s in shapes["inputs"])
    return f"{inputs} -> {', '.join(_shape(s) for s in shapes['outputs'])}"


def _largest(report: Report) -> list[str]:
    lines: list[str] = []
    timed = report["instructions_total"] is not None
    work = "instructions" if timed else "macs"
    lines += _ranking(report, "most instructions" if timed else "most MACs", lambda s: s[work])
    lines += _ranking(report, "most weight bytes", lambda s: s["weight_bytes"])
    peak = peak_step(report)
    if peak is not None:
        lines.append(f"in the arena at the peak, step {peak['index']}:")
        for b in live_buffers(report, peak["index"])[:LARGEST]:
            lines.append(f"{b['end'] - b['offset']:13,}  {_range(b)} {origin(report, b)}")
    return lines


def _ranking(report: Report, title: str, key: Callable[[Report], int]) -> Iterator[str]:
    total = sum(key(s) for s in report["steps"])
    ranked = sorted(report["steps"], key=lambda s: (-key(s), s["index"]))[:LARGEST]
    if total:
        yield f"{title}:"
        for s in (s for s in ranked if key(s)):
            share = f"{key(s) / total:6.1%}"
            yield f"{key(s):13,} {share}  step {s['index']}, {s['op']} {label(s)}"


def _pruned(report: Report) -> list[str]:
    """The layers that lost channels, of the result or of the input."""
    rows = [
        (_change(layer["channels"]), _change(layer["macs"]), _change(layer["weights"]), layer)
        for layer in report["pruning"]["layers"]
    ]
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["channels, MACs and weights of the layers that lost some:"]
    for channels, macs, weights, layer in rows:
        figures = zip((channels, macs, weights), widths, strict=True)
        lines.append("  ".join(f"{text:>{width}}" for text, width in figures))
        lines[-1] += f"  {label(layer)}"
    return lines


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(d) for d in shape)


def _range(use: Report) -> str:
    return f"[{use['offset']}, {use['end']})"
