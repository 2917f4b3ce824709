"""Noise per layer: its measures, and whether the layer to blame is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mcucompile.frontend.import_graph import import_model
from mcucompile.layer_errors import advice, cosine, first_diverging, layer_errors, sqnr, worst
from mcucompile.ops.conv import Conv2d
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.passes import run_passes
from mcucompile.quant.post_training import Quantized, post_training_quantization
from mcucompile.quant.samples import load_samples
from tests.support.models import small_cnn

OPTIONS = CompileOptions("b")


def compiled() -> Quantized:
    model = small_cnn()
    return post_training_quantization(model, run_passes(import_model(model)), OPTIONS)


def test_measures() -> None:
    x = np.float32([3, 4, 0])
    assert sqnr(x, x) is None
    assert sqnr(x, x + np.float32([0, 0, 0.5])) == pytest.approx(20.0)
    assert sqnr(x, np.zeros(3)) == pytest.approx(0.0)
    assert cosine(x, 7 * x) == pytest.approx(1.0)
    assert cosine(x, np.float32([-4, 3, 0])) == pytest.approx(0.0)
    assert cosine(np.zeros(3), np.zeros(3)) == 1.0
    assert cosine(x, np.zeros(3)) == 0.0


def test_sound_model_has_little_noise_anywhere() -> None:
    quantized = compiled()
    samples = load_samples(SampleOptions("random", limit=7), quantized.graph.input_ports)
    errors = layer_errors(quantized, samples)
    assert [e.op for e in errors] == ["Conv2d", "GlobalAveragePool", "Dense", "Softmax"]
    assert errors[0].onnx_names == ("conv", "relu")
    assert all(e.sqnr is not None and e.sqnr > 25 for e in errors)
    assert first_diverging(errors) is None


@pytest.mark.parametrize("clips", [True, False])
def test_layer_to_blame_is_found(clips: bool) -> None:
    """The result of the convolution gets a range that is much too small, or too large."""
    quantized = compiled()
    graph = quantized.graph.copy()
    (conv,) = graph.ops_of(Conv2d)
    result = graph.result(conv)
    scale = result.q.scale[0] * (1 / 8 if clips else 24)
    graph.set_value(replace(result, qparams=replace(result.q, scale=(scale,))))
    broken = replace(quantized, graph=graph, source="samples")
    samples = load_samples(SampleOptions("random", limit=7), graph.input_ports)
    errors = layer_errors(broken, samples)
    blamed = worst(errors, 1)[0]
    assert blamed.name == conv.name
    assert first_diverging(errors) == blamed
    assert (blamed.clipped > 0.9) == clips
    assert (blamed.name in advice(errors, broken, OPTIONS)[0]) == clips
    dense = errors[2]  # suffers, but is not to blame
    assert dense.sqnr is not None
    assert dense.own is not None
    assert dense.sqnr + 6 < dense.own


def test_advice_names_only_what_has_not_been_tried() -> None:
    quantized = compiled()
    assert "--calib" in advice((), quantized, OPTIONS)[0]
    tried = replace(
        OPTIONS, rounding="adaptive", equalize=True, mixed="auto", calibration_method="minmax"
    )
    tips = advice((), replace(quantized, source="samples"), tried)
    assert tips == (
        "--float-layers auto, on cores with a floating-point unit",
        "another --calib-method: mse or percentile",
    )
    tips = advice((), replace(quantized, source="samples"), replace(tried, float_layers="auto"))
    assert tips == ("another --calib-method: mse or percentile",)
    untried = replace(OPTIONS, bias_correction=False)
    text = " ".join(advice((), replace(quantized, source="samples"), untried))
    assert all(o in text for o in ("--round adaptive", "--equalize", "--bias-correction"))
    assert "quantize the float model" in advice((), replace(quantized, source="model"), OPTIONS)[0]
