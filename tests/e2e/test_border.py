"""The C API's types: what firmware hands over and gets, on the host and on the cores."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.ir import Array, Element, QParams
from mcucompile.measure import report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.plan.program import Optimize
from mcucompile.quant.numbers import quantize_float32
from mcucompile.quant.samples import Samples, load_samples, to_api
from mcucompile.reference.arena_interpreter import run_plan
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.validate import validate
from tests.support import models, zoo
from tests.support.tools import needs_qemu

TYPES: tuple[Element, ...] = ("int8", "uint8", "float32")


def convolution(pad: int, channels: int = 3) -> onnx.ModelProto:
    """A convolution of an image in NCHW, then a dense layer."""
    rng = np.random.default_rng(0)
    size = 6 + 2 * pad - 2
    weights = {
        "w": rng.normal(size=(4, channels, 3, 3)),
        "fc": rng.normal(size=(5, 4 * size * size)) / 8,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[pad] * 4),
        helper.make_node("Flatten", ["c"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "fc"], ["y"], "dense", transB=1),
    ]
    return models.model_of(nodes, {"x": (1, channels, 6, 6)}, {"y": (1, 5)}, weights)


def compiled(model: onnx.ModelProto, folder: Path, **options: object) -> Compilation:
    path = models.save(model, folder / "net.onnx")
    board = str(options.pop("board", "nano33ble"))
    return compile_model(path, CompileOptions(board, "net", **options))  # type: ignore[arg-type]


def pixels(c: Compilation, scale: Array, mean: Array, count: int = 20) -> tuple[Array, Samples]:
    """Raw pixels in the C API's layout, and what they are for the model itself."""
    (port,) = c.graph.input_ports
    raw = np.random.default_rng(1).integers(0, 256, (count, *port.model_shape[1:]))
    each = (1, -1, 1, 1)
    real = (raw - mean.reshape(each)) * scale.reshape(each)
    return raw.transpose(port.from_model), Samples((real.astype(np.float32),))


@needs_qemu
@pytest.mark.parametrize(
    ("given", "wanted", "board", "stream"),
    [
        ("float32", "uint8", "nano33ble", False),
        ("float32", "float32", "stm32f746", True),
        ("uint8", "float32", "nano33ble", True),
    ],
)
def test_arena_host_and_core_agree(
    given: Element, wanted: Element, board: str, stream: bool, tmp_path: Path
) -> None:
    types: dict[str, object] = {"input_type": given, "output_type": wanted}
    c = compiled(
        models.small_cnn(), tmp_path, board=board, input_layout="nhwc", stream_input=stream, **types
    )
    (port,) = c.graph.input_ports
    samples = load_samples(SampleOptions("random", limit=3), [port])
    x = [to_api(samples.arrays[0], port, c.graph.value(c.graph.inputs[0]).q)]
    (expected,) = run_int(c.graph, x)
    assert (str(x[0].dtype), str(expected.dtype)) == (given, wanted)
    write_sources(c, tmp_path / "model")
    firmware = build.build_firmware(tmp_path / "model", "net", c.board, c.plan, tmp_path / "fw")
    for outputs in (
        run_plan(c.plan, c.graph, x),
        host.run(tmp_path / "model", c.name, c.plan, x),
        qemu.run(firmware, x).outputs,
    ):
        np.testing.assert_array_equal(outputs[0], expected)


@pytest.mark.parametrize(("given", "wanted"), list(product(TYPES, TYPES)))
@pytest.mark.parametrize("optimize", ["time", "ram"])
def test_every_pair_of_types(
    given: Element, wanted: Element, optimize: Optimize, tmp_path: Path
) -> None:
    """In the arena, where the float input is four times as large as what is made of it."""
    types: dict[str, object] = {"input_type": given, "output_type": wanted, "optimize": optimize}
    c = compiled(models.small_cnn(), tmp_path, **types)
    (port,) = c.graph.input_ports
    samples = load_samples(SampleOptions("random", limit=2), [port])
    x = [to_api(samples.arrays[0], port, c.graph.value(c.graph.inputs[0]).q)]
    np.testing.assert_array_equal(run_plan(c.plan, c.graph, x)[0], run_int(c.graph, x)[0])


def test_sizes_and_types_are_in_header_and_report(tmp_path: Path) -> None:
    c = compiled(models.small_cnn(), tmp_path, input_type="float32", output_type="uint8")
    header, source = c.files["net.h"], c.files["net.c"]
    assert "#define NET_INPUT0_SIZE 576 /* bytes */" in header
    assert "#define NET_INPUT0_COUNT 144 /* numbers */" in header
    assert "float *net_input(net_context *ctx, int32_t index);" in header
    assert "const uint8_t *net_output(const net_context *ctx, int32_t index);" in header
    assert "typedef float net_input_type;" in header
    assert "#define NET_OUTPUT0_ZERO_POINT (0)" in header  # that of a softmax is -128
    assert ".type = MCUC_FLOAT32," in source
    ports = report(c)["inputs"] + report(c)["outputs"]
    assert [p["element"] for p in ports] == ["float32", "uint8"]
    assert ports[0]["end"] - ports[0]["offset"] == 576


@pytest.mark.parametrize(
    ("pad", "scale", "mean", "layout", "form", "kernel"),
    [
        (1, (1 / 255,), (), "nhwc", "exact", "mcuc_flip_s8"),
        (1, (1 / 64,), (128.0,), "", "exact", "mcuc_flip_s8"),
        (0, (1 / 127.5,), (127.5,), "nhwc", "folded", "mcuc_flip_s8"),
        (0, (0.017, 0.018, 0.016), (123.7, 116.3, 103.5), "nhwc", "folded", "mcuc_flip_s8"),
        (1, (0.017, 0.018, 0.016), (), "nhwc", "folded", "mcuc_flip_s8"),
        (1, (1 / 127.5,), (127.5,), "nhwc", "table", "mcuc_lut_s8"),
        (1, (0.017, 0.018, 0.016), (123.7, 116.3, 103.5), "nhwc", "table", "mcuc_lut_channels_s8"),
        (1, (0.017, 0.018, 0.016), (123.7, 116.3, 103.5), "", "table", "mcuc_lut_channels_s8"),
    ],
)
def test_raw_pixels(
    pad: int, scale: tuple[float, ...], mean: tuple[float, ...], layout: str, form: str,
    kernel: str, tmp_path: Path,
) -> None:  # fmt: skip
    """Whatever the form: pixels give what the model gives for the numbers made of them."""
    given: dict[str, object] = {"input_type": "uint8", "input_scale": scale, "input_mean": mean}
    given |= {"calibration_method": "minmax", "input_layout": layout}
    rng = np.random.default_rng(2)
    raw = rng.integers(0, 256, (50, 3, 6, 6))
    each = (1, -1, 1, 1)
    factor, offset = np.array(scale), np.array(mean or (0.0,))
    np.save(tmp_path / "x.npy", ((raw - offset.reshape(each)) * factor.reshape(each)).astype("f4"))
    calib = SampleOptions(str(tmp_path / "x.npy"))
    c = compiled(convolution(pad), tmp_path, calibration=calib, **given)
    (port,) = c.graph.input_ports
    assert port.preprocessing is not None
    assert port.preprocessing.form == form
    assert kernel in [step.call.kernel for step in c.plan.steps]
    handed, samples = pixels(c, factor, offset)
    q = c.graph.value(c.graph.inputs[0]).q
    np.testing.assert_array_equal(to_api(samples.arrays[0], port, q), handed)
    result = validate(c, samples, "host")
    assert result.mismatches_vs_reference == 0
    assert result.top1_agreement is not None
    assert result.top1_agreement >= 0.9
    span = 255 * c.graph.value(c.graph.outputs[0]).q.scale[0]
    assert result.max_abs_error <= 0.05 * span


def test_quantization_is_that_of_onnx() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=4000).astype(np.float32) * 3
    x[:2000] = (np.arange(2000) - 1000) * np.float32(0.0125)  # ties
    q = QParams((float(np.float32(0.025)),), 3)
    node = helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node], "g", [info("x", 1, [4000])], [info("y", 3, [4000])],
        [helper.make_tensor("s", 1, [], [0.025]), helper.make_tensor("z", 3, [], [3])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    np.testing.assert_array_equal(quantize_float32(x, q), expected)


@zoo.needs_zoo
def test_a_zoo_model_takes_raw_pixels() -> None:
    """Its own input is int8 with scale 1/255 and zero-point -128: pixels are stored as they are."""
    options = CompileOptions("stm32f746", "vww", schedule="whole")
    own = compile_model(zoo.model("mlperf_vww96_int8qdq"), options)
    given = replace(options, input_type="uint8", input_scale=(1 / 255,), output_type="float32")
    c = compile_model(zoo.model("mlperf_vww96_int8qdq"), given)
    assert c.plan.steps[0].call.kernel == "mcuc_flip_s8"
    raw = np.random.default_rng(0).integers(0, 256, (2, *c.graph.input_ports[0].shape[1:]))
    (expected,) = run_int(own.graph, [(raw - 128).astype(np.int8)])
    (have,) = run_int(c.graph, [raw.astype(np.uint8)])
    np.testing.assert_array_equal(
        have, own.graph.value(own.graph.outputs[0]).q.dequantize(expected)
    )


def test_raw_numbers_need_no_calibration_data(tmp_path: Path) -> None:
    """As any float model, one with a raw input compiles with random ranges."""
    path = models.save(models.small_cnn(), tmp_path / "cnn.onnx")
    options = CompileOptions("nano33ble", input_type="uint8", input_scale=(0.5,), input_mean=(3.0,))
    assert compile_model(path, options).quantized.source == "random"
