"""An arena in several memories.

Their bytes are one range of addresses, one memory after the other in the order of preference, so
that whatever makes the arena small makes good use of the first of them. Nothing lies across a
border.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from mcucompile.plan.plan import ARENA_ALIGN, Part, Region


@dataclass(frozen=True)
class Memory:
    """A memory that the arena may use `size` bytes of."""

    name: str
    size: int


def borders(memories: Sequence[Memory]) -> list[int]:
    """Addresses at which another memory begins. The last one has no end: what is too much for all
    is there, for the error that says so."""
    return list(accumulate(m.size // ARENA_ALIGN * ARENA_ALIGN for m in memories[:-1]))


def beyond_borders(offset: int, size: int, memories: Sequence[Memory]) -> int:
    """The first address from `offset` on at which `size` bytes lie across no border."""
    for border in borders(memories):
        if offset < border < offset + size:
            offset = border
    return offset


def parts(memories: Sequence[Memory], used: Iterable[Region]) -> tuple[Part, ...]:
    """What `used` takes of each of several memories, from its beginning on, as far as it takes
    anything. None of a single one."""
    if len(memories) < 2:
        return ()
    begins = [0, *borders(memories)]
    ends = list(begins)
    for region in used:
        k = max(i for i, begin in enumerate(begins) if begin <= region.offset)
        ends[k] = max(ends[k], -(-region.end // ARENA_ALIGN) * ARENA_ALIGN)
    return tuple(
        Part(m.name, Region(begin, end))
        for m, begin, end in zip(memories, begins, ends, strict=True)
        if begin < end
    )
