"""Which instructions every call of a step executes, from the log that QEMU writes of its blocks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mcucompile.emulate.cortex_m4 import Instruction

LOG = "in_asm,exec,nochain"  # what QEMU has to log
_TRANSLATED = re.compile(r"0x([0-9a-f]{8}): ")
_EXECUTED = re.compile(r"Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/")
_NOT_EXECUTED = "Stopped execution"  # of the block logged last


@dataclass(frozen=True, eq=False)
class Block:
    """Instructions that follow each other in memory and are executed from the first to the last."""

    instructions: tuple[Instruction, ...]

    @property
    def start(self) -> int:
        return self.instructions[0].address

    @property
    def end(self) -> int:
        return self.instructions[-1].end


@dataclass
class Call:
    """One call of a step, with what the profiling hook around it needs.

    blocks: how often each block is executed. taken: branches that leave the straight line.
    """

    blocks: Counter[Block] = field(default_factory=Counter)
    taken: int = 0


def read_calls(log: Iterable[str], code: Mapping[int, Instruction], hook: int) -> list[Call]:
    """The calls between two executions of the function at address `hook`, in order.

    code: every instruction by its address.
    """
    calls = _Calls(hook)
    blocks: dict[int, Block] = {}
    translated: list[Instruction] = []
    executed: Block | None = None  # and not known to have been stopped
    for line in log:
        if line.startswith("Trace"):
            if translated:
                blocks[translated[0].address] = Block(tuple(translated))
                translated = []
            if executed:
                calls.execute(executed)
            found = _EXECUTED.match(line)
            executed = blocks[int(found[1], 16)] if found else None
        elif found := _TRANSLATED.match(line):
            translated.append(code[int(found[1], 16)])
        elif line.startswith(_NOT_EXECUTED):
            executed = None
    return calls.finished


class _Calls:
    """Splits a sequence of blocks at the executions of the hook."""

    def __init__(self, hook: int) -> None:
        self.finished: list[Call] = []
        self._hook = hook
        self._call: Call | None = None
        self._inside = False  # the step, not the hook that is called before it
        self._returns_to = 0
        self._end = 0  # of the block before

    def execute(self, block: Block) -> None:
        if block.start == self._hook:
            self._toggle()
        elif self._call is not None and (self._inside or block.start == self._returns_to):
            if self._inside and block.start != self._end:
                self._call.taken += 1
            self._inside = True
            self._call.blocks[block] += 1
        self._end = block.end

    def _toggle(self) -> None:
        if self._call is None:
            self._call, self._inside, self._returns_to = Call(), False, self._end
        else:
            self._call.taken += 1
            self.finished.append(self._call)
            self._call = None
