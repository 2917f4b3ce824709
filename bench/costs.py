"""Fits the estimate of mcucompile.cost to counted instructions, and tells how good it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench import cost_layers
from bench.budgets import compiler_version
from bench.cost_program import Case, count
from bench.figures import BOARDS
from mcucompile.board import load_board
from mcucompile.cost import FILE, Coefficients, features, forget_table, instructions, mode_of, table
from mcucompile.cost.window import Bands, rows_of
from mcucompile.ir import Array
from mcucompile.plan.program import KernelCall

CORE = "cortex-m4"
COMMAND = "python -m bench --fit-costs"
SMALL = 100  # instructions whose error does not matter
PRIOR = 0.1  # how much a kernel's fit is drawn to that of its header
LIKE = {
    "mcuc/conv2d.h": "mcuc/conv1x1.h",
    "mcuc/expand_depthwise.h": "mcuc/conv1x1.h",
    "mcuc/conv1x1_packed.h": "mcuc/conv1x1.h",
    "mcuc/conv2d_packed.h": "mcuc/conv2d.h",
}  # headers with features in common: the fit of one is
# drawn to that of the other

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Sample:
    """What a case executes: counted, and estimated by the coefficients in use."""

    case: Case
    counted: int

    @property
    def mode(self) -> str:
        return mode_of(self.case.rows is not None, self.case.specialized)

    @property
    def estimated(self) -> float:
        return instructions(self.case.call, self.case.rows, self.case.specialized)

    def features(self) -> dict[str, float]:
        call = self.case.call
        return features(call, Bands(rows_of(call), self.case.step), self.case.specialized)


def cases(calls: Iterable[KernelCall]) -> Iterator[Case]:
    """Every call whole and, if possible, in bands; every other one in a shared function."""
    for number, call in enumerate(calls):
        yield Case(call)
        if number % 2 == 0:
            yield Case(call, specialized=False)
        by_rows = call.folds or any(window is not None for window in call.windows)
        if by_rows and rows_of(call) > 1:
            yield Case(call, max(1, call.band) * (1 + number % 2))


def measure(all_cases: Sequence[Case], core: str = CORE) -> list[Sample]:
    """Count what the cases execute. Raises ToolchainError."""
    counted = count(load_board(BOARDS[core]), all_cases)
    return [Sample(case, n) for case, n in zip(all_cases, counted, strict=True)]


def refit(progress: Progress, names: Sequence[str] = ()) -> list[Sample]:
    """Measure all kernels, or those of the headers whose paths contain one of `names`, and write
    their coefficients; those of others stay. Raises ToolchainError."""
    calls = [
        call
        for call in cost_layers.calls()
        if not names or any(name in call.header for name in names)
    ]
    layers = list(cases(calls))
    progress(f"count the instructions of {len(layers)} cases")
    samples = measure(layers)
    known = {name: dict(modes) for name, modes in table().items()} if names else {}
    write(dict(sorted((known | fits(samples, known)).items())))
    forget_table()
    return samples


def fits(
    samples: Iterable[Sample], known: Mapping[str, Mapping[str, Coefficients]] | None = None
) -> dict[str, dict[str, Coefficients]]:
    """Kernel or header -> mode -> coefficients. known: of headers that the samples are not of."""
    groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        groups[sample.case.call.header, sample.mode].append(sample)
    found: dict[str, dict[str, Coefficients]] = defaultdict(dict)
    for (header, mode), group in sorted(groups.items()):
        like = LIKE.get(header, "")
        common = fit(group, (found.get(like) or (known or {}).get(like, {})).get(mode))
        found[header][mode] = common
        for kernel in sorted({s.case.call.kernel for s in group}):
            own = [s for s in group if s.case.call.kernel == kernel]
            found[kernel][mode] = fit(own, common)
    return dict(sorted(found.items()))


def fit(samples: Sequence[Sample], prior: Coefficients | None = None) -> Coefficients:
    """Coefficients with the least squared relative errors; drawn to those in `prior`, for what the
    samples do not tell."""
    counts = [s.features() for s in samples]
    names = list(dict.fromkeys(name for c in counts for name in c))
    matrix = np.array([[float(c.get(name, 0.0)) for name in names] for c in counts])
    counted = np.array([float(s.counted) for s in samples])
    weights = 1.0 / (counted + SMALL)
    a, b = matrix * weights[:, None], counted * weights
    if prior is not None:
        strength = PRIOR * np.sqrt((a**2).mean(axis=0)) * [name in prior for name in names]
        a = np.concatenate([a, np.diag(strength)])
        b = np.concatenate([b, strength * [prior.get(name, 0.0) for name in names]])
    solution = non_negative(a, b)
    return {n: float(f"{x:.4g}") for n, x in zip(names, solution, strict=True)}


def non_negative(a: Array, b: Array) -> Array:
    """The x >= 0 with the least |a @ x - b|: Lawson and Hanson, "Solving Least Squares Problems"
    (1974), algorithm NNLS."""
    scale = np.maximum(np.abs(a).max(axis=0), 1e-12)
    a = a / scale
    x, free = np.zeros(a.shape[1]), np.zeros(a.shape[1], dtype=bool)
    for _ in range(10 * a.shape[1]):
        gradient = np.where(free, -np.inf, a.T @ (b - a @ x))
        if free.all() or gradient.max() <= 1e-9:
            break
        free[np.argmax(gradient)] = True
        x = _restricted(a, b, x, free)
    return np.asarray(x / scale)


def _restricted(a: Array, b: Array, x: Array, free: Array) -> Array:
    """The solution with all but the `free` numbers zero; those that would be negative become zero,
    too, and are no longer free."""
    while free.any():
        y = np.zeros_like(x)
        y[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
        low = free & (y <= 0)
        if not low.any():
            return y
        step = np.min(x[low] / np.maximum(x[low] - y[low], 1e-300))
        x = x + step * (y - x)
        free &= x > 1e-12
        x = np.where(free, x, 0.0)
    return np.zeros_like(x)


def write(coefficients_of: Mapping[str, Mapping[str, Coefficients]]) -> None:
    lines = [
        "# Executed instructions of each thing that kernels do, which mcucompile/cost/features.py",
        f"# counts, on a {CORE}. Written by `{COMMAND}`.",
        f'compiler = "{compiler_version()}" # of arm-none-eabi-gcc',
    ]
    for name, modes in coefficients_of.items():
        lines += ["", f'["{name}"]' if "/" in name else f"[{name}]"]
        for mode, coefficients in modes.items():
            numbers = ", ".join(f"{n} = {x:g}" for n, x in coefficients.items() if x)
            lines.append(f"{mode} = {{ {numbers} }}")
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
