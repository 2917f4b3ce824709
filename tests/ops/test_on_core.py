"""The kernels on a core with the DSP extension, where they compute in words of four bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

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
from tests.support.graphs import merged
from tests.support.on_core import check_on_core
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
    check_on_core(graph, optimize, tmp_path)
