"""Figures as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figures import Figures
from bench.layers import Layer
from bench.models import Model


def layer_table(rows: Sequence[tuple[Layer, Figures]]) -> str:
    """Layers beside their prototypes: thousands of instructions and their ratio, and cycles per
    unit of work, in both without waiting for flash."""
    head = (
        "layer|k instr|reached|ratio|work/instr|k cycles|core/work|reached|code|SRAM|flash|kernel"
    )
    table = [head.split("|")]
    for layer, f in rows:
        table.append(
            [
                layer.name,
                f"{f.instructions / 1000:,.1f}",
                f"{layer.reached:,.1f}",
                f"{f.instructions / 1000 / layer.reached:.3f}",
                f"{f.work_per_instruction:.3f}",
                f"{f.cycles / 1000:,.1f}",
                f"{f.core_cycles / f.work:.2f}",
                f"{layer.reached_cycles[f.core]:.2f}",
                f"{f.code:,}",
                f"{f.sram:,}",
                f"{f.flash:,}",
                f.kernel,
            ]
        )
    return aligned(table)


def model_table(rows: Sequence[tuple[Model, Figures]]) -> str:
    """Models: each figure beside its goal, "-" where there is none."""
    figures = "M instr|goal|ratio|MAC/instr|M cycles|SRAM|goal|flash|goal|code"
    table = [f"model|{figures}".split("|")]
    for model, f in rows:
        goal = model.instructions
        table.append(
            [
                model.name,
                f"{f.instructions / 1e6:.3f}",
                "-" if goal is None else f"{goal / 1e6:.2f}",
                "-" if goal is None else f"{f.instructions / goal:.3f}",
                f"{f.work_per_instruction:.3f}",
                f"{f.cycles / 1e6:.3f}",
                f"{f.sram:,}",
                "-" if model.sram is None else f"{model.sram:,}",
                f"{f.flash:,}",
                "-" if model.flash is None else f"{model.flash:,}",
                f"{f.code:,}",
            ]
        )
    return aligned(table)


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left, names of kernels as they come."""
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        cells[0] = row[0].ljust(widths[0])
        if row[-1].startswith("mcuc_") or row[-1] == "kernel":
            cells[-1] = row[-1]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
