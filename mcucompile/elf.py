"""ELF files, as far as sizes go: sections, and the symbols that have bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from mcucompile.errors import UsageError


@dataclass(frozen=True)
class Section:
    """is_loaded: in memory when the program runs. is_stored: in the file as well, and so in flash;
    other loaded sections are RAM that starts as anything or zero."""

    name: str
    size: int
    is_loaded: bool
    is_stored: bool


@dataclass(frozen=True)
class Symbol:
    """A function or an object of `size` bytes. file: the source it is local to, "" if global."""

    name: str
    size: int
    section: str
    is_function: bool
    file: str


@dataclass(frozen=True)
class Elf:
    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    def size(self, *names: str) -> int:
        """Bytes of the sections called so; of those that are not there none."""
        return sum(s.size for s in self.sections if s.name in names)

    @property
    def flash_bytes(self) -> int:
        """Code, constants and the initial values of data."""
        return sum(s.size for s in self.sections if s.is_stored)


def read_elf(path: Path) -> Elf:
    """What the linker (or, of an object, the compiler) made of `path`.

    Raises UsageError MC036 if it cannot be read, or is no ELF file.
    """
    try:
        with path.open("rb") as stream:
            file = ELFFile(stream)
            return Elf(tuple(_sections(file)), tuple(_symbols(file)))
    except (OSError, ELFError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            "MC036",
            f"firmware '{path}'",
            "cannot be read as ELF",
            why or type(error).__name__,
            "give the .elf file that the linker wrote, not .bin or .hex",
        ) from error


def _sections(file: ELFFile) -> Iterator[Section]:
    for section in file.iter_sections():
        is_loaded = bool(section["sh_flags"] & SH_FLAGS.SHF_ALLOC)
        is_stored = is_loaded and section["sh_type"] != "SHT_NOBITS"
        if section.name:
            yield Section(section.name, section["sh_size"], is_loaded, is_stored)


def _symbols(file: ELFFile) -> Iterator[Symbol]:
    """Local symbols follow the file that they are from, global ones come last."""
    for table in file.iter_sections():
        if not isinstance(table, SymbolTableSection):
            continue
        source = ""
        for symbol in table.iter_symbols():
            kind, binding = symbol["st_info"]["type"], symbol["st_info"]["bind"]
            if kind == "STT_FILE":
                source = symbol.name
            index = symbol["st_shndx"]
            if kind in ("STT_FUNC", "STT_OBJECT") and symbol["st_size"] and isinstance(index, int):
                own = source if binding == "STB_LOCAL" else ""
                section = file.get_section(index).name
                yield Symbol(symbol.name, symbol["st_size"], section, kind == "STT_FUNC", own)
