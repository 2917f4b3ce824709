"""ConvTranspose: import, float and integer meaning, and the C code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from mcucompile.frontend.import_graph import import_model
from mcucompile.ir import Graph
from mcucompile.ops.conv_transpose import ConvTranspose2d
from mcucompile.passes import run_passes
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.onnx_session import OnnxSession
from tests.support.ckit import check_graphs
from tests.support.layers import kernel_call, layer_graph
from tests.support.models import model_of
from tests.support.nodes import check_node, check_refused

rng = np.random.default_rng(0)


def conv_transpose(
    image: tuple[int, int, int],
    cout: int,
    kernel: tuple[int, int],
    seed: int = 0,
    groups: int = 1,
    gain: float = 1.0,
    least: int = -127,
    **fields: Any,
) -> Graph:
    """A graph of one ConvTranspose2d with random numbers; image: height, width, channels."""
    op = ConvTranspose2d("conv", ("node",), groups=groups, **fields)
    weights = (cout, *kernel, image[2] // groups)
    return layer_graph(
        op, (1, *image), weights, np.random.default_rng(seed), gain=gain, least=least
    )


def conv_transpose_cases() -> list[Graph]:
    two = {"strides": (2, 2)}
    return [
        conv_transpose((4, 5, 8), 6, (2, 2), **two),
        conv_transpose((4, 5, 8), 4, (3, 3), pads=(1, 1, 0, 0), **two),
        conv_transpose((3, 4, 4), 5, (4, 4), pads=(1, 1, 1, 1), **two),
        conv_transpose((3, 4, 3), 5, (3, 3)),
        conv_transpose((1, 6, 5), 3, (1, 5), strides=(1, 3), pads=(0, 1, 0, 2)),
        conv_transpose((4, 3, 6), 4, (3, 2), groups=2, **two),
        conv_transpose((4, 3, 4), 4, (3, 3), groups=4, pads=(1, 1, 0, 0), **two),
        conv_transpose((3, 4, 4), 4, (2, 3), dilations=(2, 3), strides=(2, 3)),  # empty phases
        conv_transpose((3, 4, 4), 4, (3, 3), dilations=(3, 2), strides=(2, 2)),
        conv_transpose((3, 4, 8), 4, (1, 1), strides=(3, 2)),  # most of it is bias
        conv_transpose((3, 2, 4), 4, (2, 2), strides=(2, 3), pads=(-1, -4, -2, -1)),
        conv_transpose((3, 9, 8), 4, (4, 4), clamp=(0.0, 1.0), **two),
        conv_transpose((2, 9, 16), 4, (2, 2), least=-128, gain=0.2, **two),  # wide
        conv_transpose((2, 3, 4), 2, (2, 2), gain=1500.0, **two),  # with a shift
    ]


def test_c_code() -> None:
    cases = conv_transpose_cases()
    calls = [kernel_call(case) for case in cases]
    assert any(call.params["wide"] for call in calls)
    assert any(call.params["shift"] for call in calls)
    check_graphs(cases)


def test_rows_that_are_read() -> None:
    """The window that kernels promise to keep to holds every row that a result depends on."""
    for case in conv_transpose_cases():
        (op,) = case.ops()
        operands = case.operands(op)
        window = op.row_window(0, operands, case.results(op))
        assert window is not None
        x, w, b = (np.ones(v.shape) for v in operands)
        rows = x.shape[1]
        for row in range(rows):
            x[:] = 0.0
            x[0, row] = 1.0
            (result,) = op.evaluate([x, w, np.zeros_like(b)])
            for y in np.flatnonzero(result[0].any(axis=(1, 2))):
                assert window.begin(int(y), rows) <= row < window.end(int(y), rows)


def _weights(*shape: int) -> dict[str, np.ndarray]:
    return {"w": rng.normal(size=shape), "b": rng.normal(size=shape[1])}


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"strides": [2, 3]},
        {"strides": [2, 2], "pads": [1, 0, 2, 1]},
        {"strides": [3, 2], "output_padding": [2, 1], "pads": [0, 1, 1, 0]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 3], "auto_pad": "VALID"},
        {"strides": [2, 3], "output_shape": [8, 15]},
        {"dilations": [2, 3], "strides": [2, 2]},
    ],
)
def test_import(attributes: dict[str, Any]) -> None:
    check_node("ConvTranspose", {"x": (1, 3, 4, 5)}, _weights(3, 2, 3, 3), **attributes)


def test_import_of_groups_and_sounds() -> None:
    x = {"x": (1, 6, 4, 5)}
    weights = {"w": rng.normal(size=(6, 2, 3, 2)), "b": rng.normal(size=6)}
    check_node("ConvTranspose", x, weights, group=3, strides=[2, 2])
    check_node("ConvTranspose", x, {"w": rng.normal(size=(6, 1, 2, 2))}, group=6, strides=[2, 2])
    check_node("ConvTranspose", {"x": (1, 3, 9)}, _weights(3, 4, 4), strides=[2], pads=[1, 1])
    check_refused("computed at run time", "ConvTranspose", {"x": (1, 1, 9), "w": (1, 4, 4)})
    one = {"x": (1, 3, 1)}
    check_refused("leave nothing", "ConvTranspose", one, _weights(3, 4, 1), pads=[1, 1])


def test_normalization_and_activation_are_folded() -> None:
    """Of what decoders are made."""
    names = ["w", "b", "scale", "shift", "mean", "variance"]
    arrays = [rng.normal(size=(3, 4, 2, 2)), *(rng.normal(size=4) for _ in range(4))]
    constants = dict(zip(names, [*arrays, rng.random(4) + 0.1], strict=True))
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w", "b"], ["c"], "conv", strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", *names[2:]], ["n"], "norm"),
        helper.make_node("Relu", ["n"], ["y"], "relu"),
    ]
    model = model_of(nodes, {"x": (1, 3, 4, 5)}, {"y": (1, 4, 8, 10)}, constants)
    graph = run_passes(import_model(model))
    assert [op.kind for op in graph.ops()] == ["Transpose", "ConvTranspose2d", "Transpose"]
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    (have,), (want,) = run_float(graph, [x]), OnnxSession(model).run([x])
    np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)
