"""What the layers for mcucompile.cost are made of."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mcucompile import resources
from mcucompile.ir import Graph, Op, QParams, Value
from mcucompile.ops.concat import Concat
from mcucompile.ops.conv import Conv2d
from mcucompile.plan.program import KernelCall
from tests.support.graphs import op_graph
from tests.support.layers import layer_graph

_SEED = 4242
X, Y = QParams((0.05,), -11), QParams((0.04,), 3)

# height, width, channels
IMAGES = [(12, 12, 24), (6, 5, 40), (9, 9, 10), (7, 11, 3), (16, 16, 8), (3, 3, 160), (5, 6, 17)]
IMAGES += [(14, 14, 64)]
# channels in and out
DENSE = [(640, 128), (128, 128), (8, 128), (128, 8), (64, 12), (256, 2), (16, 16), (1, 16)]
DENSE += [(392, 10), (100, 100), (57, 43), (1000, 4), (31, 7), (320, 1000), (12, 5), (67, 24)]
DENSE += [(30, 3), (16, 1), (200, 9), (500, 20), (60, 18), (24, 40), (180, 6), (40, 2)]
DENSE += [(1280, 1), (256, 5), (32, 3), (64, 10), (150, 11)]


def kernels() -> set[str]:
    """The kernels of the runtime; its headers make some of them by macros."""
    include = resources.runtime_dir()
    headers = sorted(str(p.relative_to(include)) for p in include.glob("mcuc/*.h"))
    text = "".join(f'#include "{header}"\n' for header in headers)
    gcc = ["gcc", "-std=c99", "-E", f"-I{include}", "-"]
    code = subprocess.run(gcc, input=text, capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\bvoid (mcuc_\w+_(?:s8|s16|b1|f32))\(const mcuc_\w+_params \*", code))


def by_rows(call: KernelCall, height: int) -> KernelCall:
    """`call` with `height` rows in place of one long one, where its kernel does not mind."""
    if not call.row_unit or call.writes[0].rows != 1 or height == 1:
        return call
    try:
        return call.split(height)
    except ValueError:
        return call


def variants(call: KernelCall, number: int) -> Iterator[KernelCall]:
    """A plain layer, and it with a bound, two of them, a shift, or wide."""
    yield call
    if call.kernel.endswith("_any_s8"):
        return
    changes = [{"lo": -50}, {"lo": -50, "hi": 60}, {"shift": 2}, {"wide": 1}]
    change = changes[number % len(changes)]
    if change == {"wide": 1} and "wide" not in call.params:
        change = {"hi": 60}
    name = call.kernel.replace("_s8", "_any_s8")
    yield replace(call, kernel=name, params={**call.params, **change})


def conv_graph(
    image: tuple[int, int, int],
    cout: int,
    kernel: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pad: int = 0,
    groups: int = 1,
    pads: tuple[int, int] | None = None,
) -> Graph:
    top, left = pads or (min(pad, kernel[0] // 2), min(pad, kernel[1] // 2))
    op = Conv2d("op", (), strides, (top, left, top, left), groups=groups)
    weights = (cout, *kernel, image[2] // groups)
    return layer_graph(op, (1, *image), weights, rng(), zero_points=(-11, 5))


def graph_of(op: Op, shape: tuple[int, ...], *others: tuple[int, ...], y: QParams = Y) -> Graph:
    """`op` on inputs of these shapes."""
    shapes = [shape, *others]
    q = [X] * len(shapes) if isinstance(op, Concat) else [X, Y]
    values = [Value(f"x{i}", s, "int8", q[i]) for i, s in enumerate(shapes)]
    return op_graph(op, values, y)


def rng() -> np.random.Generator:
    return np.random.default_rng(_SEED)
