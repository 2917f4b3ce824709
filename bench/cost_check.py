"""How far estimates are from counted instructions: of the measured cases, and of whole models."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.costs import Progress, Sample
from bench.figures import BOARDS
from bench.models import MODELS
from bench.table import aligned
from mcucompile.compiler import compile_model
from mcucompile.cost.steps import step_instructions
from mcucompile.emit.boundary import shared_kernels
from mcucompile.errors import McuCompileError
from mcucompile.measure import profile
from mcucompile.options import CompileOptions
from mcucompile.plan.program import Optimize
from tests.support import zoo

OPTIMIZE: tuple[Optimize, ...] = ("balanced", "time")
LEAST_SHARE = 0.01  # of a model, for a step whose error is worth a mention


@dataclass(frozen=True)
class Checked:
    """A model, counted and estimated: per step (kernel, instructions, estimate), and in all."""

    name: str
    optimize: Optimize
    counted: int
    steps: tuple[tuple[str, int, int], ...]

    @property
    def estimated(self) -> int:
        return sum(estimate for _, _, estimate in self.steps)

    @property
    def error(self) -> float:
        """Of the estimate, relative to what was counted."""
        return self.estimated / self.counted - 1

    @property
    def worst(self) -> tuple[str, float]:
        """The step that matters whose estimate is farthest off, and how far that is."""
        errors = [
            (kernel, estimate / counted - 1)
            for kernel, counted, estimate in self.steps
            if counted >= LEAST_SHARE * self.counted
        ]
        return max(errors, key=lambda e: abs(e[1]))


def check_model(path: Path, core: str, optimize: Optimize) -> Checked:
    """Raises McuCompileError where the model cannot be compiled or does not fit the board."""
    calibration = {m.file: m.calibration for m in MODELS}.get(path)
    options = CompileOptions(BOARDS[core], calibration=calibration, optimize=optimize)
    c = compile_model(path, options)
    counted = profile(c)
    estimates = step_instructions(c.plan, shared_kernels(c.plan, optimize))
    kernels = [step.call.kernel for step in c.plan.steps]
    steps = tuple(zip(kernels, counted.instructions, estimates, strict=True))
    return Checked(path.stem, optimize, counted.total, steps)


def check_models(names: Sequence[str], core: str, progress: Progress) -> Iterator[Checked]:
    """The example and the models of the zoo whose names contain one of `names`, or all."""
    files = {m.file for m in MODELS if m.is_there} | set((zoo.ZOO / "models").glob("*.onnx"))
    for path in sorted(files, key=lambda p: p.stem):
        if names and not any(n in path.stem for n in names):
            continue
        for optimize in OPTIMIZE:
            progress(f"{core}: {path.stem} -O {optimize}")
            try:
                yield check_model(path, core, optimize)
            except McuCompileError as error:
                progress(str(error).splitlines()[0])
                break


def model_errors(models: Iterable[Checked]) -> str:
    table = ["model|-O|counted|estimated|error|worst step|kernel".split("|")]
    for m in models:
        kernel, error = m.worst
        numbers = [f"{m.counted:,}", f"{m.estimated:,}", f"{m.error:+.1%}", f"{error:+.1%}"]
        table.append([m.name, m.optimize, *numbers, kernel])
    return aligned(table)


def case_errors(samples: Iterable[Sample]) -> str:
    """Per kernel and mode: number of cases, the root of their mean squared error, the error that
    nine of ten are below, and the error of their sum."""
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for s in samples:
        groups[s.case.call.kernel, s.mode].append(s)
    table = ["kernel|mode|cases|rms|nine of ten|sum".split("|")]
    for (kernel, mode), group in sorted(groups.items()):
        errors = np.array([s.estimated / s.counted - 1 for s in group])
        total = sum(s.estimated for s in group) / sum(s.counted for s in group) - 1
        spread = [np.sqrt((errors**2).mean()), np.quantile(np.abs(errors), 0.9)]
        table.append(
            [kernel, mode, str(len(group)), *(f"{x:.1%}" for x in spread), f"{total:+.1%}"]
        )
    return aligned(table)
