"""The integer interpreter on real models and real data: does quantization cost what it may?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bench.accuracy import case
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Array, Graph, Value
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.post_training import post_training_quantization
from mcucompile.quant.samples import from_model_int8, load_samples, to_model_int8
from mcucompile.reference.float_interpreter import run_float, run_float_all
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.stages import float_graph, quantized_graph
from tests.support.zoo import ZOO, model, needs_zoo

pytestmark = needs_zoo

KWS_TEST = SampleOptions(str(ZOO / "data/kws01_test.npz:x_int8"))
IC_TEST = SampleOptions(str(ZOO / "data/ic01_test.npz"), offset=-128)
VWW_TEST = SampleOptions(str(ZOO / "data/vww01_test.npz"), offset=-128)

# Pre-quantized model and its test data.
QDQ = {
    "mlperf_kws_int8qdq": KWS_TEST,
    "mlperf_resnet8_int8qdq": IC_TEST,
    "mlperf_vww96_int8qdq": VWW_TEST,
}

# Float models: the least accuracy, or how much of the float model's may be lost.
GOALS = {"mlperf_kws_float": 0.913, "mlperf_resnet8_float": 0.885, "mlperf_vww96_float": 0.874}
LOSSES = {
    "mlperf_sww_float": 0.001,
    "tflm_mnist_lstm_float": 0.005,
    "onnx2c_mnist_cntk": 0.005,
    "onnx2c_atmega_mnist": 0.005,
    "tinymaix_mnist_arduino_float": 0.005,
    "tinymaix_mnist_dw_float": 0.005,
    "tinymaix_mnist_fc_float": 0.005,
    "tinymaix_mnist_valid_float": 0.005,
}
MLPERF_FLOAT = (*GOALS, "mlperf_sww_float")


def int_outputs(graph: Graph, arrays: tuple[Array, ...]) -> list[Array]:
    """Outputs of the compiled model for samples in the model's domain, in that domain."""
    inputs = [
        to_model_int8(a, port, graph.value(name).q)
        for a, port, name in zip(arrays, graph.input_ports, graph.inputs, strict=True)
    ]
    return [
        from_model_int8(a, port, graph.value(name).q)
        for a, port, name in zip(
            run_int(graph, inputs), graph.output_ports, graph.outputs, strict=True
        )
    ]


def top1(outputs: Array) -> Array:
    return np.asarray(outputs.reshape(len(outputs), -1).argmax(axis=1))


@pytest.mark.parametrize("name", QDQ)
def test_quantized_model_predicts_what_onnxruntime_predicts(name: str) -> None:
    proto, graph = quantized_graph(model(name))
    samples = load_samples(QDQ[name], graph.input_ports)
    (theirs,) = OnnxSession(proto).run(samples.arrays)
    (ours,) = int_outputs(graph, samples.arrays)
    assert np.mean(top1(ours) == top1(theirs)) >= 0.995
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 30


@pytest.mark.parametrize("name", [*GOALS, *LOSSES])
def test_float_model_keeps_its_accuracy(name: str, tmp_path: Path) -> None:
    calibration, test = case(name).samples(tmp_path)
    proto, graph = quantized_graph(model(name), calibration)
    samples = load_samples(test, graph.input_ports, labels="y")
    (theirs,) = OnnxSession(proto).run(samples.arrays)
    (ours,) = int_outputs(graph, samples.arrays)
    accuracy, before = (np.mean(top1(y) == samples.labels) for y in (ours, theirs))
    assert accuracy >= GOALS.get(name, before - LOSSES.get(name, 1.0))
    assert np.mean(top1(ours) == top1(theirs)) >= 0.97


@pytest.mark.parametrize("name", [*MLPERF_FLOAT, "mlperf_ad01_float"])
def test_float_graph_computes_what_onnxruntime_computes(name: str) -> None:
    proto, graph = float_graph(model(name))
    samples = load_samples(SampleOptions("random", limit=4), graph.input_ports)
    (theirs,) = OnnxSession(proto).run(samples.arrays)
    (ours,) = run_float(graph, samples.arrays)
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


@pytest.mark.parametrize("name", [*MLPERF_FLOAT, "mlperf_ad01_float_keras", "rand_mcunet_in0_48"])
def test_values_hold_the_numbers_of_the_tensors_they_are_named_after(name: str) -> None:
    """In any order, since layouts differ. Calibration depends on it."""
    proto, graph = float_graph(model(name))
    samples = load_samples(SampleOptions("random", limit=2), graph.input_ports)
    known = {tensor for node in proto.graph.node for tensor in node.output}
    values = [v for v in graph.values() if v.onnx_name in known and not v.is_constant]
    session = OnnxSession(proto, [v.onnx_name for v in values])
    theirs = dict(zip(session.output_names, session.run(samples.arrays), strict=True))
    ours = run_float_all(graph, samples.arrays)
    assert len(values) >= 0.6 * len(graph.ops())
    for value in values:
        have = np.sort(ours[value.name].reshape(2, -1))
        want = np.sort(theirs[value.onnx_name].reshape(2, -1))
        assert np.allclose(have, want, rtol=1e-3, atol=1e-4 * np.abs(want).max()), value


# -- layer by layer ---------------------------------------------------------------------------

LAYERS = {
    **{
        name: SampleOptions(source.spec, offset=source.offset, limit=6)
        for name, source in QDQ.items()
    },
    "mlperf_sww_int8qdq": SampleOptions("random", limit=6),
    "mlperf_ad01_int8qdq": SampleOptions(str(ZOO / "data/ad01_sample.npz:x_int8"), limit=6),
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_is_within_one_step_of_onnxruntime(name: str) -> None:
    """Each operator is given exactly what it was given in onnxruntime.

    Only ties differ (ours go up, theirs to even), which means of 2^k numbers are full of.
    """
    proto, graph = quantized_graph(model(name))
    samples = load_samples(LAYERS[name], graph.input_ports)
    inner = inner_tensors(proto, graph, samples.arrays)
    compared = 0
    for op in graph.ops():
        operands, result = graph.operands(op), graph.result(op)
        if any(v.name not in inner for v in (*operands, result) if not v.is_constant):
            continue
        arrays = [v.data if v.data is not None else inner[v.name] for v in operands]
        (ours,) = op.evaluate_int(operands, [result], arrays)
        gap = np.abs(ours.astype(int) - inner[result.name].astype(int))
        assert gap.max() <= 1, f"{op.kind} {op.origin}"
        assert np.mean(gap > 0) < (0.02 if "Average" in op.kind else 5e-4), f"{op.kind} {op.origin}"
        compared += 1
    assert compared >= 0.8 * len(graph.ops())


def inner_tensors(
    proto: onnx.ModelProto, graph: Graph, arrays: tuple[Array, ...]
) -> dict[str, Array]:
    """The integers that onnxruntime stores for values, by value name, in the graph's layout."""
    known = {name for node in proto.graph.node for name in node.output}
    stored = {n.input[0]: n.output[0] for n in proto.graph.node if n.op_type == "QuantizeLinear"}
    tensors = {v.name: stored.get(v.onnx_name, v.onnx_name) for v in graph.values()}
    session = OnnxSession(proto, sorted(known & set(tensors.values())))
    every = dict(zip(session.output_names, session.run(arrays), strict=True))
    found = {}
    for value in graph.values():
        tensor = every.get(tensors[value.name])
        if tensor is not None and tensor.dtype == np.int8:
            found[value.name] = _in_layout(tensor, value)
    for name, array, port in zip(graph.inputs, arrays, graph.input_ports, strict=True):
        found[name] = to_model_int8(array, port, graph.value(name).q)
    return found


def _in_layout(tensor: Array, value: Value) -> Array:
    if tensor.ndim == 4 and tensor.shape[1:] != value.shape[1:]:
        tensor = np.moveaxis(tensor, 1, -1)
    return tensor.reshape(len(tensor), *value.shape[1:])


def test_calibration_data_may_be_raw_pixels(tmp_path: Path) -> None:
    """A folder of single images gives what one array of them gives."""
    images = np.load(ZOO / "data/ic01_calib.npz")["x"][:5]
    for i, image in enumerate(images):
        np.save(tmp_path / f"image{i}.npy", image)
    np.savez(tmp_path / "all.npz", x=images)
    path = model("mlperf_resnet8_float")
    _, one = quantized_graph(path, SampleOptions(str(tmp_path / "all.npz")))
    (tmp_path / "all.npz").unlink()
    _, other = quantized_graph(path, SampleOptions(str(tmp_path)))
    assert [v.qparams for v in one.values()] == [v.qparams for v in other.values()]


def test_input_layout_changes_the_c_api_only() -> None:
    """The same samples, in the layout of the ONNX file, give the same numbers."""
    proto = load_model(model("rand_mcunet_in0_48"))
    outputs = []
    for layout in ("", "nhwc"):
        graph = set_input_layout(absorb_qdq(import_model(proto)), layout)
        graph = run_passes(graph, FLOAT_PASSES)
        quantized = post_training_quantization(proto, graph, CompileOptions("any")).graph
        samples = load_samples(SampleOptions("random", limit=2), graph.input_ports)
        assert samples.arrays[0].shape == (2, 3, 48, 48)
        outputs += int_outputs(quantized, samples.arrays)
    assert graph.value(graph.inputs[0]).shape == (1, 48, 48, 3)
    assert np.array_equal(outputs[0], outputs[1])
