"""TFLite's rounding: the rule against gemmlowp's definition, the C code against the rule, and whole
models against what TFLite's reference kernels computed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from mcucompile.compiler import absorb_qdq, import_model, load_model
from mcucompile.ir import Array, Graph
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.dense import Dense
from mcucompile.ops.softmax import Softmax
from mcucompile.passes import run_passes
from mcucompile.quant.legalize import legalize
from mcucompile.quant.quantize import quantize
from mcucompile.quant.samples import to_api
from mcucompile.quant.tflite import Scale, with_rounding
from mcucompile.reference.integer_interpreter import run_int, run_int_all
from tests.fuzz.families import case
from tests.support import zoo
from tests.support.ckit import check_graphs
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

LAYERS = ["conv1x1", "conv2d", "conv_transpose", "depthwise", "dense", "add", "global_pool"]


def gemmlowp(x: int, m: int, exponent: int) -> int:
    """SaturatingRoundingDoublingHighMul, then RoundingDivideByPOT, in exact integers."""
    product = (x << max(exponent, 0)) * m
    nudged = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    high = nudged // 2**31 if nudged >= 0 else -(-nudged // 2**31)
    right = max(-exponent, 0)
    rest = high & ((1 << right) - 1)
    return (high >> right) + (rest > (((1 << right) - 1) >> 1) + (high < 0))


def test_rule_is_that_of_gemmlowp() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        scale = Scale.of(float(2.0 ** rng.uniform(-20, 3)))
        x = rng.integers(-(2**24), 2**24, 50)
        half = 2 ** (30 - max(-scale.exponent, 0) % 8)
        x[:10] = [k * half // max(scale.m, 1) for k in range(-5, 5)]  # near ties
        want = [gemmlowp(int(v), scale.m, scale.exponent) for v in x]
        np.testing.assert_array_equal(scale.apply(x), want)


def test_scales_have_31_bits() -> None:
    assert Scale.of(1.0) == Scale(2**30, 1)
    assert Scale.of(0.25) == Scale(2**30, -1)
    assert Scale.of(1.0 - 2.0**-40) == Scale(2**30, 1)  # rounded up to the next power of two
    assert Scale.of(2.0**-40) == Scale(0, 0)


def graphs() -> list[Graph]:
    """Of every family of kernels that computes sums of products, and those with a rule of their
    own."""
    found = [case(family, i).graph for family in LAYERS for i in range(8)]
    return [with_rounding(graph, "tflite") for graph in found]


def test_c_code_equals_the_rule() -> None:
    check_graphs(graphs())


@needs_qemu
@pytest.mark.parametrize("core", CORES[:2], ids=lambda core: core.name)
def test_on_a_core(core: Core) -> None:
    check_graphs(graphs()[::2], machine=Core(core.board, {"winograd": True}))


EXACT = [
    "mlperf_ad01_int8qdq",
    "mlperf_kws_int8qdq",
    "mlperf_resnet8_int8qdq",
    "mlperf_sww_int8qdq",
    "mlperf_vww96_int8qdq",
    "st_har_ign_wisdm24_int8qdq",
    "st_stmnist_int8qdq",
    "tflm_hello_world_int8qdq",
    "tflm_person_detect_int8qdq",
    "tinyengine_mcunet_vww_int8qdq",
    "tinymaix_mnist_dw_int8qdq",
]
SLOW = ["st_mobilenetv2_035_128_person_int8qdq", "tinyengine_persondet_int8qdq"]


def tflite_graph(name: str) -> Graph:
    graph = run_passes(absorb_qdq(import_model(load_model(zoo.model(name)))))
    return legalize(quantize(with_rounding(graph, "tflite")))


def reference(name: str, graph: Graph) -> tuple[Array, dict[str, Array]]:
    """Inputs as `graph` takes them, and TFLite's outputs for them as stored numbers, by name."""
    with np.load(zoo.ZOO / "refs" / f"{name}.npz") as file:
        data = {key: file[key] for key in file.files}
    port, q = graph.input_ports[0], graph.value(graph.inputs[0]).q
    x = data["input"].reshape(-1, *port.model_shape[1:]).astype(port.dtype)
    ports = [p.name for p in graph.output_ports]
    found = {}
    for i, output in enumerate(str(n) for n in data["out_names"]):
        value = graph.value(graph.outputs[ports.index(output) if output in ports else i])
        y = data[f"tflite_out{i}"].reshape(len(x), -1)
        if y.dtype != np.int8:
            y = np.rint(y / value.q.scale[0]) + value.q.zero_point
        found[value.name] = y.astype(np.int64)
    return to_api(x, port, q), found


@zoo.needs_zoo
@pytest.mark.parametrize("name", EXACT + [pytest.param(n, marks=pytest.mark.slow) for n in SLOW])
def test_outputs_are_tflites(name: str) -> None:
    graph = tflite_graph(name)
    x, expected = reference(name, graph)
    for value, have in zip(graph.outputs, run_int(graph, [x]), strict=True):
        np.testing.assert_array_equal(have.reshape(len(x), -1), expected[value])


@zoo.needs_zoo
@pytest.mark.slow
def test_outputs_without_softmax_are_tflites_within_a_step() -> None:
    graph = tflite_graph("tflm_mobilenetv2_224_int8qdq")
    x, expected = reference("tflm_mobilenetv2_224_int8qdq", graph)
    (logits,) = run_int(graph, [x])
    assert graph.outputs[0] in expected
    assert np.abs(logits.reshape(len(x), -1) - expected[graph.outputs[0]]).max() <= 1


@zoo.needs_zoo
def test_no_rounding_gives_micro_speechs_reference() -> None:
    """Its file and the original model differ by more than rounding: the logits that lead to other
    outputs are not near a tie, whatever rounding the layer before them has."""
    graph = tflite_graph("tflm_micro_speech_int8qdq")
    x, expected = reference("tflm_micro_speech_int8qdq", graph)
    ours = run_int_all(graph, [x])
    (conv,), (dense,) = graph.ops_of(Conv2d), graph.ops_of(Dense)
    wrong = np.any(ours[graph.outputs[0]].reshape(3, -1) != expected[graph.outputs[0]], axis=1)
    assert wrong.tolist() == [False, False, True]

    def exact(op: Conv2d | Dense, stored: Array) -> Array:
        """Real sums in steps of the result, before rounding."""
        given, w, b = graph.operands(op)
        assert w.data is not None
        sums = stored.astype(np.float64) - given.q.zero_point
        (sums,) = replace(op, clamp=None).evaluate([sums, w.data.astype(np.float64), b.data])
        return sums * (given.q.scale[0] * np.asarray(w.q.scale)) / graph.result(op).q.scale[0]

    hidden = exact(conv, ours[graph.operands(conv)[0].name])
    zero = graph.result(conv).q.zero_point
    for rounded in (np.rint(hidden), np.floor(hidden + 0.5), np.ceil(hidden - 0.5)):
        stored = np.clip(rounded + zero, zero, 127).reshape(3, -1)
        logits = exact(dense, stored)[2] + graph.result(dense).q.zero_point
        np.testing.assert_allclose(np.abs(logits[1:] % 1 - 0.5).min(), 0.0877, atol=0.001)
        np.testing.assert_array_equal(np.rint(logits[1:]), [108, 120, 108])


@zoo.needs_zoo
@pytest.mark.parametrize(
    "name",
    [
        "tflm_micro_speech_int8qdq",
        pytest.param("st_aed_yamnet256_int8qdq", marks=pytest.mark.slow),
        pytest.param("st_fdmobilenet025_128_int8qdq", marks=pytest.mark.slow),
        pytest.param("st_fdmobilenet025_224_int8qdq", marks=pytest.mark.slow),
        pytest.param("st_squeezenet11_128_int8qdq", marks=pytest.mark.slow),
    ],
)
def test_logits_are_tflites_within_a_step(name: str) -> None:
    """Numbers at most one step from those before the softmax give TFLite's outputs, within one."""
    graph = tflite_graph(name)
    x, expected = reference(name, graph)
    (op,) = graph.ops_of(Softmax)
    operand, result = graph.operands(op)[0], graph.result(op)
    logits = run_int_all(graph, [x])[operand.name].reshape(len(x), -1)
    steps = np.array(list(product((-1, 0, 1), repeat=logits.shape[1])))
    for row, want in zip(logits, expected[graph.outputs[0]], strict=True):
        near = np.clip(row + steps, -128, 127).astype(np.int8).reshape(-1, *operand.shape[1:])
        (have,) = op.evaluate_int([operand], [result], [near])
        assert np.abs(have.reshape(len(steps), -1) - want).max(axis=1).min() <= 1
