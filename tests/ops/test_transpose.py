"""Transposition in place: which kernel, and that its cycles cover the matrix."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.board import load_board
from mcucompile.ir import Graph, QParams, Shape, Value
from mcucompile.lower import lower
from mcucompile.ops.transpose import TO_NCHW, TO_NHWC, Blocks, Transpose
from mcucompile.plan.program import KernelCall, Target
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.qemukit import Core
from tests.support.tools import needs_qemu

Q = QParams((0.1,), 3)


def _transpose(shape: Shape, perm: tuple[int, ...]) -> Graph:
    return op_graph(Transpose("op", ("n",), perm), [Value("x", shape, "int8", Q)], Q)


def _call(shape: Shape, perm: tuple[int, ...], target: Target | None = None) -> KernelCall:
    return lower(_transpose(shape, perm), target or Target()).calls[0]


def matrix_cases() -> list[Graph]:
    """Blocks of many words, of one, of three bytes and of one, along rows and along columns."""
    planes = [(1, 3, 16, 16), (1, 3, 6, 6), (1, 16, 20, 1), (1, 5, 9, 1), (1, 2, 37, 1)]
    pixels = [(1, 16, 16, 3), (1, 6, 6, 3), (1, 20, 1, 16), (1, 9, 1, 5), (1, 37, 1, 2)]
    return [_transpose(s, TO_NHWC) for s in planes] + [_transpose(s, TO_NCHW) for s in pixels]


def test_c_code() -> None:
    check_graphs(matrix_cases())


@needs_qemu
def test_c_code_on_a_core() -> None:
    check_graphs(matrix_cases(), machine=Core(load_board("nano33ble")))


def _walk(blocks: Blocks, x: np.ndarray) -> np.ndarray:
    """What the kernel does, in place."""
    n = blocks.block
    tile = (n, blocks.cols) if blocks.tiles_first else (blocks.rows, n)
    rows = blocks.rows // n if blocks.tiles_first else blocks.rows
    cols = x.size // n // rows
    if blocks.tiles_first:
        x = x.reshape(-1, *tile).transpose(0, 2, 1).reshape(-1)
    x = x.reshape(-1, n).copy()
    for leader in blocks.leaders().tolist()[:-1]:
        kept, to = x[leader].copy(), leader
        while (origin := to % rows * cols + to // rows) != leader:
            x[to] = x[origin]
            to = origin
        x[to] = kept
    if not blocks.tiles_first:
        x = x.reshape(-1, *tile).transpose(0, 2, 1)
    return x.reshape(-1)


@pytest.mark.parametrize("rows", [2, 3, 4, 10, 64])
def test_cycles_cover_the_matrix(rows: int) -> None:
    for cols in (1, 7, 25, 96, 144, 225):
        for shape in [(rows, cols), (cols, rows)]:
            x = np.arange(rows * cols).reshape(shape)
            blocks = Blocks.of(*shape)
            assert blocks is not None
            assert np.array_equal(_walk(blocks, x.reshape(-1)), x.T.reshape(-1))


@pytest.mark.parametrize("side", [96, 128, 144, 160, 176, 224])
def test_images_are_transposed_in_place(side: int) -> None:
    call = _call((1, 3, side, side), TO_NHWC, Target(optimize="time"))
    assert call.in_place == ((0, 0),)
    assert call.scratch <= 256
    assert sum(const.data.nbytes for const in call.consts) < 100
    assert (call.writes[0].rows, call.writes[0].row_bytes) == (side, 3 * side)


def test_others_are_copied() -> None:
    assert _call((1, 4, 5, 6), (0, 1, 3, 2)).kernel == "mcuc_move_s8"  # four matrices
    assert _call((1, 4, 5, 6), (0, 2, 1, 3)).kernel == "mcuc_move_s8"  # of runs of six bytes
    assert _call((1, 2, 16411, 1), TO_NHWC).kernel == "mcuc_move_s8"  # prime: too many blocks
    wishes = {o: _call((1, 3, 7, 7), TO_NHWC, Target(optimize=o)) for o in ("time", "balanced")}
    assert wishes["time"].kernel == "mcuc_move_s8"  # blocks of seven bytes are slow
    assert wishes["balanced"].kernel == "mcuc_transpose_s8"
