"""Resize and Upsample: nearest elements, or weighted means of neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import ClassVar

import numpy as np

from mcucompile.export.writer import NodeWriter
from mcucompile.frontend.node import OnnxNode, onnx_import
from mcucompile.ir import QMAX, QMIN, Array, Op, QuantRule, Shape, Value
from mcucompile.ir.channels import ChannelRules
from mcucompile.ops.channelwise import Channelwise, Monotone
from mcucompile.ops.gather import LIMIT, Tables
from mcucompile.ops.resampling import ONE, Kernel, Resampling, Taps
from mcucompile.ops.reshape import Reshape
from mcucompile.ops.transpose import to_nchw, to_nhwc
from mcucompile.ops.window import rows_read
from mcucompile.plan.program import Const, KernelCall, Operand, RowWindow, Target

MODES = ("nearest", "linear", "cubic")
CUBIC = -0.75  # the coefficient where none is given


@dataclass(frozen=True)
class Resize(Op):
    """An image (N, H, W, C) of another height and width: weighted sums of rows and of pixels.

    In integers, weights are multiples of 1/2048 and sums of the stored numbers are rounded once,
    from one half up. As weights sum to 1, zero-point and scale stay as they are; sums beyond the
    ends of int8 (there are none unless weights are negative) saturate.
    """

    rows: Taps
    cols: Taps

    quant_rule: ClassVar[QuantRule] = QuantRule.SAME

    def result_shapes(self, operands: Sequence[Value]) -> tuple[Shape, ...]:
        n, h, w, c = operands[0].shape
        if (h, w) != (self.rows.size, self.cols.size):
            raise ValueError(f"{operands[0].shape} is no image of {self.rows} by {self.cols}")
        return ((n, len(self.rows.starts), len(self.cols.starts), c),)

    def evaluate(self, operands: Sequence[Array]) -> tuple[Array, ...]:
        x = operands[0].astype(np.float64)
        wide = self.cols.apply(x, 2, np.asarray(self.cols.weights))
        return (self.rows.apply(wide, 1, np.asarray(self.rows.weights)).astype(np.float32),)

    def evaluate_int(
        self, operands: Sequence[Value], results: Sequence[Value], arrays: Sequence[Array]
    ) -> tuple[Array, ...]:
        wide = self.cols.apply(arrays[0].astype(np.int64), 2, self.cols.integers())
        total = self.rows.apply(wide, 1, self.rows.integers())
        half = ONE * ONE // 2
        rounded = (total + half) // (ONE * ONE)
        return (np.clip(rounded, QMIN, QMAX).astype(np.int8),)

    def channel_rules(self, operands: Sequence[Value], results: Sequence[Value]) -> ChannelRules:
        negative = min(self.rows.integers().min(), self.cols.integers().min()) < 0
        return (Channelwise if negative else Monotone)(self, tuple(operands), tuple(results))

    def macs(self, operands: Sequence[Value], results: Sequence[Value]) -> int:
        taps = self.rows.count * self.cols.count
        return results[0].elements * taps if taps > 1 else 0

    def row_window(
        self, operand: int, operands: Sequence[Value], results: Sequence[Value]
    ) -> RowWindow | None:
        spans = [(first, first + self.rows.count) for first in self.rows.starts]
        most = math.gcd(self.rows.size, len(spans))
        return rows_read(spans, self.rows.size // most, len(spans) // most)

    def to_onnx(self, out: NodeWriter, operands: Sequence[Value], results: Sequence[Value]) -> str:
        form = _form(self)
        if form is None:
            raise self.not_in_onnx("its weights do not follow from the sizes of its images")
        n, h, w, c = results[0].shape
        image, sizes = out.nchw(out.real(operands[0])), out.ints((n, c, h, w))
        return out.nhwc(out.add("Resize", image, "", "", sizes, **form))

    def lower(
        self, operands: Sequence[Value], results: Sequence[Value], target: Target
    ) -> KernelCall:
        rows, cols = self.rows, self.cols
        _, h, w, c = operands[0].shape
        _, out_h, out_w, _ = results[0].shape
        if rows.count == cols.count == 1:
            tables = Tables(1, h, rows.starts, cols.starts, c)
            call = tables.call(self, operands[0], results[0], "the nearest pixels")
            return replace(call, band=1)
        bilinear = rows.count == cols.count == 2
        return KernelCall(
            op=self.name,
            kernel="mcuc_resize_bilinear_s8" if bilinear else "mcuc_resize_s8",
            header="mcuc/resize.h",
            params={
                "out_w": out_w,
                "channels": c,
                "taps_h": rows.count,
                "taps_w": cols.count,
                **_constants("row", rows),
                **_constants("col", cols),
            },
            reads=(Operand(operands[0].name, h, w * c),),
            writes=(Operand(results[0].name, out_h, out_w * c),),
            scratch=0 if bilinear else 4 * c,
            band=1,
            why=f"means of {rows.count}x{cols.count} pixels",
            macs=self.macs(operands, results),
        )


_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_FORMS: tuple[dict[str, str], ...] = (
    *(
        {"mode": mode, "coordinate_transformation_mode": coordinates}
        for mode, coordinates in product(("linear", "cubic"), _COORDINATES)
    ),
    *(
        {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
        for coordinates, nearest in product(
            ("half_pixel", "asymmetric", "align_corners"),
            ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
        )
    ),
)


def _form(op: Resize) -> dict[str, str] | None:
    """The attributes with which ONNX computes the weights of `op` from the sizes alone."""
    for form in _FORMS:
        if all(taps == _taps(taps.size, len(taps.starts), form) for taps in (op.rows, op.cols)):
            return form
    return None


def _taps(size: int, out: int, form: Mapping[str, str]) -> Taps:
    """Those of an axis of `size` that becomes `out` as the attributes `form` say."""
    axis = Resampling(size, out, out / size)
    if axis.is_identity:
        return Taps.same(size)
    x = axis.coordinates(form["coordinate_transformation_mode"])
    if form["mode"] == "nearest":
        return Taps.of(axis.nearest(x, form["nearest_mode"]))
    return Taps.of(axis.filtered(x, Kernel.named(form["mode"], CUBIC), False, False))


def _constants(name: str, taps: Taps) -> dict[str, int | Const]:
    starts = np.asarray(taps.starts, dtype=np.int16)
    weights = taps.integers().astype(np.int16).reshape(-1)
    return {
        f"{name}_starts": Const(f"{name}_starts", starts),
        f"{name}_weights": Const(f"{name}_weights", weights),
    }


@onnx_import("Resize", "Upsample")
def import_resize(node: OnnxNode) -> Value:
    x = node.operand(0)
    mode = str(node.attrs.get("mode", "nearest"))
    if mode not in MODES:
        node.unsupported(f"mode '{mode}' has no kernel", f"use one of {', '.join(MODES)}")
    changed = {axis: r for axis, r in enumerate(_resamplings(node, x)) if not r.is_identity}
    if 0 in changed:
        node.unsupported("it resizes the batch axis", "export the model for batch size 1")
    if any(max(r.size, r.out) > LIMIT or r.out < 1 for r in changed.values()):
        node.unsupported("an axis has too many or no elements", f"use at most {LIMIT}")
    taps = {axis: Taps.of(_matrix(node, r, mode)) for axis, r in changed.items()}
    if not taps:
        return x
    rank = len(x.shape)
    if rank in (3, 4) and min(taps) >= 2:  # an image as ONNX has them
        nhwc = to_nhwc(node, x)
        shifted = {axis - 1 + 4 - rank: t for axis, t in taps.items()}
        return to_nchw(node, _resize(node, nhwc, shifted), rank)
    if rank == 4 and max(taps) <= 2:  # an image as most others have them
        return _resize(node, x, taps)
    for axis, t in taps.items():
        x = _resize_axis(node, x, axis, t, axis == max(taps))
    return x


def _resize(node: OnnxNode, x: Value, taps: Mapping[int, Taps]) -> Value:
    rows, cols = (taps.get(axis) or Taps.same(x.shape[axis]) for axis in (1, 2))
    return node.add(Resize(*node.fresh(), rows=rows, cols=cols), x)


def _resize_axis(node: OnnxNode, x: Value, axis: int, taps: Taps, is_last: bool) -> Value:
    """One axis of any tensor resized: what is before it are rows, what is after it channels."""
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    shape = (1, math.prod(before), x.shape[axis], math.prod(after))
    image = node.add_inner(Reshape(*node.fresh("image"), shape=shape), x)
    op = Resize(*node.fresh(f"axis{axis}"), rows=Taps.same(shape[1]), cols=taps)
    resized = node.add_inner(op, image)
    back = Reshape(*node.fresh(), shape=(*before, len(taps.starts), *after))
    return node.add(back, resized) if is_last else node.add_inner(back, resized)


def _resamplings(node: OnnxNode, x: Value) -> list[Resampling]:
    """How `node` resizes each axis of `x`."""
    rank = len(x.shape)
    axes = [int(a) % rank for a in node.attrs.get("axes", range(rank))]
    roi = np.array([0.0] * len(axes) + [1.0] * len(axes))
    if node.opset >= 11 and node.attrs.get("coordinate_transformation_mode") == _CROP:
        roi = node.constant(1, "roi").astype(np.float64)
    scales, sizes = _scales(node), _sizes(node)
    found = [Resampling(d, d, 1.0) for d in x.shape]
    dims = [x.shape[axis] for axis in axes]
    if scales is None:
        if sizes is None:
            node.unsupported("it has neither scales nor sizes", "repair the model")
        scales = [size / d for size, d in zip(sizes, dims, strict=True)]
        policy = str(node.attrs.get("keep_aspect_ratio_policy", "stretch"))
        if policy != "stretch":
            scales = [min(scales) if policy == "not_larger" else max(scales)] * len(axes)
            sizes = [int(scale * d + 0.5) for scale, d in zip(scales, dims, strict=True)]
    else:
        sizes = [int(scale * d) for scale, d in zip(scales, dims, strict=True)]
    for i, axis in enumerate(axes):
        part = (float(roi[i]), float(roi[i + len(axes)]))
        found[axis] = Resampling(x.shape[axis], sizes[i], scales[i], part)
    return found


_CROP = "tf_crop_and_resize"


def _scales(node: OnnxNode) -> list[float] | None:
    """The scales: an attribute of the first Upsample, an input since; None if absent or empty."""
    if "scales" in node.attrs:
        return [float(s) for s in node.attrs["scales"]]
    slot = 2 if node.op_type == "Resize" and node.opset >= 11 else 1
    if node.optional(slot) is None:
        return None
    return [float(s) for s in node.constant(slot, "scales").reshape(-1)] or None


def _sizes(node: OnnxNode) -> list[int] | None:
    if node.optional(3) is None:
        return None
    return [int(s) for s in node.constant(3, "sizes").reshape(-1)]


def _matrix(node: OnnxNode, axis: Resampling, mode: str) -> Array:
    """The linear map from an axis to what `node` makes of it."""
    old = node.op_type == "Upsample" or node.opset < 11
    given = "asymmetric" if old else "half_pixel"
    coordinates = str(node.attrs.get("coordinate_transformation_mode", given))
    try:
        x = axis.coordinates(coordinates)
        if coordinates == _CROP and ((x < 0) | (x > axis.size - 1)).any():
            node.unsupported("it looks outside of its input", "pad the input first")
        if mode == "nearest":
            rounding = "round_prefer_floor"
            if old:  # no attribute said it
                rounding = "floor" if axis.scale >= 1 else "ceil"
            return axis.nearest(x, str(node.attrs.get("nearest_mode", rounding)))
    except KeyError as error:
        node.unsupported(f"{error} is no way to resize", "repair the model")
    kernel = Kernel.named(mode, float(node.attrs.get("cubic_coeff_a", CUBIC)))
    antialias, inside = (bool(node.attrs.get(a, 0)) for a in ("antialias", "exclude_outside"))
    return axis.filtered(x, kernel, antialias, inside)
