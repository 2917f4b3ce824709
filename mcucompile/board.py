"""Boards: the core, the clock and the memory that a model is compiled for."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from mcucompile import resources
from mcucompile.energy import Energy, energy_of
from mcucompile.errors import BoardError
from mcucompile.memory import Memory, largest_run, regions
from mcucompile.plan.program import Optimize, Target


@dataclass(frozen=True)
class Core:
    """A processor core.

    fpus: names of the floating-point units it may have, as gcc's -mfpu calls them.
    dsp: has the DSP instructions of ARMv7E-M.
    qemu: the QEMU machine with this core (all of the MPS2 family, which share a memory map), or
    NO_QEMU: models are compiled for the core and measured, but not run on it here.
    """

    name: str
    fpus: tuple[str, ...]
    dsp: bool
    qemu: str


NO_QEMU = "none"
CORES = {
    core.name: core
    for core in (
        Core("cortex-m0plus", (), False, NO_QEMU),
        Core("cortex-m3", (), False, "mps2-an385"),
        Core("cortex-m4", ("fpv4-sp-d16",), True, "mps2-an386"),
        Core("cortex-m7", ("fpv5-sp-d16", "fpv5-d16"), True, "mps2-an500"),
        Core("cortex-m33", ("fpv5-sp-d16",), True, NO_QEMU),
    )
}
CONSOLES = ("uart", "itm", "semihosting", "none")
VECTOR_ALIGN = 128  # bytes; what a vector table at the start of flash needs


@dataclass(frozen=True)
class Board:
    """A board as its TOML file describes it; sizes in bytes, clock in Hz.

    flash_wait_states: cycles that a read of flash takes beyond the first, at that clock.
    fpu: the floating-point unit as gcc calls it, or "none". console: where the board's own image
    prints: "uart", "itm" (the SWO pin), "semihosting" (a debugger) or "none". support: the C file
    that starts clocks, caches and UART (see boards/support/board.h), or None; a path in the board
    file is relative to it. qemu: the QEMU machine that runs the same core, or NO_QEMU. energy: None
    where nobody knows.
    ram_limit, flash_limit: what a person allows the model instead of all there is. regions: of RAM,
    over which the arena is to be spread, in the order of preference; none for the largest stretch.
    """

    name: str
    title: str
    core: str
    fpu: str
    clock_hz: int
    flash_wait_states: int
    console: str
    qemu: str
    flash: tuple[Memory, ...]
    ram: tuple[Memory, ...]
    support: Path | None = None
    energy: Energy | None = None
    ram_limit: int | None = None
    flash_limit: int | None = None
    regions: tuple[Memory, ...] = ()

    @property
    def main_flash(self) -> Memory:
        """The largest contiguous stretch of flash: vector table, code and constants go there."""
        return largest_run(self.flash)

    @property
    def main_ram(self) -> Memory:
        """The largest region: stack and data go there, and the arena if there is but one."""
        if self.regions:
            return max(self.regions, key=lambda m: m.usable)
        return largest_run(self.ram)

    @property
    def arena(self) -> tuple[Memory, ...]:
        """The regions for the arena, the preferred first."""
        return self.regions or (self.main_ram,)

    @property
    def ram_bytes(self) -> int:
        """RAM that the model may take: the limit if there is one, else all regions."""
        return sum(m.usable for m in self.arena) if self.ram_limit is None else self.ram_limit

    @property
    def flash_bytes(self) -> int:
        """Flash that the model may take: the limit if there is one, else the main flash."""
        return self.main_flash.usable if self.flash_limit is None else self.flash_limit

    @property
    def dsp(self) -> bool:
        return CORES[self.core].dsp

    @property
    def cflags(self) -> tuple[str, ...]:
        """Compiler flags that select core and floating-point unit."""
        cpu = (f"-mcpu={self.core}", "-mthumb")
        if self.fpu == "none":
            return (*cpu, "-mfloat-abi=soft")
        return (*cpu, f"-mfpu={self.fpu}", "-mfloat-abi=hard")

    def target(self, optimize: Optimize = "balanced") -> Target:
        """What lowering needs to know of this board."""
        return Target(self.core, self.dsp, optimize, self.flash_bytes)

    def with_limits(self, ram: int | None = None, flash: int | None = None) -> Board:
        """This board with limits in bytes in place of its own sizes (None: the board's own)."""
        return replace(self, ram_limit=ram, flash_limit=flash)

    def with_regions(self, names: Sequence[str]) -> Board:
        """This board with the arena spread over the regions called `names`; see memory.regions."""
        found = regions(self.ram, names, f"board '{self.name}'") if names else ()
        return replace(self, regions=found)


def known_boards() -> tuple[str, ...]:
    """Names of the boards that come with mcucompile, sorted."""
    return tuple(sorted(p.stem for p in resources.boards_dir().glob("*.toml")))


def load_board(name: str) -> Board:
    """The board called `name`, or the one described by the TOML file at path `name`.

    Raises BoardError: MC051 for an unknown board or a missing file, MC052 for a wrong file.
    """
    return _read_board(board_file(name))


def board_file(name: str) -> Path:
    """Where the board called `name` is described; a name that ends in .toml is a path itself.

    Raises BoardError MC051 for an unknown board.
    """
    if name.endswith(".toml"):
        return Path(name)
    boards = known_boards()
    if name not in boards:
        near = difflib.get_close_matches(name, boards, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise BoardError(
            "MC051",
            f"board '{name}'",
            "is not known",
            f"the known boards are {', '.join(boards)}",
            f"{hint}give one of these, or the path of a board file (.toml)".strip(),
        )
    return resources.boards_dir() / f"{name}.toml"


def _read_board(path: Path) -> Board:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BoardError(
            "MC051",
            f"board file '{path}'",
            "cannot be read",
            error.strerror or str(error),
            "check the path; `mcucompile boards` lists the boards that need no file",
        ) from error
    except ValueError as error:
        raise _wrong(path, f"it is not TOML: {error}") from error
    try:
        return _board_of(table, path.parent)
    except ValueError as error:
        raise _wrong(path, str(error)) from error


def _wrong(path: Path, why: str) -> BoardError:
    return BoardError(
        "MC052",
        f"board file '{path}'",
        "is wrong",
        why,
        "write it like the board files that come with mcucompile",
    )


_BOARD_KEYS: Mapping[str, type] = {
    "name": str,
    "title": str,
    "core": str,
    "fpu": str,
    "clock_hz": int,
    "flash_wait_states": int,
    "console": str,
    "qemu": str,
    "flash": list,
    "ram": list,
    "support": str,
    "energy": dict,
}
_MEMORY_KEYS: Mapping[str, type] = {
    "name": str,
    "origin": int,
    "size": int,
    "reserved": int,
    "access_cycles": int,
}
_OPTIONAL = frozenset({"reserved", "access_cycles", "support", "energy"})
_TYPE_NAMES = {str: "a string", int: "an integer", list: "an array of tables", dict: "a table"}


def _board_of(table: dict[str, Any], folder: Path) -> Board:
    """The board that a parsed file in `folder` describes; ValueError says what is wrong with it."""
    _check_keys(table, _BOARD_KEYS, "the file")
    if table["core"] not in CORES:
        raise ValueError(f"core '{table['core']}' is none of {', '.join(CORES)}")
    core = CORES[table["core"]]
    _check_choice("fpu", table["fpu"], (*core.fpus, "none"))
    _check_choice("qemu", table["qemu"], (core.qemu,))
    _check_choice("console", table["console"], CONSOLES)
    if table["clock_hz"] <= 0:
        raise ValueError("clock_hz must be positive")
    if table["flash_wait_states"] < 0:
        raise ValueError("flash_wait_states must not be negative")
    flash, ram = (tuple(_memories(table[kind], kind)) for kind in ("flash", "ram"))
    support = _support(table, folder)
    energy = energy_of(table["energy"]) if "energy" in table else None
    return Board(**{**table, "flash": flash, "ram": ram, "support": support, "energy": energy})


def _support(table: dict[str, Any], folder: Path) -> Path | None:
    if "support" not in table:
        if table["console"] == "uart":
            raise ValueError("console 'uart' needs support, a C file that drives the UART")
        return None
    file: Path = folder / table["support"]
    if not file.is_file():
        raise ValueError(f"there is no file '{file}' (support)")
    return file.resolve()


def _memories(tables: list[Any], kind: str) -> list[Memory]:
    """The memories of an array of tables, by address."""
    if not tables:
        raise ValueError(f"there is no [[{kind}]]")
    memories = []
    for table in tables:
        if not isinstance(table, dict):
            raise ValueError(f"{kind} must be an array of tables")
        _check_keys(table, _MEMORY_KEYS, f"[[{kind}]]")
        memory = Memory(**table)
        if memory.origin < 0 or memory.reserved < 0 or memory.usable <= 0:
            raise ValueError(f"[[{kind}]] '{memory.name}' has no usable bytes")
        if memory.access_cycles < 1:
            raise ValueError(f"[[{kind}]] '{memory.name}' needs access_cycles of 1 or more")
        if memory.start % VECTOR_ALIGN:
            raise ValueError(
                f"[[{kind}]] '{memory.name}' does not start at a multiple of {VECTOR_ALIGN} bytes"
            )
        memories.append(memory)
    memories.sort(key=lambda m: m.origin)
    for low, high in pairwise(memories):
        if low.end > high.origin:
            raise ValueError(f"[[{kind}]] '{low.name}' and '{high.name}' overlap")
    return memories


def _check_keys(table: Mapping[str, Any], keys: Mapping[str, type], where: str) -> None:
    for key, value in table.items():
        if key not in keys:
            raise ValueError(f"{where} has an unknown key '{key}'; known are {', '.join(keys)}")
        if not isinstance(value, keys[key]) or isinstance(value, bool):
            raise ValueError(f"{key} in {where} must be {_TYPE_NAMES[keys[key]]}, not {value!r}")
    missing = [key for key in keys if key not in table and key not in _OPTIONAL]
    if missing:
        raise ValueError(f"{where} lacks {', '.join(missing)}")


def _check_choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} '{value}' does not go with this core: {' or '.join(allowed)}")
