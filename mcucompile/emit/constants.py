"""The constant arrays of a plan. What several steps read is there once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcucompile.ir import Array
from mcucompile.plan.plan import Plan


@dataclass(frozen=True)
class Constant:
    """An array in flash, called after the step that is the first to read it and that step's name
    for it."""

    step: int
    name: str
    data: Array


Constants = dict[tuple[int, str], Constant]  # by a step and its name for what it reads


def operand_name(slot: int) -> str:
    """What a step calls a constant operand."""
    return f"operand{slot}"


def constants(plan: Plan) -> Constants:
    """Everything that steps read from flash, in their order."""
    known: dict[tuple[str, bytes], Constant] = {}
    found: Constants = {}
    for index in range(len(plan.steps)):
        for name, data in _arrays(plan, index):
            own = Constant(index, name, data)
            found[index, name] = known.setdefault((str(data.dtype), data.tobytes()), own)
    return found


def weight_bytes(plan: Plan) -> list[int]:
    """For each step, bytes of flash for the constants that no step before it reads."""
    sizes = [0] * len(plan.steps)
    for (step, name), constant in constants(plan).items():
        if (step, name) == (constant.step, constant.name):
            sizes[step] += constant.data.nbytes
    return sizes


def _arrays(plan: Plan, index: int) -> Iterator[tuple[str, Array]]:
    step = plan.steps[index]
    for const in step.call.consts:
        yield const.name, const.data
    for slot, (operand, place) in enumerate(zip(step.call.reads, step.reads, strict=True)):
        if place is None:
            data = plan.program.values[plan.program.root(operand.value)].data
            assert data is not None
            yield operand_name(slot), data
