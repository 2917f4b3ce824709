"""Resize, Upsample, DepthToSpace and SpaceToDepth: meaning as onnxruntime's, integers as in C."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcucompile.ir import Array, Graph, QParams, Shape, Value
from mcucompile.lower import lower
from mcucompile.ops.resampling import ONE, Kernel, Resampling, Taps
from mcucompile.ops.resize import Resize
from mcucompile.plan.program import Target
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import check_graphs
from tests.support.graphs import op_graph
from tests.support.nodes import check_node, check_refused

Q = QParams((0.1,), -7)
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "half_pixel_symmetric")
ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def axis(size: int, out: int, mode: str, coordinates: str = "half_pixel", **attrs: Any) -> Taps:
    """An axis resized from `size` to `out` elements."""
    resampling = Resampling(size, out, out / size)
    x = resampling.coordinates(coordinates)
    if mode == "nearest":
        return Taps.of(resampling.nearest(x, "floor"))
    kernel = Kernel.named(mode, -0.75)
    return Taps.of(resampling.filtered(x, kernel, attrs.get("antialias", False), False))


def graph(rows: Taps, cols: Taps, channels: int) -> Graph:
    x = Value("x", (1, rows.size, cols.size, channels), "int8", Q)
    return op_graph(Resize("op", ("n",), rows, cols), [x], Q)


def resize_cases() -> list[Graph]:
    same = Taps.same(5)
    up, down = axis(5, 10, "linear"), axis(7, 3, "linear")
    return [
        graph(axis(5, 10, "nearest", "asymmetric"), axis(4, 8, "nearest", "asymmetric"), 4),
        graph(axis(5, 7, "nearest"), axis(4, 3, "nearest"), 3),
        graph(up, up, 4),
        graph(up, down, 3),
        graph(axis(5, 9, "linear", "align_corners"), axis(3, 11, "linear", "asymmetric"), 8),
        graph(same, up, 5),
        graph(up, same, 1),
        graph(axis(6, 13, "cubic"), axis(5, 4, "cubic"), 3),
        graph(axis(2, 5, "cubic"), axis(2, 5, "cubic"), 3),  # as many taps as linear ones
        graph(axis(9, 4, "linear", antialias=True), axis(8, 3, "cubic", antialias=True), 2),
        graph(Taps.same(1), axis(1, 4, "linear"), 3),
    ]


def test_c_code_of_resize() -> None:
    cases = resize_cases()
    kernels = {lower(case, Target()).calls[0].kernel for case in cases}
    assert kernels == {"mcuc_gather_s8", "mcuc_resize_bilinear_s8", "mcuc_resize_s8"}
    check_graphs(cases)


def test_rows_that_are_read() -> None:
    """The window that kernels promise to keep to holds every row that a result depends on."""
    for case in resize_cases():
        (op,) = case.ops_of(Resize)
        window = op.row_window(0, case.operands(op), case.results(op))
        assert window is not None
        for y, start in enumerate(op.rows.starts):
            assert window.begin(y, op.rows.size) <= start
            assert start + op.rows.count <= window.end(y, op.rows.size)
        assert window.size <= op.rows.count + 3


def test_integer_weights_sum_to_one() -> None:
    for out in range(1, 30):
        for mode in ("nearest", "linear", "cubic"):
            assert (axis(7, out, mode).integers().sum(axis=1) == ONE).all()


def test_integers_are_close_to_reals() -> None:
    """Half a step, and what weights of 11 bits take away; doubling needs but two bits."""
    x = np.random.default_rng(0).integers(-128, 128, (4, 7, 6, 3)).astype(np.int8)
    for taps, most in [((7, 14, 6, 12), 0.5), ((7, 10, 6, 11), 0.63), ((7, 3, 6, 4), 0.63)]:
        case = graph(axis(*taps[:2], "linear"), axis(*taps[2:], "linear"), 3)
        (op,) = case.ops()
        (want,) = op.evaluate([x.astype(np.float32)])
        (have,) = run_int(case, [x])
        assert np.abs(have - want).max() <= most


def _scales(*scales: float) -> dict[str, Array]:
    return {"scales": np.array(scales, dtype=np.float32)}


def _sizes(*sizes: int) -> dict[str, Array]:
    return {"sizes": np.array(sizes, dtype=np.int64)}


def check_resize(shape: Shape, wish: dict[str, Array], **attrs: Any) -> Graph:
    order = ["x", "", *wish] if "scales" in wish else ["x", "", "", *wish]
    attrs = {"opset": 19} | attrs
    return check_node("Resize", {"x": shape}, wish, order=order, **attrs)


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_import_of_nearest(coordinates: str) -> None:
    for rounding in ROUNDING:
        attrs = {"coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
        check_resize((1, 2, 4, 6), _scales(1, 1, 2, 3), mode="nearest", **attrs)
        check_resize((1, 2, 5, 7), _sizes(1, 2, 8, 3), mode="nearest", **attrs)


@pytest.mark.parametrize("coordinates", [*COORDINATES, "align_corners"])
def test_import_of_linear_and_cubic(coordinates: str) -> None:
    attrs: dict[str, Any] = {"coordinate_transformation_mode": coordinates}
    for mode in ("linear", "cubic"):
        check_resize((1, 2, 4, 6), _scales(1, 1, 2, 3), mode=mode, **attrs)
        check_resize((1, 2, 5, 7), _sizes(1, 2, 8, 3), mode=mode, **attrs)
    check_resize((1, 2, 5, 7), _sizes(1, 2, 9, 4), mode="cubic", exclude_outside=1, **attrs)


def test_import_of_antialiased() -> None:
    for mode in ("linear", "cubic"):
        check_resize((1, 2, 9, 8), _sizes(1, 2, 4, 3), mode=mode, antialias=1)


def test_import_of_upsample() -> None:
    x: dict[str, Shape] = {"x": (1, 3, 4, 5)}
    for mode in ("nearest", "linear"):
        check_node("Upsample", x, _scales(1, 1, 2, 3), opset=9, mode=mode)
        check_node("Upsample", x, opset=8, mode=mode, scales=[1.0, 1.0, 2.0, 2.0])
        check_node("Resize", x, _scales(1, 1, 2, 0.6), opset=10, mode=mode)


def test_axes_that_are_resized() -> None:
    """Images as ONNX has them and with channels last, sounds, and anything else axis by axis."""
    nhwc = check_resize((1, 4, 5, 3), _scales(1, 2, 2, 1), mode="nearest")
    assert [op.kind for op in nhwc.ops()] == ["Resize"]
    sound = check_resize((1, 3, 8), _scales(1, 1, 2), mode="linear")
    assert sum(op.kind == "Resize" for op in sound.ops()) == 1
    cube = check_resize((1, 2, 3, 4, 5), _scales(1, 1, 2, 2, 2), mode="nearest")
    assert sum(op.kind == "Resize" for op in cube.ops()) == 3
    check_resize((1, 3, 4, 5), _scales(1, 2, 1, 3), mode="nearest")
    check_resize((1, 3, 4, 5), {"scales": np.array([2.0, 3.0])}, mode="nearest", axes=[2, 3])
    same = check_resize((1, 3, 4, 5), _scales(1, 1, 1, 1), mode="linear")
    assert [op.kind for op in same.ops()] == ["Reshape"]


def test_sizes_that_keep_the_aspect_ratio() -> None:
    for policy in ("not_larger", "not_smaller"):
        wish = {"sizes": np.array([7, 8])}
        attrs = {"mode": "nearest", "axes": [2, 3], "keep_aspect_ratio_policy": policy}
        check_resize((1, 3, 4, 5), wish, **attrs)


def test_crop_and_resize() -> None:
    wish = {"roi": np.array([0, 0, 0.2, 0.1, 1, 1, 0.9, 0.8]), **_sizes(1, 2, 4, 3)}
    attrs = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    order = ["x", "roi", "", "sizes"]
    check_node("Resize", {"x": (1, 2, 6, 7)}, wish, order=order, opset=19, **attrs)
    wish["roi"][-1] = 1.2
    x: dict[str, Shape] = {"x": (1, 2, 6, 7)}
    check_refused("outside of its input", "Resize", x, wish, order=order, opset=19, **attrs)


def test_resizes_that_are_refused() -> None:
    x: dict[str, Shape] = {"x": (1, 2, 4, 4)}
    order = ["x", "", "scales"]
    check_refused("batch axis", "Resize", x, _scales(2, 1, 1, 1), order=order)
    check_refused("no elements", "Resize", x, _scales(1, 1, 0.1, 1), order=order)
    check_refused("neither scales nor sizes", "Resize", x, order=["x"])


def test_import_of_depth_to_space() -> None:
    for mode in ("DCR", "CRD"):
        check_node("DepthToSpace", {"x": (1, 12, 3, 5)}, blocksize=2, mode=mode)
    check_node("SpaceToDepth", {"x": (1, 3, 4, 6)}, blocksize=2)
    check_refused("no blocks of 2x2", "DepthToSpace", {"x": (1, 6, 3, 5)}, blocksize=2)
    check_refused("no blocks of 3x3", "SpaceToDepth", {"x": (1, 2, 3, 5)}, blocksize=3)
