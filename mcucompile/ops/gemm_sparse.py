"""Convolutions whose weights are zero in blocks of 1x4: four input channels of one output channel.

The streams are described in `runtime_c/include/mcuc/gemm_sparse.h`. The results are those of the
dense kernels, bit for bit: products with zero are left out of sums that are exact.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from mcucompile.cost import instructions
from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.plan.program import Const, KernelCall, Target

BLOCK = 4
TILE = 4  # pixels; a tile of rows of fewer is not smaller
BLOCK_BYTES = 32  # of a tile of four pixels; deltas count them
MOST_ELEMENTS = 2**15 // BLOCK_BYTES * BLOCK - BLOCK  # of a channel, that deltas reach
LEAST_SPARSITY = 0.1  # below which no kernel is faster


def or_sparse(
    dense: KernelCall, direct: KernelCall, layer: gemm.Layer, target: Target
) -> KernelCall:
    """The call `dense`, or one with block-sparse weights if that pays.

    direct: a call of mcuc/conv1x1.h or mcuc/conv2d.h for the layer, often `dense` itself.
    """
    if target.sparse is False or not is_possible(layer):
        return dense
    if target.sparse is None and sparsity(layer) < LEAST_SPARSITY:
        return dense
    sparse = sparse_call(direct, layer)
    return sparse if target.sparse or pays(sparse, dense, target) else dense


def is_possible(layer: gemm.Layer) -> bool:
    """Are the layer's input channels fours, and few enough for the deltas?"""
    elements = math.prod(layer.weights.shape[1:])
    return int(layer.weights.shape[-1]) % BLOCK == 0 and elements <= MOST_ELEMENTS


def sparsity(layer: gemm.Layer) -> float:
    """The share of the layer's blocks that are zero."""
    return 1.0 - float(_kept(layer).mean())


def sparse_call(direct: KernelCall, layer: gemm.Layer) -> KernelCall:
    """`direct` by the kernel for block-sparse weights."""
    weights = Const("weights", pack(layer))
    family = direct.kernel.removesuffix("_s8").removesuffix("_any")
    plain = "" if layer.is_plain else "_any"
    return replace(
        direct,
        kernel=f"{family}_sparse{plain}_s8",
        header=direct.header.replace(".h", "_sparse.h"),
        params={**direct.params, "weights": weights, "wide": 0},
        scratch=gemm.tile_bytes(TILE, layer.weights[0].size, bool(direct.params["small"])),
        why=f"{sparsity(layer):.0%} of the 1x4 blocks of its weights are zero and left out",
    )


def pack(layer: gemm.Layer) -> Array:
    """The streams of all channels, uint32."""
    kept = _kept(layer)
    words = np.ascontiguousarray(layer.weights).reshape(len(kept), -1).view(np.uint32)
    ends = zip(layer.bias.tolist(), layer.m.tolist(), strict=True)
    streams: list[Array] = []
    each, last = len(kept) // layer.groups, -1
    for c, (bias, m) in enumerate(ends):
        blocks = np.flatnonzero(kept[c]) if kept[c].any() else np.array([0])
        before = -1 if c % each == 0 else last  # a group has a tile of its own
        streams.append(_channel(before, blocks, words[c, blocks], bias, m))
        last = int(blocks[-1])
    return np.asarray(np.concatenate(streams) & 0xFFFFFFFF, dtype=np.uint32)


def _channel(before: int, blocks: Array, words: Array, bias: int, m: int) -> Array:
    """The stream of a channel, int64.

    before: the last block of the channel before. blocks, words: those of this one.
    """
    deltas = BLOCK_BYTES * (np.diff(blocks, prepend=before) - 1)
    weights = words.astype(np.int64)
    odd = len(blocks) % 2
    if odd:
        deltas, weights = np.insert(deltas, 1, 0), np.insert(weights, 1, 0)
    both = (deltas[0::2] & 0xFFFF) | (deltas[1::2] & 0xFFFF) << 16
    first, *pairs = np.stack([both, weights[0::2], weights[1::2]], axis=1)
    size = 2 * 12 * len(pairs) + odd
    return np.concatenate([first, [size, bias], *pairs, [m]])


def _kept(layer: gemm.Layer) -> Array:
    """Which blocks are not zero: bool (O, blocks)."""
    return np.asarray(layer.weights.reshape(len(layer.weights), -1, BLOCK).any(axis=-1))


def pays(sparse: KernelCall, dense: KernelCall, target: Target) -> bool:
    """Is it faster, and is there flash enough? With -O ram: is it smaller?"""
    extra = _flash(sparse) - _flash(dense)
    if target.optimize == "ram":
        return extra < 0
    has_room = target.flash is None or extra <= target.flash
    return has_room and instructions(sparse) < instructions(dense)


def _flash(call: KernelCall) -> int:
    return sum(const.data.nbytes for const in call.consts)
