"""How much flash a model needs: built with the board's toolchain, or estimated without one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mcucompile.board import Board
from mcucompile.emit.constants import weight_bytes
from mcucompile.emulate import build
from mcucompile.errors import ToolchainError
from mcucompile.plan.plan import Plan

# Bytes of code where there is no compiler to ask: of a model, a kernel, a step. Rather too many.
CODE, KERNEL_CODE, STEP_CODE = 1000, 1000, 500


def flash_bytes(files: Mapping[str, str], name: str, board: Board, plan: Plan) -> int:
    """Of code and constants of the model `name`, whose sources are `files`."""
    try:
        with tempfile.TemporaryDirectory(prefix="mcucompile-") as temporary:
            folder = Path(temporary)
            for path, text in files.items():
                target = folder / "model" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            sizes = build.measure(folder / "model", name, board, plan, folder / "build")
        return sizes.flash_bytes
    except ToolchainError as error:
        if error.id != "MC501":
            raise
    kernels = {step.call.kernel for step in plan.steps}
    return sum(weight_bytes(plan)) + CODE + KERNEL_CODE * len(kernels) + STEP_CODE * len(plan.steps)
