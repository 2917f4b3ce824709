"""--weights on whole models: the same bits as the reference, fewer bytes, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from bench.accuracy import case
from mcucompile.compiler import Compilation, compile_model
from mcucompile.errors import DoesNotFitError
from mcucompile.measure import measure, report
from mcucompile.options import CompileOptions, SampleOptions, WeightForm
from mcucompile.quant.samples import Samples, load_samples, to_model_int8
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.report.build import Report
from mcucompile.report.html import render_html
from mcucompile.report.text import render_text
from mcucompile.validate import validate
from tests.support import zoo
from tests.support.models import model_of
from tests.support.tools import needs_cross

DIGITS = zoo.ROOT / "examples/digits"
OPTIONS = CompileOptions(
    "nano33ble", calibration=SampleOptions(f"{DIGITS}/calib.npz"), winograd=False
)


@cache
def compiled(form: WeightForm) -> Compilation:
    return compile_model(DIGITS / "digits.onnx", replace(OPTIONS, weights={"": form}))


def samples_of(compilation: Compilation, source: SampleOptions) -> Samples:
    return load_samples(source, compilation.graph.input_ports, "y")


def accuracy(compilation: Compilation, source: SampleOptions) -> float:
    """Of the compiled code, once it is sure to be the reference's."""
    result = validate(compilation, samples_of(compilation, source), "host")
    assert result.mismatches_vs_reference == 0
    assert result.accuracy_compiled is not None
    return result.accuracy_compiled


def sizes(compilation: Compilation) -> Report:
    return report(compilation, measure(compilation))


def reference_accuracy(compilation: Compilation, source: SampleOptions) -> float:
    """Of the integers that the compiled code computes."""
    samples, graph = samples_of(compilation, source), compilation.graph
    inputs = [
        to_model_int8(array, port, graph.value(name).q)
        for array, port, name in zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    ]
    (output,) = run_int(graph, inputs)
    assert samples.labels is not None
    found = output.reshape(len(output), -1).argmax(axis=1)
    return float((found == samples.labels.reshape(-1)).mean())


@pytest.mark.parametrize(
    ("form", "least"),
    [("int4", 0.94), ("palette16", 0.94), ("palette4", 0.9), ("palette2", 0.2)],
)
def test_what_few_values_cost(form: WeightForm, least: float) -> None:
    compilation = compiled(form)
    assert [s.call.kernel for s in compilation.plan.steps if "packed" in s.call.kernel]
    assert reference_accuracy(compilation, SampleOptions(f"{DIGITS}/test.npz", limit=200)) >= least


@pytest.mark.parametrize("form", ["int4", "palette8"])
def test_the_report_calls_forms_as_they_were_asked_for(form: WeightForm) -> None:
    found = report(compiled(form))
    assert {layer["form"] for layer in found["weights"]} == {"int8", form}
    assert f"  {form} " in render_text(found)


def test_palettes_change_nothing_but_constants() -> None:
    before, few = (compiled(form) for form in ("int8", "palette16"))
    for a, b in zip(before.graph.values(), few.graph.values(), strict=True):
        assert a.is_constant or a == b


@zoo.needs_zoo
def test_huffman_codes_change_nothing() -> None:
    model = zoo.model("mlperf_resnet8_int8qdq")
    options = CompileOptions("nano33ble", winograd=False)
    before = compile_model(model, options)
    coded = compile_model(model, replace(options, weights={"": "huffman"}))
    assert any("packed" in s.call.kernel for s in coded.plan.steps)
    assert report(coded)["flash"]["const_bytes"] < report(before)["flash"]["const_bytes"]
    for a, b in zip(before.graph.values(), coded.graph.values(), strict=True):
        assert a == b
        assert a.data is None or np.array_equal(a.data, b.data)


def test_the_report_says_what_each_layer_saves_and_costs() -> None:
    before, few = (report(compiled(form)) for form in ("int8", "palette16"))
    assert {layer["form"] for layer in before["weights"]} == {"int8"}
    changed = [layer for layer in few["weights"] if layer["form"] == "palette16"]
    assert changed
    saved = before["flash"]["const_bytes"] - few["flash"]["const_bytes"]
    assert sum(layer["bytes_saved"] for layer in changed) == saved
    assert all(0 < layer["noise"] < 0.05 for layer in changed)
    assert all(0 < layer["output_noise"] < 0.2 for layer in changed)
    assert "packed     weights of" in render_text(few)
    assert "weights in fewer bytes:" in render_text(few)
    assert "Weights in fewer bytes" in render_html(few)


def test_the_code_computes_what_the_reference_does() -> None:
    test = SampleOptions(f"{DIGITS}/test.npz", limit=20)
    assert accuracy(compiled("palette16"), test) >= 0.9


def test_one_layer_by_its_name() -> None:
    layer = next(s for s in compiled("palette16").plan.steps if "packed" in s.call.kernel)
    (op,) = (o for o in compiled("palette16").graph.ops() if o.name == layer.call.op)
    one = compile_model(
        DIGITS / "digits.onnx", replace(OPTIONS, weights={op.origin[0]: "palette4"})
    )
    packed = [s.call.op for s in one.plan.steps if "packed" in s.call.kernel]
    assert packed == [op.name]


KWS = replace(
    CompileOptions("nano33ble"),
    calibration=SampleOptions(f"{zoo.ZOO}/data/kws01_calib.npz:x_int8"),
)
KWS_TEST = SampleOptions(f"{zoo.ZOO}/data/kws01_test.npz:x_int8", limit=200)


@zoo.needs_zoo
@needs_cross
def test_auto_fits_with_little_loss_or_says_how_small_it_can_be() -> None:
    """Also for weights that a model brings along: they are requantized because it is asked for."""
    model = zoo.model("mlperf_kws_int8qdq")
    before = compile_model(model, KWS)
    size = sizes(before)["flash"]["total_bytes"]
    auto = replace(KWS, weights={"": "auto"})
    same = compile_model(model, replace(auto, flash=size))
    assert sizes(same)["flash"]["total_bytes"] == size
    limit = round(0.85 * size)
    small = compile_model(model, replace(auto, flash=limit))
    assert sizes(small)["flash"]["total_bytes"] <= limit
    assert reference_accuracy(small, KWS_TEST) >= reference_accuracy(before, KWS_TEST) - 0.02
    assert small.quantized.warnings == ()
    with pytest.raises(DoesNotFitError, match="it needs") as error:
        compile_model(model, replace(auto, flash=8000))
    assert error.value.id == "MC303"


@zoo.needs_zoo
def test_without_samples_a_warning_says_that_the_loss_is_unknown() -> None:
    options = CompileOptions("nano33ble", weights={"": "palette16"})
    compilation = compile_model(zoo.model("mlperf_kws_int8qdq"), options)
    assert any("packed" in s.call.kernel for s in compilation.plan.steps)
    assert any("without calibration data" in w for w in compilation.quantized.warnings)


def test_auto_stores_binary_weights_of_int8_layers_as_bits() -> None:
    """As BinaryConnect trains them: plus or minus a number per channel. No result changes."""
    rng = np.random.default_rng(6)
    scale = rng.uniform(0.15, 0.3, (24, 1, 1, 1))
    weights = np.where(rng.random((24, 16, 3, 3)) < 0.5, -scale, scale)
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv", pads=[1, 1, 1, 1])]
    given = {"w": weights, "b": rng.normal(0, 0.1, 24)}
    model = model_of(nodes, {"x": (1, 16, 8, 8)}, {"y": (1, 24, 8, 8)}, given)
    options = CompileOptions("nano33ble", winograd=False)
    before, auto = (compile_model(model, replace(options, weights=w)) for w in ({}, {"": "auto"}))
    (call,) = (s.call for s in auto.plan.steps if "packed" in s.call.kernel)
    assert call.params["bits"] == 1
    assert call.consts[0].data.nbytes == 24 * 144 // 8
    (layer,) = report(auto)["weights"]
    assert (layer["form"], layer["noise"]) == ("palette2", 0)
    for a, b in zip(before.graph.values(), auto.graph.values(), strict=True):
        assert a.data is None or np.array_equal(a.data, b.data)
    samples = load_samples(SampleOptions("random", limit=2), auto.graph.input_ports)
    assert validate(auto, samples, "host").mismatches_vs_reference == 0


@pytest.mark.slow
@zoo.needs_zoo
@needs_cross
@pytest.mark.parametrize(
    ("name", "board"),
    [
        ("mlperf_resnet8_float", "nano33ble"),
        ("tinyengine_mcunet_vww_float", "stm32f746"),
        ("tinyengine_mcunet_vww_int8qdq", "stm32f746"),
    ],
)
def test_40_percent_less_flash_for_less_than_two_points(
    name: str, board: str, tmp_path: Path
) -> None:
    calibration, test = case(name.replace("int8qdq", "float")).samples(tmp_path)
    options = CompileOptions(board, calibration=calibration, winograd=False)
    before = compile_model(zoo.model(name), options)
    limit = int(0.6 * sizes(before)["flash"]["total_bytes"])
    auto = replace(options, weights={"": "auto"}, flash=limit)
    small = compile_model(zoo.model(name), auto)
    made = sizes(small)
    assert made["flash"]["total_bytes"] <= limit
    assert accuracy(small, test) >= accuracy(before, test) - 0.02
