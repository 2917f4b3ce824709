"""3x3 convolutions with stride 1 as exact integer Winograd F(2x2, 3x3).

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); the method and its weight
streams are described in `runtime_c/include/mcuc/conv3x3_winograd.h`.
"""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.ops.conv_geometry import Geometry
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.quant.numbers import INT32_LIMIT

TWICE_G = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
ROW_ORDER = (1, 2, 0, 3)  # of the positions of a column; the sums of the last row are subtracted
ROW_SIGNS = np.array([1, 1, 1, -1])
MOST_CHANNELS_FOR_FOUR = 64  # input channels, for four tiles together: 9 KB of scratch
CODE_BYTES = 2000  # of the kernel, for one layer


def winograd_call(layer: gemm.Layer, g: Geometry, target: Target) -> KernelCall | None:
    """The Winograd kernel for `layer`; None where it cannot compute it or does not pay."""
    if not is_possible(layer, g) or not _pays(layer, g, target):
        return None
    params: dict[str, int | Const] = {
        **g.params("in_h in_w cin out_w cout top left"),
        "in_zp": layer.x.q.zero_point,
        "tiles": _tiles(g),
        "weights": Const("weights", pack(layer)),
    }
    plain = "" if layer.is_plain else "_any"
    return layer.call(
        f"mcuc_conv3x3_winograd{plain}_s8",
        "mcuc/conv3x3_winograd.h",
        params,
        (g.in_h, g.out_h),
        scratch=scratch_bytes(g),
        band=2,
        why="3x3, stride 1: 16 instead of 36 products per tile of 2x2 (Winograd)",
    )


def is_possible(layer: gemm.Layer, g: Geometry) -> bool:
    """Is the layer a dense 3x3 convolution with stride 1 whose sums stay within 30 bits?

    The kernel computes modulo 2^32 and gets four times the sum of products: within int32 if the sum
    is below 2^29.
    """
    window = (g.kh, g.kw, g.sh, g.sw, g.dh, g.dw) == (3, 3, 1, 1, 1, 1)
    products = layer.bound - np.abs(layer.bias)
    return window and layer.groups == 1 and 4 * int(products.max()) < INT32_LIMIT


def transformed(weights: Array) -> Array:
    """(2G) w (2G)' of weights (O, 3, 3, C): int64 (O, 4, 4, C), within +-9 * 128."""
    w = weights.astype(np.int64)
    return np.asarray(np.einsum("iy,kx,oyxc->oikc", TWICE_G, TWICE_G, w))


def pack(layer: gemm.Layer) -> Array:
    """The weight streams, uint32: per pair of channels, 16 positions, biases, multipliers."""
    columns = transformed(layer.weights)[:, ROW_ORDER].transpose(0, 2, 1, 3)
    columns = columns * ROW_SIGNS[:, None]  # (O, column, row, C)
    channels, depth = columns.shape[0], columns.shape[-1]
    columns = _padded(_padded(columns, 0, 2), 3, 4)
    fours = columns.reshape(-1, 2, 16, -(-depth // 4), 2, 2)  # pair, channel, position, 4q, hi, odd
    lanes = fours.transpose(0, 2, 3, 5, 1, 4).reshape(len(fours), -1, 2) & 0xFFFF
    words = lanes[..., 0] | lanes[..., 1] << 16
    ends = [_padded(v.astype(np.int64), 0, 2).reshape(-1, 2) for v in (layer.bias, layer.m)]
    assert len(ends[0]) == -(-channels // 2)
    stream = np.concatenate([words, *ends], axis=1).reshape(-1)
    return np.asarray(stream & 0xFFFFFFFF, dtype=np.uint32)


def scratch_bytes(g: Geometry) -> int:
    """Of the transformed inputs of a group of tiles, four channels of them half-way, and a row of
    padding."""
    tiles = _tiles(g)
    return tiles * 64 * _words(g) + 64 * (tiles + 1) + g.in_w * g.cin


def flash_bytes(g: Geometry) -> int:
    """Of the weight streams."""
    return -(-g.cout // 2) * (128 * _words(g) + 16)


def _words(g: Geometry) -> int:
    """Words per position: two input channels each, in fours."""
    return -(-g.cin // 4) * 2


def _padded(array: Array, axis: int, multiple: int) -> Array:
    """`array` with zeros up to a multiple of `multiple` along `axis`."""
    widths = [(0, 0)] * array.ndim
    widths[axis] = (0, -array.shape[axis] % multiple)
    return np.pad(array, widths)


def _tiles(g: Geometry) -> int:
    """Tiles computed together: four, unless two are enough or four take much scratch."""
    return 4 if g.out_w > 4 and g.cin <= MOST_CHANNELS_FOR_FOUR else 2


def _pays(layer: gemm.Layer, g: Geometry, target: Target) -> bool:
    """Is it faster, is there flash enough, and may the scratch memory be larger for it?"""
    if target.winograd is not None:
        return target.winograd
    extra = flash_bytes(g) - layer.weights.size + CODE_BYTES
    saved = direct_instructions(g) - winograd_instructions(g)
    has_room = target.flash is None or extra <= target.flash
    return target.optimize != "ram" and has_room and saved > 0


def winograd_instructions(g: Geometry) -> float:
    """An estimate of executed Cortex-M4 instructions, within some 10 %."""
    columns = -(-g.out_w // 2)
    fours, rest = (columns // 4, columns % 4) if _tiles(g) == 4 else (0, columns)
    groups = {4: fours + (rest == 3), 2: 0 if rest == 3 else -(-rest // 2)}
    fetch = 36 if g.cin % 4 == 0 else 330
    total = 0.0
    for tiles, count in groups.items():
        inputs = -(-g.cin // 4) * (fetch * (2 * tiles + 2) + 80 * tiles + 60)
        outputs = -(-g.cout // 2) * (_words(g) * (44 * tiles + 16) + 95 * tiles + 20)
        total += count * (inputs + outputs)
    return total * -(-g.out_h // 2)


def direct_instructions(g: Geometry) -> float:
    """The same for the direct kernels."""
    elements = 9 * g.cin
    gather = elements * (14 if g.cin % 4 == 0 else 5)  # or expanded once, by conv_thin.h
    each = gather + -(-g.cout // 2) * (-(-elements // 2) * 12.2 + 60)
    return each * g.out_h * (g.out_w // 4 + 0.35 * (g.out_w % 4 > 0) + 0.1 * (g.out_w % 4))
