"""Pruning blocks of weights: which go, what is said of it, and that it is never done unasked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model
from mcucompile.ir import Array
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.options import Block, CompileOptions, Saliency, SampleOptions
from mcucompile.quant.prune_blocks import _errors, _least, _sums
from tests.support import zoo

DIGITS = zoo.ROOT / "examples/digits"


def compiled(
    prune: dict[Block, float], saliency: Saliency = "magnitude", cache: Path | None = None
) -> Compilation:
    options = CompileOptions(
        "nano33ble",
        calibration=SampleOptions(str(DIGITS / "calib.npz")),
        calibration_cache=cache,
        prune=prune,
        saliency=saliency,
    )
    return compile_model(DIGITS / "digits.onnx", options)


def weights(compilation: Compilation, kind: type[Conv2d] | type[Dense]) -> list[Array]:
    graph = compilation.quantized.graph
    found = [graph.operands(op)[1].data for op in graph.ops_of(kind)]
    return [w for w in found if w is not None and w.shape[-1] % 4 == 0]


def zero_blocks(w: Array, rows: int) -> float:
    flat = w.reshape(len(w), -1)
    whole = flat[: len(flat) // rows * rows].reshape(-1, rows, flat.shape[1] // 4, 4)
    return float((~whole.any(axis=(1, 3))).mean())


@pytest.mark.parametrize("saliency", ["magnitude", "activation", "taylor"])
def test_half_of_the_blocks_go(saliency: Saliency) -> None:
    pruned = compiled({"1x4": 0.5}, saliency)
    shares = [zero_blocks(w, 1) for w in weights(pruned, Conv2d)]
    assert shares
    assert all(0.45 < share < 0.6 for share in shares)
    (warning,) = pruned.quantized.warnings
    assert warning.startswith("pruned ")
    assert "dB of signal over noise on the calibration data" in warning


def test_nothing_goes_unasked() -> None:
    plain = compiled({})
    assert all(zero_blocks(w, 1) < 0.2 for w in weights(plain, Conv2d))
    assert plain.quantized.warnings == ()


def test_ranges_are_those_of_the_pruned_model(tmp_path: Path) -> None:
    """Not those of the tensors of the ONNX file, nor of another pruning in the cache."""
    prunings: list[dict[Block, float]] = [{}, {"1x4": 0.9}, {"1x4": 0.5}]
    fresh, cached = ([compiled(p, cache=c) for p in prunings] for c in (None, tmp_path))
    ranges = [[v.qparams for v in c.quantized.graph.values()] for c in (*fresh, *cached)]
    assert ranges[:3] == ranges[3:]
    assert ranges[0] != ranges[1] != ranges[2]


def test_the_least_blocks() -> None:
    weights = np.arange(5 * 8, dtype=float).reshape(5, 8)[::-1]
    assert _least(_sums(weights, 1, 4), 0.2).nonzero()[0].tolist() == [4] * 2
    four = _sums(weights, 4, 4)  # the fifth channel is in no block
    assert four.shape == (1, 2)
    assert _least(four, 0.5).tolist() == [[True, False]]


def test_channels_that_are_no_four_stay() -> None:
    assert _sums(np.ones((3, 8)), 4, 4).size == 0


def test_taylor_is_the_error_that_a_block_leaves() -> None:
    """Of a grouped convolution: the output without each block, against that with all."""
    rng = np.random.default_rng(3)
    met = rng.normal(size=(2, 50, 8)) + 1  # (groups, pixels, elements)
    weights = rng.normal(size=(6, 8))
    errors = _errors(weights, met, 1, 4)
    assert errors.shape == (6, 2)
    for channel, block in np.ndindex(errors.shape):
        lost = (
            met[channel // 3, :, 4 * block : 4 * block + 4] @ weights[channel].reshape(2, 4)[block]
        )
        assert errors[channel, block] == pytest.approx(np.square(lost).mean())
    assert _errors(weights[:4], met[:1], 4, 4)[0] == pytest.approx(
        _errors(weights[:4], met[:1], 1, 4).sum(axis=0)
    )
