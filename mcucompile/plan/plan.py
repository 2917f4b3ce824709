"""Plan: a program with an address for every buffer. Says where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mcucompile.plan.program import KernelCall, Program

ARENA_ALIGN = 4  # bytes; kernels read words


@dataclass(frozen=True)
class Region:
    """Bytes [offset, end) of the arena."""

    offset: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.offset

    def overlaps(self, other: Region) -> bool:
        return self.offset < other.end and other.offset < self.end


@dataclass(frozen=True)
class Buffer:
    """A piece of the arena that belongs to a stored value and its views, or to a scratch.

    first, last: the steps during which it is alive, both inclusive. A model input is alive from
    step 0 on, a model output until the last step. Two buffers that are alive at the same step
    have no byte in common, except where the step writes one in place of the other.
    """

    name: str
    region: Region
    first: int
    last: int
    values: tuple[str, ...]
    kind: Literal["activation", "scratch"]


@dataclass(frozen=True)
class Step:
    """A kernel call with the place of each operand.

    reads: None where the operand is a constant in flash. segment: how the step runs; "whole"
    tensors so far.
    """

    call: KernelCall
    reads: tuple[Region | None, ...]
    writes: tuple[Region, ...]
    scratch: Region | None
    segment: str = "whole"


@dataclass(frozen=True)
class Plan:
    """The schedule with addresses.

    arena_size: bytes, a multiple of ARENA_ALIGN. lower_bound: bytes that any placement of these
    buffers needs (the largest sum of sizes, rounded up to ARENA_ALIGN, alive at one step).
    inputs, outputs: value name -> region, in the order of the model.
    keeps_inputs: a run leaves the bytes of the inputs intact.
    """

    program: Program
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    arena_size: int
    lower_bound: int
    inputs: Mapping[str, Region]
    outputs: Mapping[str, Region]
    keeps_inputs: bool = False
