"""The kernels on a core with the DSP extension, where they compute in words of four bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.board import load_board
from mcucompile.emit import EmitOptions, emit
from mcucompile.emulate import qemu
from mcucompile.emulate.build import build_firmware
from mcucompile.lower import lower
from mcucompile.plan.planner import make_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.ops.test_conv_transpose import conv_transpose_cases
from tests.ops.test_elementwise import add_cases, mul_cases
from tests.ops.test_matmul import matmul_cases
from tests.ops.test_moves import concat_cases, pad_cases
from tests.ops.test_normalize import normalize_cases
from tests.ops.test_pairwise import compare_cases, factor_cases, select_cases
from tests.ops.test_parts import gather_cases, slice_cases, tile_cases
from tests.ops.test_pool import average_cases, global_cases, max_cases
from tests.ops.test_recurrent import recurrent_cases
from tests.ops.test_reduce import reduce_cases
from tests.ops.test_resize import resize_cases
from tests.ops.test_shapes import transpose_cases
from tests.ops.test_softmax import softmax_cases
from tests.ops.test_unary import table_cases
from tests.support.ckit import random_inputs
from tests.support.graphs import merged
from tests.support.tools import needs_qemu

CASES = {
    "elementwise": [add_cases, mul_cases, table_cases, softmax_cases],
    "pairs": [matmul_cases, factor_cases, select_cases, compare_cases],
    "reductions": [reduce_cases, normalize_cases],
    "recurrent": [recurrent_cases],
    "pools": [max_cases, average_cases, global_cases],
    "moves": [concat_cases, pad_cases, transpose_cases, slice_cases, tile_cases, gather_cases],
    "resize": [resize_cases],
    "conv_transpose": [conv_transpose_cases],
}


@needs_qemu
@pytest.mark.parametrize("family", CASES)
@pytest.mark.parametrize(  # a function per layer, or shared
    "optimize", [pytest.param("time", marks=pytest.mark.slow), "balanced"]
)
def test_under_qemu(family: str, optimize: str, tmp_path: Path) -> None:
    graph = merged([case for cases in CASES[family] for case in cases()])
    board = load_board("nano33ble")
    plan = make_plan(lower(graph, board.target(optimize)))  # type: ignore[arg-type]
    folder = tmp_path / "cases"
    for path, text in emit(graph, plan, EmitOptions("cases", optimize=optimize)).items():  # type: ignore[arg-type]
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    firmware = build_firmware(folder, "cases", board, plan, tmp_path / "work")
    inputs = random_inputs(graph, 3, np.random.default_rng(5))
    outputs = qemu.run(firmware, inputs).outputs
    for name, have, want in zip(graph.outputs, outputs, run_int(graph, inputs), strict=True):
        np.testing.assert_array_equal(have, want, err_msg=name)
