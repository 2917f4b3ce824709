"""Dense layers whose weights are zero in blocks of 4x4: four inputs of four output channels.

The streams are described in `runtime_c/include/mcuc/dense_sparse.h`.
"""

from __future__ import annotations

import math

import numpy as np

from mcucompile.ir import Array
from mcucompile.ops import gemm
from mcucompile.ops.gemm_sparse import BLOCK, LEAST_SPARSITY, pays
from mcucompile.plan.program import Const, KernelCall, Target

MOST_ELEMENTS = 2**16  # that a block's place of 16 bits reaches


def or_sparse_dense(dense: KernelCall, layer: gemm.Layer, target: Target) -> KernelCall:
    """The call `dense` of a layer on one vector, or one with block-sparse weights if that pays."""
    elements = math.prod(layer.weights.shape[1:])
    if target.sparse is False or elements % BLOCK or elements > MOST_ELEMENTS:
        return dense
    sparsity = 1.0 - float(_kept(layer).mean())
    if target.sparse is None and sparsity < LEAST_SPARSITY:
        return dense
    weights, blocks = pack(layer)
    params: dict[str, int | Const] = {
        "cout": len(layer.weights),
        "weights": Const("weights", weights),
        "blocks": Const("blocks", blocks),
        "wide": int(gemm.is_wide(layer)),
    }
    plain = "" if layer.is_plain and not params["wide"] else "_any"
    why = f"{sparsity:.0%} of the 4x4 blocks of its weights are zero and left out"
    sparse = layer.call(f"mcuc_dense_sparse{plain}_s8", "mcuc/dense_sparse.h", params, why=why)
    return sparse if target.sparse or pays(sparse, dense, target) else dense


def pack(layer: gemm.Layer) -> tuple[Array, Array]:
    """The streams of all channels, uint32, and the places of their blocks, uint16."""
    elements = math.prod(layer.weights.shape[1:])
    parts = gemm.pair_parts(layer, gemm.word_order(elements))
    bias, words, m = (np.pad(part, ((0, len(part) % 2), (0, 0))) for part in parts)
    streams: list[Array] = []
    places: list[Array] = []
    for group, kept in enumerate(_kept(layer)):
        both = slice(2 * group, 2 * group + 2)
        fours = words[both].reshape(2, -1, 2)[:, kept]  # pair, block, word
        streams += [bias[both].reshape(-1), fours.transpose(1, 2, 0).reshape(-1)]
        streams.append(m[both].reshape(-1))
        at = np.flatnonzero(kept)
        places += [np.array([len(at)]), BLOCK * at]
    return np.concatenate(streams), np.concatenate(places).astype(np.uint16)


def _kept(layer: gemm.Layer) -> Array:
    """Which blocks are not zero: bool (fours of channels, blocks)."""
    flat = layer.weights.reshape(len(layer.weights), -1)
    padded = np.pad(flat, ((0, -len(flat) % BLOCK), (0, 0)))
    return np.asarray(padded.reshape(-1, BLOCK, flat.shape[1] // BLOCK, BLOCK).any(axis=(1, 3)))
