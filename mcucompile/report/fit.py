"""Does the model fit its board? If not: by how much, because of what, and what would help."""

from __future__ import annotations

from mcucompile.board import known_boards, load_board
from mcucompile.errors import DoesNotFitError
from mcucompile.report.build import Report

LARGEST = 5  # culprits named in an error


def fit_or_raise(report: Report) -> None:
    """Raise DoesNotFitError, MC301 for SRAM, MC302 for flash, if what is known is too much."""
    if report["sram"]["fits"] is False:
        raise _sram_error(report)
    if report["flash"]["fits"] is False:
        raise _flash_error(report)


def arena_end(report: Report) -> int:
    """The end of the arena's addresses: its bytes, unless it is spread over several memories."""
    ends = [int(b["end"]) for b in report["buffers"]]
    return max([int(report["sram"]["arena_bytes"]), *ends])


def peak_step(report: Report) -> Report | None:
    """The step during which most bytes of the arena are in use; None without steps."""
    return max(report["steps"], key=lambda s: int(s["live_bytes"]), default=None)


def live_buffers(report: Report, index: int) -> list[Report]:
    """The buffers alive at step `index`, largest first."""
    alive = [b for b in report["buffers"] if b["first"] <= index <= b["last"]]
    return sorted(alive, key=lambda b: (b["offset"] - b["end"], b["offset"]))


def origin(report: Report, buffer: Report) -> str:
    """What a buffer holds, in words."""
    if buffer["kind"] == "scratch":
        step = report["steps"][buffer["first"]]
        return f"scratch memory of {step['op']} '{label(step)}'"
    for step in report["steps"]:
        if buffer["name"] == f"state of step {step['index']}":
            return f"state of {step['op']} '{label(step)}'"
        if any(b["role"] == "write" and b["name"] == buffer["name"] for b in step["buffers"]):
            return f"result of {step['op']} '{label(step)}'"
    return f"model input '{buffer['name']}'"


def label(step: Report) -> str:
    """A step's name in the words of the ONNX file."""
    return ", ".join(step["onnx_names"]) or str(step["name"])


def _sram_error(report: Report) -> DoesNotFitError:
    sram = report["sram"]
    parts = {"arena": sram["arena_bytes"], "stack": sram["stack_bytes"]}
    parts["statics"] = sram["static_bytes"]
    lines = [_needed(parts, sram["available_bytes"])]
    peak = peak_step(report)
    if peak is not None:
        lines[0] += f"; most at step {peak['index']}, {peak['op']} '{label(peak)}', which keeps"
        lines += [
            f"{b['end'] - b['offset']:11,} bytes  {origin(report, b)}, {_period(b)}"
            for b in live_buffers(report, peak["index"])[:LARGEST]
        ]
    fixes = _raise_limit("--ram", parts, sram)
    if report["keeps_inputs"]:
        fixes.append("drop --keep-input, so that the bytes of the input are used again")
    fixes.append("give the model a smaller input, or fewer channels where the peak is")
    return _error(report, "MC301", "SRAM", lines, fixes)


def _flash_error(report: Report) -> DoesNotFitError:
    flash = report["flash"]
    parts = {"constants": flash["const_bytes"], "code": flash["code_bytes"]}
    lines = [_needed(parts, flash["available_bytes"]) + "; the largest weights are"]
    steps = sorted(report["steps"], key=lambda s: (-s["weight_bytes"], s["index"]))
    lines += [
        f"{s['weight_bytes']:11,} bytes  step {s['index']}, {s['op']} '{label(s)}'"
        for s in steps[:LARGEST]
        if s["weight_bytes"]
    ]
    fixes = _raise_limit("--flash", parts, flash)
    fixes.append("make the layers with the largest weights smaller")
    return _error(report, "MC302", "flash", lines, fixes)


def _needed(parts: dict[str, int | None], available: int) -> str:
    text = ", ".join(f"{k} {v:,}" for k, v in parts.items() if v is not None)
    unknown = [k for k, v in parts.items() if v is None]
    more = f", and {' and '.join(unknown)} not measured" if unknown else ""
    return f"it needs {_known(parts):,} bytes ({text}{more}), {available:,} are available"


def _raise_limit(option: str, parts: dict[str, int | None], memory: Report) -> list[str]:
    """Advice where a limit, not the board, is too small."""
    capacity = memory["regions"][0]["capacity_bytes"]
    fits = _known(parts) <= capacity
    return [f"raise {option} (the board has {capacity:,} bytes)"] if fits else []


def _known(parts: dict[str, int | None]) -> int:
    return sum(v for v in parts.values() if v is not None)


def _period(buffer: Report) -> str:
    if buffer["first"] == buffer["last"]:
        return f"step {buffer['first']}"
    return f"steps {buffer['first']} to {buffer['last']}"


def _error(
    report: Report, id: str, memory: str, lines: list[str], fixes: list[str]
) -> DoesNotFitError:
    larger = _boards_that_fit(report)
    if larger:
        fixes.append(f"take a board it fits: {', '.join(larger)}")
    where = f"model '{report['model']['name']}' on board '{report['board']['name']}'"
    what = f"does not fit into {memory}"
    return DoesNotFitError(id, where, what, "\n       ".join(lines), "; ".join(fixes))


def _boards_that_fit(report: Report) -> list[str]:
    """Other known boards with memory enough for all that is known, smallest first."""
    sram, flash = report["sram"], report["flash"]
    ram = _known({k: sram[k] for k in ("arena_bytes", "stack_bytes", "static_bytes")})
    rom = _known({k: flash[k] for k in ("const_bytes", "code_bytes")})
    boards = [load_board(name) for name in known_boards() if name != report["board"]["name"]]
    fitting = [b for b in boards if b.ram_bytes >= ram and b.flash_bytes >= rom]
    fitting.sort(key=lambda b: (b.ram_bytes, b.flash_bytes))
    return [
        f"{b.name} ({b.ram_bytes:,} bytes of SRAM, {b.flash_bytes:,} of flash)" for b in fitting
    ]
