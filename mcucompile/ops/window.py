"""The geometry of a sliding window, as ONNX states it, made explicit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mcucompile.frontend.node import OnnxNode
from mcucompile.ir import Box
from mcucompile.plan.program import RowWindow

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, left, bottom, right


@dataclass(frozen=True)
class Window:
    """A window over (height, width).

    pads: top, left, bottom, right. beyond: how much of the bottom and right padding is only there
    because the number of windows is rounded up (ceil_mode).
    """

    kernel: Pair
    strides: Pair
    pads: Pads
    dilations: Pair = (1, 1)
    beyond: Pair = (0, 0)


def window(node: OnnxNode, size: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of `kernel` that `node`'s attributes describe on an input of `size`.

    size, kernel: (height, width), or (width,), which stands for a height of 1.
    """
    axes = len(size)
    strides = per_axis(node, "strides", axes)
    dilations = per_axis(node, "dilations", axes)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _pads(node, size, reach, strides)
    beyond = [0] * axes
    if node.attrs.get("ceil_mode", 0):
        for i in range(axes):
            beyond[i] = _beyond(size[i], reach[i], strides[i], begin[i], end[i])
            end[i] += beyond[i]
    if axes == 1:
        begin, end, beyond = [0, *begin], [0, *end], [0, *beyond]
    return Window(
        _pair(kernel), _pair(strides), (*_pair(begin), *_pair(end)), _pair(dilations), _pair(beyond)
    )


def windows_seen(
    box: Box, size: Sequence[int], reach: Sequence[int], strides: Pair, pads: Pads
) -> tuple[Box, Pads] | None:
    """What the windows whose results are the pixels `box` see of an image of `size`, and how much
    padding beside that; None if one axis has nothing but padding.

    reach: extent of the dilated kernel. All of them (height, width), like `strides`.
    """
    seen, before, after = [], [], []
    for axis, out in enumerate(box):
        start = out.start * strides[axis] - pads[axis]
        end = (out.stop - 1) * strides[axis] - pads[axis] + reach[axis]
        seen.append(range(max(start, 0), min(end, size[axis])))
        before.append(max(-start, 0))
        after.append(max(end - size[axis], 0))
    if not all(seen):
        return None
    return (seen[0], seen[1]), (*_pair(before), *_pair(after))


def per_axis(node: OnnxNode, name: str, axes: int) -> list[int]:
    """The attribute `name`, which has one number for each of the image `axes`; ones if absent."""
    values = [int(v) for v in node.attrs.get(name, [1] * axes)]
    if len(values) != axes:
        node.unsupported(f"{name} {values} do not fit {axes} image axes", "repair the model")
    return values


def _pair(values: Sequence[int]) -> Pair:
    """One or two axes as two."""
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _pads(
    node: OnnxNode, size: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Padding at the beginning and the end of each axis. reach: extent of the dilated kernel."""
    axes = len(size)
    auto = node.attrs.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return [0] * axes, [0] * axes
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        triples = zip(size, reach, strides, strict=True)
        total = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in triples]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        return (less, more) if auto == "SAME_UPPER" else (more, less)
    pads = [int(p) for p in node.attrs.get("pads", [0] * (2 * axes))]
    if len(pads) != 2 * axes or min(pads) < 0:
        node.unsupported(f"pads {pads} do not fit {axes} image axes", "use pads >= 0 on each side")
    return pads[:axes], pads[axes:]


def _beyond(n: int, reach: int, stride: int, begin: int, end: int) -> int:
    """Padding that rounding the number of windows up adds; none may lie beyond the image."""
    count = -(-(n + begin + end - reach) // stride) + 1
    if (count - 1) * stride >= n + begin:
        count -= 1
    return max((count - 1) * stride + reach - (n + begin + end), 0)


def rows_read(spans: Sequence[tuple[int, int]], stride: int, divide: int) -> RowWindow:
    """The smallest window whose rows, which begin about y * stride / divide, hold those of
    spans[y]: (first, end)."""
    about = [y * stride // divide for y in range(len(spans))]
    top = max(at - first for at, (first, _) in zip(about, spans, strict=True))
    below = max(end - at for at, (_, end) in zip(about, spans, strict=True))
    return RowWindow(top + below, stride, top, divide)
