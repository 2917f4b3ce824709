"""A hand-written model folder, its plan, and what it computes; for tests of the harness."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcucompile.ir import Array, Value
from mcucompile.plan.plan import Place, Plan, Region, Segment, Step
from mcucompile.plan.program import KernelCall, Operand, Program

FOLDER = Path(__file__).resolve().parent
NAME = "fake"
TABLE = np.array([0, 1, -2, 3, -4, 5, -6, 7], np.int8)

_SHAPES = {"a": (1, 8), "b": (1, 4), "t": (1, 8), "y0": (1, 2, 2), "y1": (1, 1)}
_REGIONS = {
    "a": Region(0, 8),
    "b": Region(8, 12),
    "t": Region(12, 20),
    "y0": Region(20, 24),
    "y1": Region(24, 25),
}


def plan() -> Plan:
    """The plan that fake.c follows."""
    steps = (_step(("a",), ("t",)), _step(("t", "b"), ("y0", "y1")))
    values = {name: Value(name, shape, "int8") for name, shape in _SHAPES.items()}
    program = Program(tuple(s.call for s in steps), values, {}, ("a", "b"), ("y0", "y1"))
    return Plan(
        program=program,
        steps=steps,
        segments=tuple(Segment(k, k + 1, "whole", (k,)) for k in range(2)),
        buffers=(),
        arena_size=28,
        lower_bound=28,
        proved_bound=28,
        inputs={name: _REGIONS[name] for name in ("a", "b")},
        outputs={name: _REGIONS[name] for name in ("y0", "y1")},
    )


def samples(count: int) -> list[Array]:
    """Inputs for `count` samples that ask for no misbehaviour."""
    rng = np.random.default_rng(0)
    return [rng.integers(-100, 100, (count, size)).astype(np.int8) for size in (8, 4)]


def misbehaving(how: int) -> list[Array]:
    """One sample with a[0] = how."""
    a, b = samples(1)
    a[0, 0] = how
    return [a, b]


def expected(inputs: Sequence[Array]) -> dict[str, Array]:
    """Every value of the model for samples."""
    a, b = inputs
    t = a + TABLE
    return {"t": t, "y0": (t[:, :4] - b).reshape(-1, 2, 2), "y1": t[:, :1]}


def _step(reads: Sequence[str], writes: Sequence[str]) -> Step:
    def operands(names: Sequence[str]) -> tuple[Operand, ...]:
        return tuple(Operand(n, 1, _REGIONS[n].size) for n in names)

    call = KernelCall("op", "kernel", "header", {}, operands(reads), operands(writes))
    return Step(call, tuple(map(_place, reads)), tuple(map(_place, writes)), None, 1, 28)


def _place(name: str) -> Place:
    region = _REGIONS[name]
    return Place(region.offset, region.size, 1, region.size)
