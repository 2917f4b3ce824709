"""Which values become int16, and who still gets int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.errors import McuCompileError, UsageError
from mcucompile.export import qdq_model
from mcucompile.ir import Graph
from mcucompile.ops.wide import Narrow
from mcucompile.ops.wide_layers import WideConv2d
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.post_training import Quantized, post_training_quantization
from mcucompile.quant.samples import to_model_int8
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int
from tests.ops.test_wide import network
from tests.unit.test_post_training import X, float_graph
from tests.unit.test_post_training import network as badly_scaled


def widened(mixed: str) -> Graph:
    model = network()
    return post_training_quantization(
        model, float_graph(model), CompileOptions("b", mixed=mixed)
    ).graph


def named(graph: Graph, node: str) -> dict[str, str]:
    """Operators made from the ONNX node, and how their results are stored."""
    return {op.kind: graph.results(op)[0].dtype for op in graph.ops() if node in op.origin}


def test_readers_take_int16_and_store_int8() -> None:
    graph = widened("add")
    assert named(graph, "add") == {"WideAdd": "int16", "Narrow": "int8"}  # Mul reads int8
    assert named(graph, "add2") == {"WideAdd": "int8"}
    assert named(graph, "pointwise") == {"Conv2d": "int8"}


def test_maxima_pass_int16_on() -> None:
    graph = widened("depthwise")
    assert named(graph, "max") == {"WideMaxPool": "int16"}
    assert named(graph, "pointwise") == {"WideConv2d": "int8"}
    (narrow,) = graph.ops_of(Narrow)
    assert [op.kind for op in graph.users(graph.result(narrow))] == ["Sigmoid"]


def test_a_fused_node_stands_for_its_layer() -> None:
    assert named(widened("relu"), "relu") == {"WideConv2d": "int16"}


def test_views_are_views_of_int16() -> None:
    assert named(widened("mean"), "flatten") == {"Reshape": "int16"}


def test_ranges_have_room() -> None:
    """int16 numbers reach twice as far as calibration has seen, and 8 bits as far as ever."""
    graph, plain = widened("depthwise"), widened("")
    (narrow,) = graph.ops_of(Narrow)
    (wide,) = graph.operands(narrow)
    before = plain.value(wide.name)
    assert graph.result(narrow).q == before.q
    assert wide.q.scale[0] * 32767 >= 255 / 2 * before.q.scale[0]


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("max", "name the layer before it"),
        ("sigmoid", "int8 results only"),
        ("dense", "nobody who reads"),
        ("nosuch", "no such node"),
    ],
)
def test_refusals(node: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        widened(node)


def test_there_is_no_onnx_with_int16() -> None:
    with pytest.raises(McuCompileError, match="opset 21"):
        qdq_model(widened("add"))


def quantized(folder: Path, spread: float, **options: object) -> Quantized:
    model = badly_scaled(spread=spread)
    np.save(folder / "calib.npy", X[:32])
    source = SampleOptions(str(folder / "calib.npy"))
    chosen = CompileOptions("b", calibration=source, **options)  # type: ignore[arg-type]
    return post_training_quantization(model, float_graph(model), chosen)


def sqnr(result: Quantized) -> float:
    """Of the outputs for samples that calibration has not seen, in dB."""
    graph, x = result.graph, X[32:]
    (port,), (name,), (out,) = graph.input_ports, graph.inputs, graph.outputs
    (real,) = run_float(result.original, [x])
    (stored,) = run_int(graph, [to_model_int8(x, port, graph.value(name).q)])
    noise = graph.value(out).q.dequantize(stored) - real
    return float(10 * np.log10(np.sum(real**2) / np.sum(noise**2)))


def test_auto_takes_the_layer_with_channels_of_all_sizes(tmp_path: Path) -> None:
    plain, mixed = (quantized(tmp_path, 1000.0, mixed=mixed) for mixed in ("", "auto"))
    assert "first" in mixed.wide
    assert sqnr(mixed) > sqnr(plain) + 6


def test_weights_beside_int16_are_rounded_adaptively(tmp_path: Path) -> None:
    nearest, adaptive = (
        quantized(tmp_path, 1.0, mixed="first,second", rounding=rounding).graph
        for rounding in ("nearest", "adaptive")
    )
    for op in nearest.ops_of(WideConv2d):
        pair = [g.value(nearest.operands(op)[1].name).data for g in (nearest, adaptive)]
        assert not np.array_equal(*pair)


def test_auto_is_deterministic(tmp_path: Path) -> None:
    first, again = (quantized(tmp_path, 300.0, mixed="auto") for _ in range(2))
    assert first.wide == again.wide
