"""The machine code of an image, as binutils read it: instructions and symbols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mcucompile.emulate import toolchain
from mcucompile.emulate.cortex_m4 import Instruction

_INSTRUCTION = re.compile(
    r"^ *([0-9a-f]+):\t([0-9a-f ]+?) *\t([a-z]\S*)\t?([^@;\n]*)", re.MULTILINE
)
_SYMBOL = re.compile(r"^([0-9a-f]{8}) ([0-9a-f]{8}) (\w) (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Symbol:
    """A function or an object. size in bytes."""

    name: str
    address: int
    size: int
    is_function: bool


def instructions(elf: Path) -> Mapping[int, Instruction]:
    """Address -> instruction, of all code in `elf`."""
    listing = toolchain.run([toolchain.binutil("objdump"), "-d", elf]).stdout
    found = {}
    for address, code, mnemonic, operands in _INSTRUCTION.findall(listing):
        size = len(code.replace(" ", "")) // 2
        at = int(address, 16)
        found[at] = Instruction(at, size, mnemonic, operands.strip())
    return found


def symbols(elf: Path) -> list[Symbol]:
    """The symbols of `elf` that have a size, by address."""
    listing = toolchain.run([toolchain.binutil("nm"), "--print-size", "-n", elf]).stdout
    return [
        Symbol(name, int(address, 16) & ~1, int(size, 16), kind in "tTwW")
        for address, size, kind, name in _SYMBOL.findall(listing)
    ]
