"""Whole graphs on an emulated core with the DSP extension."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mcucompile.board import load_board
from mcucompile.emit import EmitOptions, emit
from mcucompile.emulate import qemu
from mcucompile.emulate.build import build_firmware
from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.plan.planner import make_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import random_inputs


def check_on_core(graph: Graph, optimize: str, folder: Path) -> None:
    """The C code of a quantized `graph`, built in `folder` for the nano33ble, computes under QEMU
    what the integer reference does."""
    board = load_board("nano33ble")
    plan = make_plan(lower(graph, board.target(optimize)))  # type: ignore[arg-type]
    sources = folder / "cases"
    for path, text in emit(graph, plan, EmitOptions("cases", optimize=optimize)).items():  # type: ignore[arg-type]
        target = sources / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    firmware = build_firmware(sources, "cases", board, plan, folder / "work")
    inputs = random_inputs(graph, 3, np.random.default_rng(5))
    outputs = qemu.run(firmware, inputs).outputs
    for name, have, want in zip(graph.outputs, outputs, run_int(graph, inputs), strict=True):
        np.testing.assert_array_equal(have, want, err_msg=name)
