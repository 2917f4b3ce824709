"""Which layers become float32, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.errors import UsageError
from mcucompile.ops.float_layers import FloatConv2d, FloatDense
from mcucompile.options import CompileOptions
from mcucompile.quant.post_training import Quantized, post_training_quantization
from mcucompile.report.quantization import quantization, quantization_lines
from tests.ops.test_float import ALL, residual
from tests.unit.test_post_training import float_graph
from tests.unit.test_widen import quantized, sqnr


def compiled(layers: str) -> Quantized:
    model = residual()
    return post_training_quantization(
        model, float_graph(model), CompileOptions("b", float_layers=layers)
    )


@pytest.mark.parametrize(
    ("node", "why"),
    [
        ("sigmoid2", "no such node"),
        ("flatten", "no Reshape in float32"),
        ("first,nosuch", "nosuch"),
    ],
)
def test_refusals(node: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        compiled(node)
    assert "Conv, Gemm and MatMul with constant weights" in str(error.value)


def test_a_fused_node_stands_for_its_layer() -> None:
    (conv,) = compiled("relu").graph.ops_of(FloatConv2d)
    assert conv.origin == ("first", "relu")


def test_weights_are_the_models_own() -> None:
    result = compiled(ALL)
    for op in result.graph.ops_of(FloatConv2d):
        for before, after in zip(
            result.original.operands(op)[1:], result.graph.operands(op)[1:], strict=True
        ):
            assert after.data is not None
            np.testing.assert_array_equal(after.data, before.real)


def test_outputs_gain_and_the_report_says_so(tmp_path: Path) -> None:
    plain, real = (
        quantized(tmp_path, 1000.0, float_layers=layers) for layers in ("", "first,second")
    )
    assert real.floats == ("first", "second")
    assert real.gain is not None
    assert real.gain.chosen > real.gain.int8 + 6
    assert sqnr(real) > sqnr(plain) + 6
    options = CompileOptions("b", float_layers="first,second")
    report = quantization(real, options)
    assert report["float32"] == ["first", "second"]
    text = "\n".join(quantization_lines(report))
    assert "float32    first, second" in text
    assert f"{real.gain.int8:.1f} to {real.gain.chosen:.1f} dB" in text


def test_auto_takes_a_noisy_layer_and_who_reads_it(tmp_path: Path) -> None:
    plain, real, again = (
        quantized(tmp_path, 1000.0, float_layers=layers) for layers in ("", "auto", "auto")
    )
    assert real.floats[:2] == ("first", "second")
    assert real.floats == again.floats
    assert sqnr(real) > sqnr(plain) + 6


def test_refinement_leaves_float_layers_alone(tmp_path: Path) -> None:
    result = quantized(tmp_path, 10.0, float_layers="second", rounding="adaptive")
    made = [op for op in result.graph.ops() if isinstance(op, FloatConv2d | FloatDense)]
    assert len(made) == 1
    for value in result.graph.operands(made[0])[1:]:
        assert value.dtype == "float32"
