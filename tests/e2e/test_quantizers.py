"""Models as other quantizers write them: read, completed where need be, and right.

onnxruntime's static quantizer makes most of them here, in all its ways; one is built node by node
as PyTorch's exporter writes fake quantization. Models that converters made from TensorFlow Lite are
in the zoo.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_static,
)

from mcucompile.errors import QuantizationError
from mcucompile.ir import Array
from mcucompile.layer_errors import sqnr
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import from_model_int8, load_samples, to_model_int8
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.models import model_of
from tests.support.stages import quantized_graph

COUNT = 400


def data(seed: int, count: int) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3, 10, 10)).astype(np.float32)


def residual_network() -> onnx.ModelProto:
    """Conv, Relu, a residual block with a depthwise convolution and Clip, Concat, pool, Gemm."""
    rng = np.random.default_rng(5)
    weights = {
        "w1": rng.normal(size=(8, 3, 3, 3)) / 3,
        "b1": rng.normal(size=8) / 4,
        "w2": rng.normal(size=(8, 1, 3, 3)) / 2,
        "b2": rng.normal(size=8) / 4,
        "w3": rng.normal(size=(8, 8, 1, 1)) / 2,
        "b3": rng.normal(size=8) / 4,
        "w4": rng.normal(size=(6, 16)),
        "b4": rng.normal(size=6),
        "zero": np.zeros(()),
        "six": np.full((), 6.0),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=8),
        node("Clip", ["c2", "zero", "six"], ["r2"], "clip2"),
        node("Conv", ["r2", "w3", "b3"], ["c3"], "conv3"),
        node("Add", ["c3", "r1"], ["s"], "add"),
        node("Concat", ["s", "r2"], ["k"], "concat", axis=1),
        node("GlobalAveragePool", ["k"], ["p"], "pool"),
        node("Flatten", ["p"], ["f"], "flatten"),
        node("Gemm", ["f", "w4", "b4"], ["y"], "gemm", transB=1),
    ]
    return model_of(nodes, {"x": (1, 3, 10, 10)}, {"y": (1, 6)}, weights)


class Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.samples: Iterator[Array] = iter(data(1, 64))

    def get_next(self) -> dict[str, Array] | None:
        sample = next(self.samples, None)
        return None if sample is None else {"x": sample[None]}


def by_onnxruntime(folder: Path, **options: object) -> Path:
    source, out = folder / "float.onnx", folder / "quantized.onnx"
    onnx.save(residual_network(), source)
    quantize_static(source, out, Reader(), **options)
    return out


def agreement(path: Path, folder: Path, calibrated: bool = False) -> tuple[float, float]:
    """Share of equal predictions, and signal-to-noise ratio in dB, against onnxruntime."""
    np.save(folder / "calib.npy", data(1, 64))
    source = SampleOptions(str(folder / "calib.npy")) if calibrated else None
    proto, graph = quantized_graph(path, options=CompileOptions("b", calibration=source))
    np.save(folder / "test.npy", data(2, COUNT))
    samples = load_samples(SampleOptions(str(folder / "test.npy")), graph.input_ports)
    (theirs,) = OnnxSession(proto).run(samples.arrays)
    x = to_model_int8(samples.arrays[0], graph.input_ports[0], graph.value(graph.inputs[0]).q)
    (y,) = run_int(graph, [x])
    ours = from_model_int8(y, graph.output_ports[0], graph.value(graph.outputs[0]).q)
    same = np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))
    ratio = sqnr(theirs, ours)
    return float(same), float("inf") if ratio is None else ratio


WAYS = {
    "int8": {},
    "per channel": {"per_channel": True},
    "uint8 activations": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "uint8 weights": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
    "reduced range": {"reduce_range": True, "per_channel": True},
    "symmetric": {"extra_options": {"ActivationSymmetric": True}, "per_channel": True},
    "asymmetric weights": {"extra_options": {"WeightSymmetric": False}},
    "dedicated pairs": {"extra_options": {"DedicatedQDQPair": True}, "per_channel": True},
    "weights float, then quantized": {"extra_options": {"AddQDQPairToWeight": True}},
    "integer operators": {"quant_format": QuantFormat.QOperator, "per_channel": True},
}


@pytest.mark.parametrize("way", WAYS)
def test_onnxruntime_s_quantizer(tmp_path: Path, way: str) -> None:
    path = by_onnxruntime(tmp_path, **WAYS[way])
    same, ratio = agreement(path, tmp_path)
    assert same >= 0.995
    assert ratio > 35


def fake_quantized() -> onnx.ModelProto:
    """As torch.onnx exports fake-quantized modules: float weights in pairs, per channel on axis 0,
    the bias in float, the Relu written out, uint8 activations."""
    rng = np.random.default_rng(6)
    w = (rng.normal(size=(8, 3, 3, 3)) / 3).astype(np.float32)
    v = rng.normal(size=(6, 8)).astype(np.float32)
    constants = {
        "w": w,
        "b": rng.normal(size=8).astype(np.float32) / 4,
        "v": v,
        "d": rng.normal(size=6).astype(np.float32),
        "ws": np.abs(w).reshape(8, -1).max(axis=1) / 127,
        "wz": np.zeros(8, np.int8),
        "vs": np.abs(v).max(axis=1) / 127,
        "vz": np.zeros(6, np.int8),
    }
    for name, scale, zero in (("x", 0.032, 128), ("r", 0.022, 0), ("p", 0.009, 0), ("y", 0.1, 128)):
        constants |= {f"{name}s": np.float32(scale), f"{name}z": np.uint8(zero)}
    nodes = []

    def pair(name: str, axis: int | None = None) -> str:
        scale = [f"{name}s", f"{name}z"]
        attributes = {} if axis is None else {"axis": axis}
        make = helper.make_node
        nodes.append(make("QuantizeLinear", [name, *scale], [f"{name}_q"], **attributes))
        nodes.append(make("DequantizeLinear", [f"{name}_q", *scale], [f"{name}_d"], **attributes))
        return f"{name}_d"

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> None:
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))

    node("Conv", [pair("x"), pair("w", 0), "b"], "c", pads=[1, 1, 1, 1])
    node("Relu", ["c"], "r")
    node("GlobalAveragePool", [pair("r")], "p")
    node("Flatten", [pair("p")], "f")
    node("Gemm", ["f", pair("v", 0), "d"], "y", transB=1)
    last = pair("y")
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "fake",
        [tensor("x", TensorProto.FLOAT, [1, 3, 10, 10])],
        [tensor(last, TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_fake_quantization_as_pytorch_exports_it(tmp_path: Path) -> None:
    onnx.save(fake_quantized(), tmp_path / "fake.onnx")
    same, ratio = agreement(tmp_path / "fake.onnx", tmp_path)
    assert same >= 0.995
    assert ratio > 35


# -- float islands ----------------------------------------------------------------------------

ISLANDS = {
    "first layer": ["conv1", "relu1"],
    "last layer": ["gemm"],
    "middle": ["conv2", "clip2", "conv3"],
    "moves": ["add", "concat", "pool"],
    "all but one": ["conv1", "relu1", "conv2", "clip2", "add", "concat", "pool", "gemm"],
}


@pytest.mark.parametrize("island", ISLANDS)
def test_float_islands_are_completed_by_calibration(tmp_path: Path, island: str) -> None:
    path = by_onnxruntime(tmp_path, nodes_to_exclude=ISLANDS[island], per_channel=True)
    same, ratio = agreement(path, tmp_path, calibrated=True)
    assert same >= 0.97  # onnxruntime computes the island in float
    assert ratio > 28


def test_float_island_without_samples_is_an_error(tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, nodes_to_exclude=ISLANDS["last layer"])
    with pytest.raises(QuantizationError, match="MC202"):
        quantized_graph(path)
