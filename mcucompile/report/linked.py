"""What of the model is in a linked image, symbol by symbol, and whether another image has it too.

An image of ours has a section for each kind of bytes of the model (templates/linker.ld.j2), so that
nothing of it can be missed. In another firmware the model's symbols are found by their names, which
begin with the model's, and by the source that they are local to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcucompile.elf import Elf, Symbol
from mcucompile.errors import UsageError, ValidationError

Report = dict[str, Any]

FLASH = (".text", ".rodata", ".data")  # of the model, in images of ours


def linked(elf: Elf, name: str) -> Report:
    """The report's "linked" of the image of the model called `name`: where its flash goes."""
    inside = [s for s in elf.symbols if s.section in FLASH]
    own = [s for s in inside if _is_of(s, name)]
    library = [s for s in inside if not _is_of(s, name)]
    named = sum(s.size for s in inside)
    return {
        "objects": [_entry(s) for s in _largest_first(own)],
        "library": [_entry(s) for s in _largest_first(library)],
        "padding_bytes": elf.size(*FLASH) - named,
    }


def _is_of(symbol: Symbol, name: str) -> bool:
    if symbol.file:
        return symbol.file in (f"{name}.c", f"{name}_weights.c")
    return symbol.name.startswith(f"{name}_")


def _entry(symbol: Symbol) -> Report:
    kind = "code" if symbol.is_function else "const"
    return {"name": symbol.name, "kind": kind, "bytes": symbol.size}


def _largest_first(symbols: list[Symbol]) -> list[Symbol]:
    return sorted(symbols, key=lambda s: (-s.size, s.name))


@dataclass(frozen=True)
class Difference:
    """An object whose bytes are not those of the report; None where it is not at all."""

    name: str
    reported: int | None
    found: int | None


@dataclass(frozen=True)
class Comparison:
    """A report beside a firmware. reported, found: bytes by kind, of what is in the firmware or
    should be. left_out: functions of the interface that the firmware does not call. flash_bytes: of
    the whole firmware."""

    reported: Mapping[str, int]
    found: Mapping[str, int]
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]
    flash_bytes: int


def compare_with(report: Report, elf: Elf) -> Comparison:
    """The model of `report` in a firmware that somebody has linked.

    Raises UsageError MC037 if the report was made without a compiler, or if the firmware has not
    the model.
    """
    name = report["model"]["name"]
    if report["linked"] is None:
        raise UsageError(
            "MC037",
            f"report of '{name}'",
            "does not say what is in an image",
            "it was made without arm-none-eabi-gcc",
            "compile the model again where the cross compiler is installed",
        )
    wanted = {entry["name"]: entry for entry in report["linked"]["objects"]}
    own = [s for s in elf.symbols if _is_of(s, name) and (s.file or s.name in wanted)]
    found = {s.name: _entry(s) for s in own}  # another model's name may begin with this one's
    if not wanted.keys() & found.keys():
        raise UsageError(
            "MC037",
            f"model '{name}'",
            "is not in the firmware",
            f"none of its {len(wanted)} symbols is there",
            "give the firmware's ELF file with its symbols (not stripped), and this model's report",
        )
    left_out = tuple(sorted(n for n in wanted.keys() - found.keys() if _is_optional(n, name)))
    kept = {n: entry for n, entry in wanted.items() if n not in left_out}
    differences = tuple(_differences(kept, found))
    return Comparison(_by_kind(kept), _by_kind(found), differences, left_out, elf.flash_bytes)


def _is_optional(symbol: str, name: str) -> bool:
    """Is it a function that a firmware need not call?"""
    return symbol in (f"{name}_{part}" for part in ("input", "output", "reset", "info", "begin"))


def _differences(wanted: Mapping[str, Report], found: Mapping[str, Report]) -> Iterator[Difference]:
    for name in [*wanted, *(n for n in found if n not in wanted)]:
        a, b = (side[name]["bytes"] if name in side else None for side in (wanted, found))
        if a != b:
            yield Difference(name, a, b)


def _by_kind(entries: Mapping[str, Report]) -> Mapping[str, int]:
    sizes: Counter[str] = Counter({"code": 0, "const": 0})
    for entry in entries.values():
        sizes[entry["kind"]] += entry["bytes"]
    return sizes


def comparison_text(report: Report, comparison: Comparison) -> str:
    """A comparison for people. No final newline."""
    c, own = comparison, sum(comparison.found.values())
    lines = [f"{'':24} {'reported':>12} {'in the ELF':>12}"]
    for kind, title in (("const", "constants, bytes"), ("code", "functions, bytes")):
        same = "equal" if c.reported[kind] == c.found[kind] else "DIFFERENT"
        lines.append(f"{title:24} {c.reported[kind]:12,} {c.found[kind]:12,}  {same}")
    lines += [
        f"  {d.name}: {_bytes(d.reported)} reported, {_bytes(d.found)} in the ELF"
        for d in c.differences
    ]
    if c.left_out:
        lines.append(f"left out, as nobody calls it: {', '.join(c.left_out)}")
    for entry in report["linked"]["library"]:
        lines.append(f"also reported: {entry['name']} of the C library, {entry['bytes']:,} bytes")
    rest = c.flash_bytes - own
    lines.append(f"the rest of the firmware: {rest:,} of {c.flash_bytes:,} bytes of flash")
    return "\n".join(lines)


def _bytes(size: int | None) -> str:
    return "nothing" if size is None else f"{size:,}"


def require_equal(report: Report, comparison: Comparison) -> None:
    """Raise ValidationError MC403 if a symbol has other bytes in the firmware than reported."""
    if comparison.differences:
        names = ", ".join(d.name for d in comparison.differences[:3])
        count = len(comparison.differences)
        raise ValidationError(
            "MC403",
            f"model '{report['model']['name']}'",
            "is not in the firmware as reported",
            f"{count} symbols differ: {names}{', ...' if count > 3 else ''}",
            "build it from the files of this report, with its compiler and its flags: "
            + report["board"]["cflags"],
        )
