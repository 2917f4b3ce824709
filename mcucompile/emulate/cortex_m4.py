"""Instructions of a Cortex-M4 as its Technical Reference Manual counts them: class and cycles.

The costs hold for memory without wait states. A branch costs one cycle here; refilling the pipeline
is added for each branch that is taken, which only an execution knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

TAKEN_BRANCH = 2  # cycles to refill the pipeline; the manual says 1 to 3
_DIVIDE = 7  # cycles; the manual says 2 to 12
_FLOAT_DIVIDE, _FLOAT_MULTIPLY_ADD = 14, 3
_PAIR = 3


class Kind(StrEnum):
    """Classes of instructions. Every instruction is in exactly one."""

    ALU = "alu"  # multiplications, SIMD and IT, too: all that takes one cycle
    LOAD = "load"  # of one register
    STORE = "store"  # of one register
    PAIR = "pair"  # LDRD, STRD, and 64 bits of the floating-point unit
    MULTIPLE = "multiple"  # LDM, STM, PUSH, POP
    BRANCH = "branch"
    DIVIDE = "divide"
    FLOAT = "float"


_BRANCH = re.compile(
    r"^(cbn?z|bl?x?(eq|ne|cs|cc|hs|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?|tb[bh])(\.[nw])?$"
)
_KINDS = (  # the first that matches
    (re.compile(r"v?(ldm|stm|push|pop)"), Kind.MULTIPLE),
    (re.compile(r"(ldrd|strd)"), Kind.PAIR),
    (re.compile(r"v?ldr"), Kind.LOAD),
    (re.compile(r"v?str"), Kind.STORE),
    (re.compile(r"[su]div"), Kind.DIVIDE),
    (re.compile(r"v"), Kind.FLOAT),
)
_REGISTER = re.compile(r"\b(r\d+|sl|fp|ip|lr|sp|pc)\b")
_NO_RESULT = re.compile(r"(cmp|cmn|tst|teq|it)")
_TWO_RESULTS = re.compile(r"[su]m(ul|la)l|umaal")
_ADDRESS = re.compile(
    r"\[(?P<base>\w+)(, (#(?P<offset>-?\d+)|(?P<index>\w+)(, lsl #(?P<shift>\d+))?))?\]"
)


@dataclass(frozen=True)
class Instruction:
    """One instruction as a disassembler prints it. size: its bytes."""

    address: int
    size: int
    mnemonic: str
    operands: str

    @property
    def end(self) -> int:
        return self.address + self.size

    @property
    def kind(self) -> Kind:
        if _BRANCH.match(self.mnemonic):
            return Kind.BRANCH
        for pattern, kind in _KINDS:
            if pattern.match(self.mnemonic):
                wide = kind in (Kind.LOAD, Kind.STORE) and self.operands.startswith("d")
                return Kind.PAIR if wide else kind
        return Kind.ALU

    @property
    def words_read(self) -> int:
        """Accesses by which it reads data from memory."""
        if not re.match(r"v?(ld|pop)", self.mnemonic):
            return 0
        if self.kind is Kind.MULTIPLE:
            return self.registers
        return 2 if self.kind is Kind.PAIR else 1

    @property
    def registers(self) -> int:
        """Words in the register list of a load or store of several."""
        inside = self.operands[self.operands.index("{") + 1 : self.operands.index("}")]
        count = 0
        for item in inside.split(","):
            first, _, last = item.strip().partition("-")
            items = int(last[1:]) - int(first[1:]) + 1 if last else 1
            count += items * (2 if first.startswith("d") else 1)
        return count

    @property
    def base(self) -> str:
        """The register that a load or store takes its address from."""
        if found := _ADDRESS.search(self.operands):
            return found["base"]
        return "sp" if self.operands.startswith("{") else re.split("[!,]", self.operands)[0]

    def address_read(self, registers: dict[str, int]) -> int:
        """The address at which a load begins, given the registers before it."""
        found = _ADDRESS.search(self.operands)
        address = registers[self.base]
        if found and found["offset"]:
            address += int(found["offset"])
        elif found and found["index"]:
            address += registers[found["index"]] << int(found["shift"] or 0)
        return address & 0xFFFF_FFFF


def block_cycles(block: Iterable[Instruction]) -> int:
    """Cycles of instructions that are executed one after the other, taken branches apart.

    A load directly after a load overlaps with it, unless its address depends on that one. An
    address that the instruction before has computed costs a cycle.
    """
    cycles = 0
    before, results = Kind.BRANCH, frozenset[str]()
    for instruction in block:
        kind = instruction.kind
        cost = _cycles(instruction, kind)
        if kind in (Kind.LOAD, Kind.STORE):
            depends = not results.isdisjoint(_address_registers(instruction))
            if kind is Kind.LOAD and before is Kind.LOAD and not depends:
                cost -= 1
            elif depends and before is not Kind.LOAD:
                cost += 1
        cycles += cost
        before, results = kind, _results(instruction, kind)
    return cycles


def _cycles(instruction: Instruction, kind: Kind) -> int:
    if kind is Kind.MULTIPLE:
        return 1 + instruction.registers
    if kind is Kind.FLOAT:
        return _float_cycles(instruction)
    return {Kind.LOAD: 2, Kind.PAIR: _PAIR, Kind.DIVIDE: _DIVIDE}.get(kind, 1)


def _float_cycles(instruction: Instruction) -> int:
    if re.match(r"v(div|sqrt)", instruction.mnemonic):
        return _FLOAT_DIVIDE
    if re.match(r"v(fn?m|n?ml)[as]", instruction.mnemonic):
        return _FLOAT_MULTIPLY_ADD
    two = instruction.mnemonic.startswith("vmov") and instruction.operands.count(",") > 1
    return 2 if two else 1


def _address_registers(instruction: Instruction) -> list[str]:
    found = _ADDRESS.search(instruction.operands)
    return _REGISTER.findall(found[0]) if found else []


def _results(instruction: Instruction, kind: Kind) -> frozenset[str]:
    """General registers that an instruction leaves for the next one to wait for."""
    if kind not in (Kind.ALU, Kind.FLOAT, Kind.LOAD) or _NO_RESULT.match(instruction.mnemonic):
        return frozenset()
    names = [operand.strip() for operand in instruction.operands.split(",")[:2]]
    return frozenset(names if _TWO_RESULTS.match(instruction.mnemonic) else names[:1])
