"""Runs a kernel row by row on rings that hold no more rows than one output row needs.

That is how row streaming will call it; a whole tensor is the case of a ring of all rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcucompile.ir import Graph
from tests.support.ckit import random_inputs
from tests.support.kernelkit import Case, KernelProgram, Rows
from tests.support.machines import HOST

__all__ = ["Rows", "check_in_rings"]


def check_in_rings(cases: Sequence[tuple[Graph, Rows]]) -> None:
    """Assert that the kernel of each one-operator graph, called row by row, gives the integer
    reference's bytes. The operator reads one activation, first."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        KernelProgram(HOST, Path(folder)).check(
            [
                Case(f"case {i}", graph, tuple(random_inputs(graph, 1, rng)), rows=rows)
                for i, (graph, rows) in enumerate(cases)
            ]
        )
