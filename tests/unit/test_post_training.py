"""Steps of post-training quantization: equalization, adaptive rounding, bias correction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.passes import run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.equalize import equalize
from mcucompile.quant.post_training import (
    SYNTHETIC_DATA,
    Quantized,
    post_training_quantization,
)
from mcucompile.quant.samples import Samples, to_model_int8
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from tests.support.models import model_of

RNG = np.random.default_rng(8)
X = RNG.normal(size=(48, 4, 9, 9)).astype(np.float32)


def network(clip: float = 0.0, spread: float = 1.0, depthwise: bool = True) -> onnx.ModelProto:
    """Conv 1x1, activation, depthwise or full 3x3, Relu, mean, Gemm; `spread` is the ratio of the
    largest to the smallest channel inside."""
    rng = np.random.default_rng(3)
    scales = np.geomspace(1, spread, 16)[rng.permutation(16)]
    inner = 1 if depthwise else 16
    weights = {
        "w": rng.normal(size=(16, 4, 1, 1)) * scales[:, None, None, None],
        "b": rng.normal(size=16) * scales,
        "v": rng.normal(size=(16, inner, 3, 3)),
        "c": rng.normal(size=16),
        "g": rng.normal(size=(5, 16)),
        "d": rng.normal(size=5),
    }
    if depthwise:
        weights["v"] /= scales[:, None, None, None]
    else:
        weights["v"] /= scales[None, :, None, None]
    if clip:
        limits = {"zero": np.zeros(()), "limit": np.full((), clip)}
        weights |= limits
        act = helper.make_node("Clip", ["h", "zero", "limit"], ["a"], "act")
    else:
        act = helper.make_node("Relu", ["h"], ["a"], "act")
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["h"], "first"),
        act,
        helper.make_node("Conv", ["a", "v", "c"], ["k"], "second", group=16 // inner),
        helper.make_node("Relu", ["k"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "g", "d"], ["y"], "dense", transB=1),
    ]
    return model_of(nodes, {"x": (1, 4, 9, 9)}, {"y": (1, 5)}, weights)


def float_graph(model: onnx.ModelProto) -> Graph:
    return run_passes(absorb_qdq(import_model(model)))


def quantized(tmp_path: Path, model: onnx.ModelProto, **options: object) -> Quantized:
    np.save(tmp_path / "calib.npy", X[:32])
    chosen = CompileOptions("b", calibration=SampleOptions(str(tmp_path / "calib.npy")))
    chosen = CompileOptions(**(vars(chosen) | options))  # type: ignore[arg-type]
    return post_training_quantization(model, float_graph(model), chosen)


def error(model: onnx.ModelProto, q: Quantized) -> tuple[float, float]:
    """Mean squared error, and largest mean error of a channel, on samples not seen before."""
    unseen = X[32:]
    (want,) = run_float(float_graph(model), [unseen])
    graph = q.graph
    x = to_model_int8(unseen, graph.input_ports[0], graph.value(graph.inputs[0]).q)
    (y,) = run_int(graph, [x])
    gap = graph.value(graph.outputs[0]).q.dequantize(y) - want
    return float(np.mean(gap**2)), float(np.abs(gap.mean(axis=0)).max())


# -- equalization -----------------------------------------------------------------------------


@pytest.mark.parametrize("depthwise", [True, False], ids=["depthwise", "full"])
@pytest.mark.parametrize("clip", [0.0, 6.0], ids=["relu", "clip"])
def test_equalized_graph_computes_the_same(depthwise: bool, clip: float) -> None:
    graph = float_graph(network(clip, 300.0, depthwise))
    samples = Samples((X,))
    even = equalize(graph, samples)
    (want,), (have,) = run_float(graph, [X[:16]]), run_float(even, [X[:16]])
    assert np.allclose(have, want, rtol=1e-4, atol=1e-4)
    changed = [
        op.name
        for op in graph.ops_of(Conv2d, Dense)
        if not np.array_equal(_weights(graph, op.name), _weights(even, op.name))
    ]
    assert "first" in changed


def _weights(graph: Graph, name: str) -> Array:
    (op,) = [op for op in graph.ops() if op.name == name]
    return graph.operands(op)[1].real


@pytest.mark.parametrize("depthwise", [True, False], ids=["depthwise", "full"])
def test_equalization_saves_channels_of_different_size(tmp_path: Path, depthwise: bool) -> None:
    model = network(spread=1000.0, depthwise=depthwise)
    plain, _ = error(model, quantized(tmp_path, model))
    even, _ = error(model, quantized(tmp_path, model, equalize=True))
    assert even < plain / 4


def test_tensor_with_a_second_reader_is_not_equalized() -> None:
    """Nor one that a model output, or an operator that adds, reads."""
    model = network(spread=100.0)
    model.graph.output.append(helper.make_tensor_value_info("a", 1, [1, 16, 9, 9]))
    graph = float_graph(model)
    even = equalize(graph, Samples((X,)))
    assert np.array_equal(_weights(graph, "first"), _weights(even, "first"))


def test_lower_bound_other_than_zero_keeps_channels_as_they_are() -> None:
    model = network(clip=6.0, spread=100.0)
    for constant in model.graph.initializer:
        if constant.name == "zero":
            constant.CopyFrom(onnx.numpy_helper.from_array(np.float32(-1.0), "zero"))
    graph = float_graph(model)
    even = equalize(graph, Samples((X,)))
    assert np.array_equal(_weights(graph, "first"), _weights(even, "first"))


# -- refinements ------------------------------------------------------------------------------


def test_bias_correction_takes_off_the_mean_error(tmp_path: Path) -> None:
    model = network(depthwise=False)
    corrected = error(model, quantized(tmp_path, model))
    plain = error(model, quantized(tmp_path, model, bias_correction=False))
    assert corrected[0] < plain[0]
    assert corrected[1] < plain[1]


def test_adaptive_rounding_lowers_the_error_of_unseen_samples(tmp_path: Path) -> None:
    model = network(depthwise=False)
    nearest, _ = error(model, quantized(tmp_path, model))
    adaptive, _ = error(model, quantized(tmp_path, model, rounding="adaptive"))
    assert adaptive < nearest


def test_adaptive_rounding_moves_no_weight_by_a_whole_step(tmp_path: Path) -> None:
    model = network()
    graph = quantized(tmp_path, model, rounding="adaptive").graph
    original = float_graph(model)
    moved = 0
    for op in graph.ops_of(Conv2d, Dense):
        weights = graph.operands(op)[1]
        assert weights.data is not None
        exact = _weights(original, op.name) / weights.q.scale_array(weights.data.ndim)
        assert np.abs(weights.data - exact).max() < 1 + 1e-4
        moved += int(np.sum(np.abs(weights.data - exact) > 0.5 + 1e-4))
    assert moved > 10


def test_random_inputs_teach_nothing_but_ranges() -> None:
    model = network()
    graph = float_graph(model)
    plain = post_training_quantization(model, graph, CompileOptions("b", bias_correction=False))
    full = post_training_quantization(
        model, graph, CompileOptions("b", equalize=True, rounding="adaptive")
    )
    assert plain.warnings == full.warnings == (SYNTHETIC_DATA,)
    assert plain.source == full.source == "random"
    for a, b in zip(plain.graph.values(), full.graph.values(), strict=True):
        assert a == b
        assert a.data is None or np.array_equal(a.data, b.data)


def test_samples_leave_no_warning(tmp_path: Path) -> None:
    q = quantized(tmp_path, network())
    assert (q.source, q.samples, q.warnings) == ("samples", 32, ())
