"""Budgets: what models may cost, in budgets.toml. A regression is a figure 1 % above its budget."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from bench.figures import BOARDS, Figures
from mcucompile.emulate import toolchain

FILE = Path(__file__).with_name("budgets.toml")
CORE = "cortex-m4"
KINDS = ("instructions", "sram", "flash")
TOLERANCE = 0.01
UPDATE = "python -m bench --update-budgets"

Budget = dict[str, int]


def compiler_version() -> str:
    """Of the cross compiler, which decides about every figure."""
    text = toolchain.run([toolchain.cross_gcc(), "--version"]).stdout
    found = re.search(r"\d+\.\d+\.\d+", text)
    return found[0] if found else "unknown"


def load() -> tuple[str, dict[str, Budget]]:
    """The version of the compiler for which the budgets hold, and the budgets by model."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return table["compiler"], table["models"]


def regressions(figures: Figures, budget: Budget) -> list[str]:
    """A line for each figure that is more than the tolerance above its budget."""
    found = []
    for kind in KINDS:
        have, allowed = getattr(figures, kind), budget[kind]
        if have > allowed * (1 + TOLERANCE):
            more = 100 * (have / allowed - 1)
            found.append(f"{kind}: {have:,} is {more:.1f} % above the budget of {allowed:,}")
    return found


def save(measured: Iterable[Figures]) -> None:
    """Write the figures of `measured` to the file; budgets of other models stay."""
    budgets = load()[1] if FILE.exists() else {}
    budgets |= {f.name: {kind: getattr(f, kind) for kind in KINDS} for f in measured}
    lines = [
        f"# What models cost on {BOARDS[CORE]} ({CORE}): executed instructions of one inference,",
        "# bytes of SRAM and of flash. A test fails if one of them grows by more than 1 %.",
        f"# Written by `{UPDATE}`.",
        f'compiler = "{compiler_version()}" # of arm-none-eabi-gcc',
    ]
    for name, budget in budgets.items():
        lines += ["", f"[models.{name}]", *(f"{kind} = {budget[kind]}" for kind in KINDS)]
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
