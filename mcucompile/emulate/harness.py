"""The test harness (boards/support/harness.c) as Python sees it: configuration and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcucompile import resources
from mcucompile.emit import ctext
from mcucompile.errors import ValidationError
from mcucompile.ir import Array
from mcucompile.ir.storage import array_dtype, from_stored, to_stored
from mcucompile.memory import linker_name
from mcucompile.plan.plan import Plan, Step
from mcucompile.templating import render


@dataclass(frozen=True)
class Sample:
    """One sample, and what the integer reference makes of it: an array per input and output."""

    inputs: Sequence[Array]
    outputs: Sequence[Array]


def support_dir() -> Path:
    """The C sources of harness, start-up code and consoles."""
    return resources.boards_dir() / "support"


def entry(name: str, plan: Plan) -> str:
    """The C function that computes an inference: on its own or, with a pushed input, in parts."""
    return f"{name}_run" if plan.pushed is None else f"{name}_push_rows"


def write_config(folder: Path, name: str, plan: Plan) -> None:
    """Write `harness_config.h`, which ties the support code to the model called `name`."""
    writes = [
        (i, p.offset, p.row_bytes, p.rows, p.pitch, p.stride, p.lead, _folded(step))
        for i, step in enumerate(plan.steps)
        for p in step.writes
    ]
    text = render(
        "harness_config.h.j2",
        name=name,
        NAME=name.upper(),
        inputs=len(plan.inputs),
        pushed=plan.pushed is not None,
        outputs=len(plan.outputs),
        writes=writes,
        state_size=plan.states.size,
        arena_size=plan.arena_size,
        parts=plan.parts,
        linker_name=linker_name,
    )
    (folder / "harness_config.h").write_text(text, encoding="utf-8")


def write_sample(folder: Path, plan: Plan, sample: Sample | None) -> None:
    """Write `sample.h`: what the board's own image runs on and compares with; zeros if None."""
    inputs = b"".join(bytes(region.size) for region in plan.inputs.values())
    outputs = b"".join(bytes(region.size) for region in plan.outputs.values())
    if sample is not None:
        inputs = b"".join(array.tobytes() for array in sample.inputs)
        outputs = b"".join(array.tobytes() for array in sample.outputs)
    text = render(
        "sample.h.j2",
        sample=ctext.array(np.frombuffer(inputs, np.int8)),
        expected=ctext.array(np.frombuffer(outputs, np.int8)),
    )
    (folder / "sample.h").write_text(text, encoding="utf-8")


def write_input(folder: Path, plan: Plan, inputs: Sequence[Array]) -> int:
    """Write `input.bin`; returns the number of samples.

    inputs: one array (N, ...) per model input, of its dtype and size per sample. Raises ValueError
    if they are not.
    """
    if len(inputs) != len(plan.inputs):
        raise ValueError(f"{len(inputs)} arrays for {len(plan.inputs)} inputs")
    rows = []
    for array, name in zip(inputs, plan.inputs, strict=True):
        value = plan.program.values[name]
        if array.dtype != array_dtype(value) or array.size != len(array) * value.elements:
            raise ValueError(f"input {name}: {array.dtype} {array.shape}, not {value}")
        rows.append(to_stored(value, array))
    (folder / "input.bin").write_bytes(np.concatenate(rows, axis=1).tobytes())
    return len(inputs[0])


def read_outputs(folder: Path, plan: Plan, samples: int) -> list[Array]:
    """The outputs in `output.bin`: one array (N, ...) per model output, of its shape and dtype."""
    sizes = [region.size for region in plan.outputs.values()]
    pieces = np.split(_read(folder, samples * sum(sizes)).reshape(samples, -1), _ends(sizes), 1)
    values = [plan.program.values[name] for name in plan.outputs]
    return [from_stored(value, p) for value, p in zip(values, pieces, strict=True)]


def read_steps(folder: Path, plan: Plan) -> list[Array]:
    """The dump in `output.bin`: per step, the bytes of all its writes, one after the other."""
    found: list[list[list[Array]]] = [[[] for _ in step.writes] for step in plan.steps]
    pieces = list(_pieces(plan))
    data = _read(folder, sum(size for _, _, size in pieces))
    for (step, slot, _), rows in zip(
        pieces, np.split(data, _ends([size for *_, size in pieces])), strict=True
    ):
        found[step][slot].append(rows)
    return [np.concatenate([a for slot in slots for a in slot]) for slots in found]


def _pieces(plan: Plan) -> Iterator[tuple[int, int, int]]:
    """(step, write slot, bytes) of what the harness dumps, in order."""
    for k, begin, end in plan.events():
        step = plan.steps[k]
        for slot, place in enumerate(step.writes):
            if not _folded(step):
                yield k, slot, (end - begin) * place.row_bytes
            elif end == step.total_rows:
                yield k, slot, place.row_bytes


def _folded(step: Step) -> int:
    """Rows that the step folds into its result; 0 if it does not."""
    return step.total_rows if step.call.folds else 0


def stopped(name: str, where: str, why: str) -> ValidationError:
    """The error for a model whose code did not come to its end."""
    return ValidationError(
        "MC402",
        f"model '{name}' {where}",
        "stopped before its end",
        why,
        "this is a bug of mcucompile: please report it with the model",
    )


def _read(folder: Path, size: int) -> Array:
    data = np.fromfile(folder / "output.bin", dtype=np.int8)
    if data.size != size:
        raise ValueError(f"the harness wrote {data.size} bytes instead of {size}")
    return data


def _ends(sizes: Sequence[int]) -> list[int]:
    return [int(end) for end in np.cumsum(sizes)[:-1]]
