"""A bound on the stack of a function, proved from the machine code.

The frame of a function is the sum of what its instructions take from the stack pointer; the bound
of a function is its frame plus the largest bound among the functions it calls. That holds for
compiled C, for library functions and for assembly alike, as long as no loop takes stack without
giving it back (no compiler does that), sizes are constants, and there are no indirect or recursive
calls; those are found and refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from mcucompile.emulate import toolchain
from mcucompile.errors import InternalError

_LABEL = re.compile(r"^([0-9a-f]+) <([^>]+)>:$")
_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\t(\S+)\s*(.*)$")
_BRANCH = re.compile(r"^(?:cbn?z|bl?x?(?:eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?)(?:\.[nw])?$")
_COMMENT = re.compile(r"\s*[;@].*$")
_TARGET = re.compile(r"([0-9a-f]+) <[^>]+>$")
_PUSH = re.compile(r"^(?:v?push|v?stmdb(?:\.w)?)$")
_PRE_DECREMENT = re.compile(r"\[sp, #-(\d+)\]!")
_SUBTRACT = re.compile(r"^sub[sw]?(?:\.w)?$")


@dataclass
class Function:
    """Frame in bytes, addresses of callees, and why there is no bound ("" if there is one)."""

    name: str
    frame: int = 0
    callees: set[int] = field(default_factory=set)
    unbounded: str = ""


def stack_bound(elf: Path, root: str) -> int:
    """Bytes of stack that a call of the function `root` needs below its caller's stack pointer.

    Raises InternalError if the code of `root` or of something it calls has no bound.
    """
    functions = call_graph(elf)
    for address, function in functions.items():
        if function.name == root:
            return _bound(functions, address, ())
    raise InternalError(f"{elf.name} has no function {root}")


def call_graph(elf: Path) -> dict[int, Function]:
    """Address -> function, of all code in `elf`."""
    objdump = toolchain.binutil("objdump")
    return _functions(toolchain.run([objdump, "-d", "--no-show-raw-insn", elf]).stdout)


def _bound(functions: dict[int, Function], address: int, path: tuple[int, ...]) -> int:
    function = functions[address]
    if address in path:
        raise InternalError(f"no bound on the stack: {function.name} is recursive")
    if function.unbounded:
        raise InternalError(f"no bound on the stack: {function.name} {function.unbounded}")
    path = (*path, address)
    return function.frame + max((_bound(functions, c, path) for c in function.callees), default=0)


def _functions(listing: str) -> dict[int, Function]:
    """Address -> function, from a disassembly."""
    functions: dict[int, Function] = {}
    jumps: list[tuple[int, int]] = []  # (function, target)
    here = 0
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            here = int(label[1], 16)
            functions[here] = Function(label[2])
        elif instruction := _INSTRUCTION.match(line):
            _, mnemonic, operands = instruction.groups()
            operands = _COMMENT.sub("", operands)
            function = functions[here]
            function.frame += _taken(mnemonic, operands)
            function.unbounded = function.unbounded or _obstacle(mnemonic, operands)
            target = _TARGET.search(operands)
            if target and _BRANCH.match(mnemonic):
                called = int(target[1], 16)
                if called != here or mnemonic.startswith("bl"):
                    jumps.append((here, called))
    for caller, target_address in jumps:
        if target_address in functions:  # not a branch within a function
            functions[caller].callees.add(target_address)
    return functions


def _taken(mnemonic: str, operands: str) -> int:
    """Bytes that an instruction takes from the stack."""
    if _PUSH.match(mnemonic) and operands.startswith(("{", "sp!")):
        return _register_bytes(operands[operands.index("{") + 1 : operands.index("}")])
    if decrement := _PRE_DECREMENT.search(operands):
        return int(decrement[1])
    if _SUBTRACT.match(mnemonic) and operands.startswith("sp,") and "#" in operands:
        return int(operands.rpartition("#")[2], 0)
    return 0


def _register_bytes(registers: str) -> int:
    """Bytes of a register list such as `r4, r5, lr` or `d8-d15`."""
    size = 0
    for item in registers.split(","):
        first, _, last = item.strip().partition("-")
        count = int(last[1:]) - int(first[1:]) + 1 if last else 1
        size += count * (8 if first.startswith("d") else 4)
    return size


def _obstacle(mnemonic: str, operands: str) -> str:
    """Why a function with this instruction has no bound; "" if it has."""
    if mnemonic.startswith("blx") and re.match(r"r\d+|ip|lr", operands):
        return "makes an indirect call"
    if re.match(r"bx(?!.*lr)", f"{mnemonic} {operands}") or operands.startswith("pc, r"):
        return "makes an indirect jump"
    moves_sp = re.match(r"sp, (sp, )?(r\d+|ip|fp)", operands)
    if moves_sp and (_SUBTRACT.match(mnemonic) or mnemonic == "mov"):
        return "takes stack of variable size"
    return ""
