"""Normalizations: the integer algorithm against real numbers, import, and the C code."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

from mcucompile.errors import QuantizationError
from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array, Graph, QParams, Shape, Value
from mcucompile.ops.normalize import Normalize
from mcucompile.plan.program import Target
from mcucompile.quant.normalize import _reciprocal_root, normalize_rule
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

X = QParams((0.05,), 3)
NAME = ("op", ("node",))


def _case(op: Normalize, shape: Shape, result: QParams, seed: int, q: QParams = X) -> Graph:
    rng = np.random.default_rng(seed)
    data = np.stack([rng.normal(size=shape[-1]) * 2, rng.normal(size=shape[-1])])
    x = Value("x", shape, "int8", q)
    parameters = Value("p", data.shape, data=data.astype(np.float32))
    return op_graph(op, op.quantize_constants([x, parameters]), result)


def normalize_cases() -> list[Graph]:
    results = [QParams((0.04,), 7), QParams((0.001,), -128), QParams((3.0,), 0)]
    clamps = [None, (0.0, 6.0)]
    shapes = [
        ((1, 3, 1, 16), 1),
        ((1, 1, 20, 6), 6),
        ((1, 1, 12, 8), 2),
        ((1, 2, 5, 9), 3),
        ((1, 5, 1, 1), 1),
        ((1, 1, 1, 700), 1),
        ((1, 2, 1, 2), 1),
    ]
    return [
        _case(Normalize(*NAME, epsilon, groups, centered, clamps[i % 2]), shape, results[i % 3], i)
        for i, (shape, groups) in enumerate(shapes)
        for epsilon, centered in ((1e-5, True), (0.0, False), (10.0, True))
    ]


def test_c_code() -> None:
    check_graphs(normalize_cases(), samples=4)


def test_reciprocal_root() -> None:
    rng = np.random.default_rng(0)
    w = np.unique(
        np.concatenate(
            [
                np.arange(1, 300, dtype=np.uint64),
                (2.0 ** rng.uniform(0, 62, 5000)).astype(np.uint64),
                np.array([2**62, 2**32 - 1, 2**32, 2**54 - 1, 2**53 + 1], dtype=np.uint64),
            ]
        )
    )
    bits, root = _reciprocal_root(w)
    exact = 2.0 ** (62 - bits / 2) / np.sqrt(w.astype(np.float64))
    assert (np.abs(root / exact - 1) < 2.0**-23).all()


@pytest.mark.parametrize("count", [1, 2, 3, 16, 100, 3000, 100_000])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize(("scale", "epsilon"), [(0.05, 1e-5), (1e-3, 1e-3), (2.0, 0.0)])
def test_within_half_a_step_of_real_numbers(
    count: int, centered: bool, scale: float, epsilon: float
) -> None:
    rng = np.random.default_rng(count)
    spread = 2.0 ** rng.integers(0, 8, (60, 1, 1))
    q = rng.normal(0, spread, (60, count, 1)) + rng.integers(-60, 60, (60, 1, 1))
    q = np.clip(np.rint(q), -128, 127).astype(np.int8)
    q[0] = 5  # no variance
    q[1] = -128
    q[2, 0] = 9  # the least one
    q[2, 1:] = 8
    operand, result = QParams((scale,), 3), QParams((0.03,), -9)
    gain, bias = np.array([1.3]), np.array([0.4])
    rule = normalize_rule(operand, result, count, centered, epsilon, gain, bias)
    have = rule.apply(q, 1)
    x = (q.astype(np.float64) - 3) * scale
    d = x - x.mean(axis=1, keepdims=True) if centered else x
    root = np.sqrt((d * d).mean(axis=1, keepdims=True) + epsilon)
    real = np.divide(d, root, out=np.zeros_like(d), where=root > 0) * 1.3 + 0.4
    exact = np.clip(real / 0.03 - 9, -128, 127)
    assert np.abs(have - exact).max() <= 0.502


def test_groups_are_their_own() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype(np.float32)
    parameters = np.array([[1.0] * 6, [0.0] * 6])
    (y,) = Normalize(*NAME, 0.0, 2).evaluate([x, parameters])
    for rows in (y[..., :3], y[..., 3:]):
        np.testing.assert_allclose(rows.mean(axis=(2, 3)), 0, atol=1e-6)
        np.testing.assert_allclose(rows.var(axis=(2, 3)), 1, atol=1e-5)


def test_what_leaves_32_bits_is_refused() -> None:
    y = Value("y", (1, 1, 200_000, 1), "int8", X)
    p = Value("p", (2, 1), data=np.ones((2, 1), np.float32))
    with pytest.raises(QuantizationError, match="200000 numbers is larger"):
        Normalize(*NAME, 0.0).lower([Value("x", y.shape, "int8", X), p], [y], Target())
    small = Value("y", (1, 1, 4, 1), "int8", QParams((1e-9,), 0))
    with pytest.raises(QuantizationError, match="gains or offsets"):
        Normalize(*NAME, 0.0).lower([Value("x", small.shape, "int8", X), p], [small], Target())


def _numbers(*shape: int) -> Array:
    return np.random.default_rng(3).normal(size=shape)


def test_import_of_layer_normalization() -> None:
    check_node("LayerNormalization", {"x": (1, 5, 8)}, {"g": _numbers(8), "b": _numbers(8)})
    check_node("LayerNormalization", {"x": (1, 5, 8)}, {"g": _numbers(8)}, epsilon=0.1)
    both = {"g": _numbers(5, 8), "b": _numbers(8)}
    check_node("LayerNormalization", {"x": (1, 5, 8)}, both, axis=1)
    check_node("LayerNormalization", {"x": (1, 5, 8)}, {"g": _numbers(1)}, axis=-2)
    check_node("LayerNormalization", {"x": (1, 5, 8)}, {"g": _numbers(5, 8)}, axis=0)
    check_refused("computed at run time", "LayerNormalization", {"x": (1, 4), "g": (1,)})


def test_further_results_of_layer_normalization() -> None:
    node = helper.make_node("LayerNormalization", ["x", "g"], ["y", "m", "d"], "node")
    shapes = {"y": (1, 5, 8), "m": (1, 5, 1), "d": (1, 5, 1)}
    model = model_of([node], {"x": (1, 5, 8)}, shapes, {"g": _numbers(8)})
    x = _numbers(3, 5, 8).astype(np.float32)
    wanted = OnnxSession(model).run([x])
    for have, want in zip(run_float(import_model(model), [x]), wanted, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-5)


def test_import_of_spatial_normalizations() -> None:
    parameters = {"g": _numbers(6), "b": _numbers(6)}
    check_node("InstanceNormalization", {"x": (1, 6, 4, 5)}, parameters)
    check_node("InstanceNormalization", {"x": (1, 6, 9)}, parameters, epsilon=0.1)
    check_node("GroupNormalization", {"x": (1, 6, 4, 5)}, parameters, opset=21, num_groups=3)
    parameters = {"g": _numbers(2), "b": _numbers(2)}
    # What onnxruntime makes of it before opset 21 is not what ONNX says.
    graph = import_model(_group_normalization(parameters))
    x = _numbers(2, 6, 9).astype(np.float32)
    unit = x.reshape(2, 2, -1)
    unit = (unit - unit.mean(2, keepdims=True)) / np.sqrt(unit.var(2, keepdims=True) + 1e-5)
    want = unit * parameters["g"][:, None] + parameters["b"][:, None]
    np.testing.assert_allclose(run_float(graph, [x])[0], want.reshape(x.shape), atol=1e-5)
    check_refused(
        "do not make 4 groups", "GroupNormalization", {"x": (1, 6, 9)}, parameters, num_groups=4
    )


def _group_normalization(parameters: dict[str, Array]) -> onnx.ModelProto:
    node = helper.make_node("GroupNormalization", ["x", "g", "b"], ["y"], "node", num_groups=2)
    return model_of([node], {"x": (1, 6, 9)}, {"y": (1, 6, 9)}, parameters, 18)


def test_import_of_other_normalizations() -> None:
    check_node("MeanVarianceNormalization", {"x": (1, 3, 4, 5)})
    check_node("MeanVarianceNormalization", {"x": (1, 3, 4, 5)}, axes=[1, 3])
    for p in (1, 2):
        check_node("LpNormalization", {"x": (1, 3, 4)}, axis=1, p=p)
        check_node("LpNormalization", {"x": (1, 3, 4)}, axis=-1, p=p)
    check_node("RMSNormalization", {"x": (1, 3, 4)}, {"g": _numbers(4)}, opset=23)


def test_import_of_local_response_normalization() -> None:
    check_node("LRN", {"x": (1, 7, 3, 4)}, size=3, alpha=0.3, beta=0.5, bias=2.0)
    check_node("LRN", {"x": (1, 7, 3, 4)}, size=5, scale=30.0)
    check_node("LRN", {"x": (1, 2, 3, 4)}, size=5, scale=30.0)
