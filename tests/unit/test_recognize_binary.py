"""Signs and binary layers are recognized as they are exported, and only where that is exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import NodeProto

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Array
from mcucompile.ops.binarize import Bipolar
from mcucompile.ops.binary_conv import BinaryConv2d, BinaryConv2dSign
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.unary import Unary
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.quantize import SIGN_DETAIL, quantize, uncalibrated
from mcucompile.reference.float_interpreter import run_float
from tests.support import zoo
from tests.support.models import model_of
from tests.support.passes import kinds, node, normalized
from tests.support.stages import float_graph


def _where(condition: str, result: str) -> NodeProto:
    return node("Where", [condition, "one", "none"], [result])


SIGNS: dict[str, list[NodeProto]] = {
    "larq": [
        node("Sign", ["x"], ["a"]),
        node("Add", ["a", "tenth"], ["b"]),
        node("Sign", ["b"], ["y"]),
    ],
    "where": [node("GreaterOrEqual", ["x", "zero"], ["a"]), _where("a", "y")],
    "strict where": [node("Greater", ["x", "zero"], ["a"]), _where("a", "y")],
    "the other way round": [
        node("Less", ["x", "zero"], ["a"]),
        node("Where", ["a", "none", "one"], ["y"]),
    ],
    "twice minus one": [
        node("GreaterOrEqual", ["x", "zero"], ["a"]),
        node("Cast", ["a"], ["b"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["b", "two"], ["c"]),
        node("Sub", ["c", "one"], ["y"]),
    ],
    "clipped": [
        node("Clip", ["x", "none", "one"], ["c"]),
        node("GreaterOrEqual", ["c", "zero"], ["a"]),
        _where("a", "y"),
    ],
    "scaled": [
        node("GreaterOrEqual", ["x", "zero"], ["a"]),
        node("Where", ["a", "half", "minus_half"], ["y"]),
    ],
}
NUMBERS = {"zero": 0.0, "one": 1.0, "none": -1.0, "two": 2.0, "tenth": 0.1}
NUMBERS |= {"half": 0.5, "minus_half": -0.5}
CONSTANTS = {name: np.float32(value) for name, value in NUMBERS.items()}


def _sign_model(nodes: list[NodeProto], constants: dict[str, Any]) -> onnx.ModelProto:
    used = {name for n in nodes for name in n.input}
    given = {k: v for k, v in constants.items() if k in used}
    return model_of(nodes, {"x": (1, 4, 5, 5)}, {"y": (1, 4, 5, 5)}, given)


@pytest.mark.parametrize("name", SIGNS)
def test_signs(name: str) -> None:
    found = kinds(normalized(_sign_model(SIGNS[name], CONSTANTS)))
    assert found.count("Bipolar") == 1
    assert set(found) <= {"Bipolar", "ScaleShift", "Transpose"}


def test_zero_decides_the_direction() -> None:
    """x > 0 is minus the sign of -x: of zero it is -1."""
    graph = normalized(_sign_model(SIGNS["strict where"], CONSTANTS))
    (sign,) = graph.ops_of(Bipolar)
    (y,) = sign.evaluate([np.float32([0.0])])
    scales = [op.scale for op in graph.ops() if op.kind == "ScaleShift"]  # type: ignore[attr-defined]
    assert (scales, float(y[0])) == ([-1.0, -1.0], 1.0)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Sign", ["x"], ["y"])],  # of zero it is zero
        [node("GreaterOrEqual", ["x", "one"], ["a"]), _where("a", "y")],
        [node("GreaterOrEqual", ["x", "zero"], ["a"]), node("Where", ["a", "two", "none"], ["y"])],
        [node("Relu", ["x"], ["r"]), node("Sign", ["r"], ["y"])],
    ],
)
def test_what_is_no_sign(nodes: list[NodeProto]) -> None:
    assert "Bipolar" not in kinds(normalized(_sign_model(nodes, CONSTANTS)))


def _net(
    between: list[NodeProto],
    weights: Array,
    bias: Array,
    after: list[NodeProto] | None = None,
    **conv: Any,
) -> onnx.ModelProto:
    """x -> sign -> between -> convolution -> after, from "s" over "p" and "c" to "y"."""
    nodes = [*SIGNS["where"], *between]
    nodes[1] = _where("a", "s")
    nodes.append(node("Conv", [nodes[-1].output[0], "w", "b"], ["c"], "conv", **conv))
    nodes += after or [node("Identity", ["c"], ["y"])]
    constants = {**CONSTANTS, "w": weights, "b": bias, "pads": np.int64([0, 0, 1, 1, 0, 0, 1, 1])}
    return _shaped(model_of(nodes, {"x": (1, 4, 5, 5)}, {"y": ()}, constants))


def _shaped(model: onnx.ModelProto, **constants: Array) -> onnx.ModelProto:
    """`model` with more constants, and the shape of its output as onnx infers it."""
    for name, value in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(model)


def _binary(shape: tuple[int, ...], seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.1, 2.0, (shape[0], *[1] * (len(shape) - 1)))
    return (rng.choice([-1.0, 1.0], shape) * scale).astype(np.float32)


BIAS = np.linspace(-3.3, 3.3, 12).astype(np.float32)


@pytest.mark.parametrize(("value", "pad"), [("one", 1), ("none", -1), ("zero", 0)])
def test_padding(value: str, pad: int) -> None:
    model = _net([node("Pad", ["s", "pads", value], ["p"])], _binary((12, 4, 3, 3)), BIAS)
    graph = normalized(model)
    (op,) = graph.ops_of(BinaryConv2d)
    assert (op.pads, op.pad) == ((1, 1, 1, 1), pad)  # type: ignore[attr-defined]
    assert "Pad" not in kinds(graph)


def test_padding_with_two_stays_outside() -> None:
    model = _net([node("Pad", ["s", "pads", "two"], ["p"])], _binary((12, 4, 3, 3)), BIAS)
    assert "BinaryConv2d" not in kinds(normalized(model))


def test_own_padding_is_zero() -> None:
    graph = normalized(_net([], _binary((12, 4, 3, 3)), BIAS, pads=[1, 0, 1, 0]))
    (op,) = graph.ops_of(BinaryConv2d)
    assert (op.pads, op.pad) == ((1, 0, 1, 0), 0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        (np.random.default_rng(0).normal(size=(12, 4, 3, 3)), 1),
        (_binary((12, 2, 3, 3)), 2),  # groups have no binary kernel
        (_binary((4, 4, 3, 3)), 1),  # too few channels for it
    ],
)
def test_other_layers_stay(weights: Array, groups: int) -> None:
    model = _net([], weights.astype(np.float32), BIAS[: len(weights)], group=groups)
    assert "BinaryConv2d" not in kinds(normalized(model))


NORMALIZED = [
    node("BatchNormalization", ["c", "g", "beta", "mean", "var"], ["n"], epsilon=0.0),
    node("GreaterOrEqual", ["n", "zero"], ["d"]),
    _where("d", "y"),
]


def _with_norm(after: list[NodeProto], factors: Array | None = None) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    return _shaped(
        _net([], _binary((12, 4, 3, 3)), BIAS, after),
        g=rng.choice([-1.0, 1.0], 12) * rng.uniform(0.5, 2.0, 12) if factors is None else factors,
        beta=rng.normal(size=12),
        mean=rng.normal(size=12) * 3,
        var=rng.uniform(0.5, 2.0, 12),
        w2=_binary((12, 12, 1, 1), 5),
    )


def test_normalization_and_sign_become_thresholds() -> None:
    """Of channels with a negative factor, too."""
    last = node("Conv", ["t", "w2", "b"], ["y"], "last")
    found = kinds(normalized(_with_norm([*NORMALIZED[:2], _where("d", "t"), last])))
    assert found[1:4] == ["Binarize", "BinaryConv2dSign", "BinaryConv2d"]


def test_a_sum_that_others_read_stays() -> None:
    last = node("Conv", ["t", "w2", "b"], ["e"], "last")
    add = node("Add", ["e", "n"], ["y"])
    found = kinds(normalized(_with_norm([*NORMALIZED[:2], _where("d", "t"), last, add])))
    assert found[1:6] == ["Binarize", "BinaryConv2d", "Binarize", "BinaryConv2d", "Add"]


def test_maximum_of_bits() -> None:
    """x -> max -> sign is x -> sign -> max of bits."""
    pool = node("MaxPool", ["n"], ["m"], kernel_shape=[2, 2])
    sign = node("GreaterOrEqual", ["m", "zero"], ["d"])
    last = node("Conv", ["t", "w2", "b"], ["y"], "last")
    found = kinds(normalized(_with_norm([NORMALIZED[0], pool, sign, _where("d", "t"), last])))
    assert [k for k in found if k != "Transpose"] == [
        "Binarize",
        "BinaryConv2dSign",
        "BinaryMaxPool",
        "BinaryConv2d",
    ]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_normalization_after_a_pool(sign: float) -> None:
    """Moves before it, and into the weights, unless it turns a maximum into a minimum."""
    nodes = [
        node("MaxPool", ["c"], ["m"], kernel_shape=[2, 2]),
        node("BatchNormalization", ["m", "g", "beta", "mean", "var"], ["n"], epsilon=0.0),
        node("GreaterOrEqual", ["n", "zero"], ["d"]),
        _where("d", "t"),
        node("Conv", ["t", "w2", "b"], ["y"], "last"),
    ]
    model = _with_norm(nodes, np.append(np.ones(11), sign))
    found = [k for k in kinds(normalized(model)) if k != "Transpose"]
    if sign > 0:
        wanted = ["Binarize", "BinaryConv2dSign", "BinaryMaxPool", "BinaryConv2d"]
    else:
        wanted = ["Binarize", "BinaryConv2d", "MaxPool", "Conv2d", "Binarize", "BinaryConv2d"]
    assert found == wanted


def test_dense_layers_read_images() -> None:
    after = [
        node("GreaterOrEqual", ["c", "zero"], ["d"]),
        _where("d", "t"),
        node("Flatten", ["t"], ["f"]),
        node("Gemm", ["f", "w2", "b2"], ["y"], "dense", transB=1),
    ]
    model = _net([], _binary((12, 4, 3, 3)), BIAS, after)
    graph = normalized(_shaped(model, w2=_binary((9, 108), 7), b2=np.ones(9)))
    assert [op.name for op in graph.ops_of(BinaryConv2dSign)] == ["conv"]
    (last,) = (op for op in graph.ops_of(BinaryConv2d) if op.name == "dense")
    assert graph.operands(last)[1].shape == (9, 3, 3, 12)


def test_a_sign_that_may_be_zero_stays() -> None:
    """Four channels and no bias: a sum of four may be zero, and Sign(0) is 0."""
    sign, weights = [node("Sign", ["c"], ["y"])], _binary((12, 4, 1, 1))
    stays = normalized(_net([], weights, np.zeros(12, np.float32), sign))
    assert [op.function for op in stays.ops_of(Unary)] == ["sign"]  # type: ignore[attr-defined]
    goes = normalized(_net([], weights, BIAS * 0.01 + 0.001, sign))
    assert not list(goes.ops_of(Unary))


def test_only_the_sign_of_a_value_is_kept() -> None:
    """What nothing but a sign is taken of has a fine step."""
    conv = node("Conv", ["x", "w", "b"], ["c"], "conv")
    sign = [node("GreaterOrEqual", ["c", "zero"], ["d"]), _where("d", "y")]
    constants = {**CONSTANTS, "w": np.ones((12, 4, 1, 1), np.float32), "b": BIAS}
    model = model_of([conv, *sign], {"x": (1, 4, 5, 5)}, {"y": ()}, constants)
    graph = normalized(_shaped(model))
    graph = quantize(graph, {v.name: (-8.0, 8.0) for v in uncalibrated(graph)})
    (conv,) = (v for v in graph.values() if v.onnx_name == "c")
    assert conv.q.scale[0] == pytest.approx(16.0 / 255 / SIGN_DETAIL)


@zoo.needs_zoo
@pytest.mark.parametrize("model", ["own_bnn_mnist_padone_float", "own_bnn_mnist_padone_pm1_float"])
def test_models(model: str) -> None:
    graph = float_graph(zoo.model(model))[1]
    found = kinds(graph)
    assert found.count("BinaryConv2dSign") == 1
    assert found.count("BinaryConv2d") == 2
    assert "Pad" not in found
    assert "Sign" not in found


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("readers", [1, 2])
def test_bipolar_quant_of_qonnx(scale: float, readers: int) -> None:
    """Activations and weights; -1 and +1 times a scale are a scale of the weights."""
    domain, weights = "qonnx.custom_op.general", np.sign(_binary((12, 4, 3, 3)))
    nodes = [
        onnx.helper.make_node("BipolarQuant", ["x", "s"], ["q"], "q", domain=domain),
        onnx.helper.make_node("BipolarQuant", ["w", "t"], ["v"], "v", domain=domain),
        node("Conv", ["q", "v", "b"], ["c0"], "conv0"),
        node("Conv", ["q", "v", "b"], ["c1"], "conv1"),
        node("Add", ["c0", f"c{readers - 1}"], ["y"]),
    ]
    constants = {"s": np.float32(scale), "t": np.float32(0.5), "w": weights, "b": BIAS}
    model = model_of(nodes, {"x": (1, 4, 5, 5)}, {"y": (1, 12, 3, 3)}, constants)
    model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    graph = run_passes(absorb_qdq(import_model(model)), FLOAT_PASSES)
    assert len(list(graph.ops_of(BinaryConv2d))) == readers
    x = np.random.default_rng(1).normal(size=(1, 5, 5, 4)).astype(np.float32)
    x = x if graph.value(graph.inputs[0]).shape[-1] == 4 else x.transpose(0, 3, 1, 2)
    (have,) = run_float(graph, [x])
    plain = Conv2d("plain", ())
    image = x if x.shape[-1] == 4 else x.transpose(0, 2, 3, 1)
    signs = np.where(image >= 0, scale, -scale).astype(np.float32)
    (want,) = plain.evaluate([signs, 0.5 * weights.transpose(0, 2, 3, 1), BIAS])
    have = have if have.shape[-1] == 12 else have.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(have, 2 * want, rtol=1e-5, atol=1e-5)


def test_binary_weights_for_other_activations_are_exact_in_int8() -> None:
    conv = node("Conv", ["x", "w", "b"], ["y"], "conv")
    constants = {"w": _binary((12, 4, 3, 3)), "b": BIAS}
    graph = normalized(_shaped(model_of([conv], {"x": (1, 4, 5, 5)}, {"y": ()}, constants)))
    graph = quantize(graph, {v.name: (-8.0, 8.0) for v in uncalibrated(graph)})
    (op,) = graph.ops_of(Conv2d)
    weights = graph.operands(op)[1]
    assert set(np.unique(weights.data)) == {-127, 127}  # type: ignore[arg-type]
    np.testing.assert_allclose(
        np.abs(weights.real).max(axis=(1, 2, 3)), weights.q.scale_array(1) * 127
    )
