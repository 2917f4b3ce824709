"""The example that searches for architectures, on a few of its candidates."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mcucompile
from examples.architecture_search import search
from examples.architecture_search.networks import CLASSES, mobilenet_v2, phinet
from mcucompile.reference.onnx_session import OnnxSession


def _runs(model: onnx.ModelProto, size: int) -> None:
    onnx.checker.check_model(model, full_check=True)
    (scores,) = OnnxSession(model).run([np.zeros((1, 3, size, size), np.float32)])
    assert scores.shape[-1] == CLASSES
    assert np.isfinite(scores).all()


def test_networks_are_valid_models() -> None:
    _runs(mobilenet_v2(0.1, 48, 4), 48)
    _runs(phinet(0.3, 0.5, 4, 32), 32)


def test_mobilenet_v2_is_the_published_one() -> None:
    """Of width 1 and 224 pixels: 300 M MACs, without the 1000 classes of its dense layer."""
    graph = mobilenet_v2(1.0, 224).graph
    convolutions = [n for n in graph.node if n.op_type == "Conv"]
    adds = [n for n in graph.node if n.op_type == "Add"]
    assert (len(convolutions), len(adds)) == (52, 10)
    weights = sum(np.prod(t.dims) for t in graph.initializer if len(t.dims) == 4)
    assert weights == 2_189_760  # 3,504,872 parameters less those of the dense layer and biases


def test_there_are_a_hundred_candidates() -> None:
    assert len(set(search.MOBILENETS)) == 100


def test_ranking() -> None:
    ranked = search.rank([(0.1, 32, 4), (0.5, 192, 6), (0.1, 48, 4)])
    fitting = [e for e in ranked if search.allowed(e)]
    assert [e.name for e in fitting] == ["mobilenet_v2_0_1_48_4", "mobilenet_v2_0_1_32_4"]
    assert ranked[-1].name == "mobilenet_v2_0_5_192_6"
    assert ranked[-1].latency_ms > search.MILLISECONDS
    text = search.table(ranked)
    assert "too large or too slow" in text.splitlines()[-1]
    assert f"{ranked[0].macs:,}" in text.splitlines()[1]


def test_what_is_found_is_what_is_compiled() -> None:
    estimate = search.cost((0.1, 48, 4))
    result = mcucompile.compile(mobilenet_v2(0.1, 48, 4), search.BOARD)
    assert result.arena_bytes == estimate.arena_bytes
    assert result.report["fits"] is not False
    assert abs(result.const_bytes - estimate.const_bytes) < 0.05 * estimate.const_bytes


def test_the_widest_network_is_found() -> None:
    found = search.fit_alpha(lambda alpha: phinet(alpha, 1, 4, 48, 2), 0.5, 4.5, 3)
    assert found is not None
    assert search.allowed(found.estimate)
    wider = mcucompile.estimate(phinet(found.alpha + 0.5, 1, 4, 48, 2), search.BOARD)
    assert found.alpha > 3.9 or not search.allowed(wider)
    assert search.fit_alpha(lambda alpha: phinet(alpha, 1, 4, 192, 2), 4.0, 5.0, 1) is None


@pytest.mark.slow
def test_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    search.main(quick=True)
    said = capsys.readouterr().out
    assert f"MobileNetV2 fit {search.BOARD} within {search.MILLISECONDS:g} ms" in said
    assert "phinet_" in said
