"""Dense layers: import of Gemm and MatMul, the integer reference, and the C code."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.errors import QuantizationError
from mcucompile.ir import Array, Graph, QParams, Value
from mcucompile.ops.dense import Dense
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs
from tests.support.layers import assert_same_as_onnxruntime, kernel_call, layer_graph, with_bias
from tests.support.qemukit import CORES
from tests.support.tools import needs_qemu


def dense(
    cin: int,
    cout: int,
    seed: int = 0,
    lead: tuple[int, ...] = (),
    clamp: tuple[float, float] | None = None,
    least: int = -127,
    gain: float = 1.0,
    zero_points: tuple[int, int] | None = None,
    per_channel: bool = True,
) -> Graph:
    """A graph of one dense layer with random numbers; lead: axes between batch and features."""
    return layer_graph(
        Dense("dense", ("node",), clamp),
        (1, *lead, cin),
        (cout, cin),
        np.random.default_rng(seed),
        least=least,
        gain=gain,
        zero_points=zero_points,
        per_channel=per_channel,
    )


def test_every_rest() -> None:
    """Rests of 16 and 4 inputs, and of 4 outputs."""
    sizes = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (15, 6), (16, 7), (17, 8), (34, 9), (67, 10)]
    graphs = [dense(cin, cout, cin) for cin, cout in sizes]
    assert {kernel_call(g).kernel for g in graphs} == {"mcuc_dense_s8"}
    check_graphs(graphs)


def large_layers() -> list[Graph]:
    """Rests of 32 inputs, and of 8 outputs; multipliers of all channels and of each."""
    sizes = [(64, 16), (128, 9), (188, 18), (68, 19), (132, 12), (4, 256), (80, 22), (316, 15)]
    return [dense(cin, cout, cin, per_channel=bool(i % 2)) for i, (cin, cout) in enumerate(sizes)]


def test_large_layers() -> None:
    graphs = large_layers()
    calls = [kernel_call(g) for g in graphs]
    assert {c.kernel for c in calls} == {"mcuc_dense_large_s8"}
    assert [c.params["m"] == 0 for c in calls] == [False, True] * 4
    check_graphs(graphs)


@needs_qemu
def test_on_a_core() -> None:
    small = [dense(cin, cout, cin) for cin, cout in [(3, 3), (18, 7), (67, 10)]]
    check_graphs(large_layers() + small, machine=CORES[1])


def test_rows_of_words_are_fast() -> None:
    kernels = [kernel_call(dense(cin, 16)).kernel for cin in (124, 126)]
    assert kernels == ["mcuc_dense_large_s8", "mcuc_dense_s8"]


def test_a_common_multiplier_takes_no_flash() -> None:
    own, common = (kernel_call(dense(64, 24, per_channel=p)).consts[0].data for p in (True, False))
    assert own.nbytes == 24 * (64 + 8)
    assert common.nbytes == 24 * (64 + 4)


def test_several_vectors() -> None:
    graphs = [dense(6, 5, lead=(3,)), dense(8, 4, lead=(2, 3)), dense(5, 8, lead=(7,))]
    assert all(kernel_call(g).kernel == "mcuc_conv1x1_s8" for g in graphs)
    check_graphs(graphs)


def test_extreme_numbers() -> None:
    graphs = [
        dense(37, 5, least=-128, gain=0.2, zero_points=(-128, 127)),
        dense(40, 8, least=-128, gain=1500.0, zero_points=(127, -128)),
        dense(40, 8, gain=5.0, clamp=(0.0, 0.6)),
        with_bias(dense(20, 6), np.array([0, 1 << 23, 0, -(1 << 24), 7, 7])),
    ]
    assert [kernel_call(g).params["wide"] for g in graphs] == [1, 1, 0, 1]
    check_graphs(graphs)


def test_integer_reference_by_hand() -> None:
    w = np.array([[1, 2], [-3, 4]], dtype=np.int8)
    operands = [
        Value("x", (1, 2), "int8", QParams((0.5,), -1)),
        Value("w", w.shape, "int8", QParams((0.5, 0.25), 0, 0), w),
        Value("b", (2,), "int32", QParams((0.25, 0.125), 0, 0), np.array([8, -8], np.int32)),
    ]
    results = [Value("y", (1, 2), "int8", QParams((1.0,), 3))]
    x = np.array([[9, 4], [-1, -1]], dtype=np.int8)  # two samples
    arrays = [x, *(v.data for v in operands[1:] if v.data is not None)]
    (y,) = Dense("dense", ()).evaluate_int(operands, results, arrays)
    # (10 + 2 * 5 + 8) / 4 = 7; (-30 + 20 - 8) / 8 = -2.25; 8 / 4 = 2; -8 / 8 = -1
    assert y.tolist() == [[10, 1], [5, 2]]


def test_integer_reference_is_near_the_float_one() -> None:
    graph = dense(50, 20)
    (op,) = graph.ops()
    operands, result = graph.operands(op), graph.result(op)
    x = np.random.default_rng(1).integers(-128, 128, (30, 50)).astype(np.int8)
    (have,) = run_int(graph, [x])
    (real,) = op.evaluate([operands[0].q.dequantize(x), *(v.real for v in operands[1:])])
    assert np.abs(have - result.q.quantize(real).astype(int)).max() <= 1


def test_sums_that_leave_32_bits_are_refused() -> None:
    with pytest.raises(QuantizationError, match="node 'node'") as caught:
        kernel_call(with_bias(dense(4, 2), np.array([0, 1 - 2**31])))
    assert caught.value.id == "MC201"


@pytest.mark.parametrize(
    ("op_type", "shape", "constants", "attributes"),
    [
        ("Gemm", (1, 6), {"w": (6, 4), "b": (4,)}, {}),
        ("Gemm", (1, 6), {"w": (4, 6), "b": (1, 4)}, {"transB": 1}),
        ("Gemm", (1, 6), {"w": (4, 6)}, {"transB": 1, "alpha": 0.5}),
        ("Gemm", (1, 6), {"w": (6, 4), "b": (1,)}, {"alpha": -2.0, "beta": 0.25}),
        ("Gemm", (1, 6), {"w": (6, 4), "b": ()}, {}),
        ("MatMul", (1, 6), {"w": (6, 4)}, {}),
        ("MatMul", (1, 3, 6), {"w": (6, 4)}, {}),
    ],
)
def test_import(
    op_type: str,
    shape: tuple[int, ...],
    constants: dict[str, tuple[int, ...]],
    attributes: dict[str, object],
) -> None:
    rng = np.random.default_rng(2)
    numbers: dict[str, Array] = {k: np.asarray(rng.normal(size=v)) for k, v in constants.items()}
    graph = assert_same_as_onnxruntime(op_type, shape, numbers, **attributes)
    assert [type(op) for op in graph.ops()] == [Dense]
