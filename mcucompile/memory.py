"""Memories of a board, and the regions that they are used as."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mcucompile.errors import BoardError

ALL = "all"


@dataclass(frozen=True)
class Memory:
    """A memory of the board: bytes [origin, origin + size).

    reserved: bytes at its start that belong to the platform, e.g. to a bootloader. access_cycles:
    of a load from it.
    """

    name: str
    origin: int
    size: int
    reserved: int = 0
    access_cycles: int = 1

    @property
    def start(self) -> int:
        """Address of the first byte that an application may use."""
        return self.origin + self.reserved

    @property
    def end(self) -> int:
        return self.origin + self.size

    @property
    def usable(self) -> int:
        """Bytes that an application may use."""
        return self.size - self.reserved


def linker_name(name: str) -> str:
    """The name of a memory in linker scripts."""
    return re.sub(r"\W", "_", name)


def runs(memories: Sequence[Memory]) -> list[Memory]:
    """Memories that follow each other without a gap count as one, as slow as the slowest one."""
    found = [memories[0]]
    for memory in memories[1:]:
        last = found[-1]
        if memory.start == last.end:
            found[-1] = _joined(last, memory)
        else:
            found.append(memory)
    return found


def largest_run(memories: Sequence[Memory]) -> Memory:
    return max(runs(memories), key=lambda m: m.usable)


def regions(memories: Sequence[Memory], names: Sequence[str], where: str) -> tuple[Memory, ...]:
    """The regions called `names`, in this order: a memory, or NAME+NAME that follow each other.

    "all" is every stretch of memory, the fastest and then the largest first. Raises BoardError
    MC054 if there is no such region, or if two of them share bytes.
    """
    if list(names) == [ALL]:
        return tuple(sorted(runs(memories), key=lambda m: (m.access_cycles, -m.usable)))
    known = {m.name: m for m in memories}
    found = []
    for name in names:
        members = [known.get(part) for part in name.split("+")]
        if any(m is None for m in members):
            raise _wrong(where, f"'{name}' is none of {', '.join(known)}")
        chain = [m for m in members if m is not None]
        if any(low.end != high.start for low, high in pairwise(chain)):
            raise _wrong(where, f"the memories of '{name}' do not follow each other")
        region = chain[0]
        for memory in chain[1:]:
            region = _joined(region, memory)
        found.append(region)
    for low, high in pairwise(sorted(found, key=lambda m: m.origin)):
        if low.end > high.origin:
            raise _wrong(where, f"'{low.name}' and '{high.name}' share bytes")
    return tuple(found)


def _joined(low: Memory, high: Memory) -> Memory:
    name, cycles = f"{low.name}+{high.name}", max(low.access_cycles, high.access_cycles)
    return Memory(name, low.origin, high.end - low.origin, low.reserved, cycles)


def _wrong(where: str, why: str) -> BoardError:
    fix = "name memories of the board file, joined by + where they follow each other, or 'all'"
    return BoardError("MC054", where, "has no such regions", why, fix)
