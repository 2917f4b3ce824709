"""Convolutions and dense layers whose weights are stored in fewer than eight bits.

The forms are described in `runtime_c/include/mcuc/gemm_packed.h`. The weights are those of the
graph, so results are those of the other kernels, bit for bit: what a palette may do to accuracy has
been done before (`mcucompile/compress/`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.ir import Array
from mcucompile.ops import gemm, huffman
from mcucompile.plan.program import Const, KernelCall, Target

PALETTE_BITS = (1, 2, 3, 4)
LEAST_BLOCK = 4  # channels
# Bytes of decoded weights at a time: more cost SRAM, fewer expand activations more often.
STREAM_BYTES = {"time": 16384, "balanced": 8192, "ram": 2048}
VECTOR_BYTES = 2048  # for layers of one vector, which are expanded once in no time


def or_packed(
    call: KernelCall, direct: KernelCall, layer: gemm.Layer, order: Array, target: Target
) -> KernelCall:
    """The call `call`, or one with packed weights if `target` wants that and it is smaller.

    direct: a call of mcuc/conv1x1.h or mcuc/conv2d.h for the layer, which expands its elements in
    this `order`.
    """
    packing = target.packed.get(layer.name, target.packed.get("", ""))
    if not packing or layer.groups > 1:
        return call
    values = len(np.unique(layer.weights))
    if packing == "palette" and values > 2 ** PALETTE_BITS[-1]:
        return call
    try:
        packed = packed_call(direct, layer, order, packing, target)
    except ValueError:
        return call
    return packed if flash_bytes(packed) < flash_bytes(call) else call


def packed_call(
    direct: KernelCall, layer: gemm.Layer, order: Array, packing: str, target: Target
) -> KernelCall:
    """`direct` by the kernel for packed weights.

    packing: "palette" or "huffman". Raises ValueError if the weights have no such form.
    """
    form = pack(layer, order, packing)
    cout, words = len(layer.weights), len(order) // 2
    vector = math.prod(layer.y.shape[:-1]) == 1
    block = _block(cout, words, VECTOR_BYTES if vector else STREAM_BYTES[target.optimize])
    dropped = ("weights", "groups", "wide", "shift", "zp", "lo", "hi", "small")
    params: Mapping[str, int | float | Const] = {
        **{k: v for k, v in direct.params.items() if k not in dropped},
        "codes": Const("codes", form.codes),
        "ends": Const("ends", form.ends),
        "entries": Const("entries", form.entries),
        "bits": form.bits,
        "block": block,
        **{k: direct.params[k] for k in ("small", "wide", "shift", "zp", "lo", "hi")},
    }
    family, plain = direct.kernel.removesuffix("_s8").removesuffix("_any"), layer.is_plain
    plain = plain and not direct.params["wide"]
    table = 2 * 4**form.bits if form.bits else 512
    call = replace(
        direct,
        kernel=f"{family.removesuffix('_back')}_packed{'' if plain else '_any'}_s8",
        header=direct.header.replace(".h", "_packed.h"),
        params=params,
        scratch=direct.scratch + block // 2 * (4 * words + 16) + 4 + table,
        why=form.why,
    )
    if family.endswith("_back"):
        return replace(call, in_place=(), tile=None)
    return call if block >= cout else _in_blocks(call)


def _in_blocks(call: KernelCall) -> KernelCall:
    """Without the promises of a kernel that reads each pixel once: the last block needs all."""
    return replace(call, in_place=(), tile=None, takes_top=False, band=0)


def _block(channels: int, words: int, most: int) -> int:
    """Channels to decode at a time, all alike if possible."""
    if 2 * (4 * words + 16) > most:
        return 2
    fit = max(most // (2 * (4 * words + 16)) * 4, LEAST_BLOCK)
    if fit >= channels:
        return channels + channels % 2
    alike = [b for b in range(LEAST_BLOCK, fit + 1, LEAST_BLOCK) if channels % b == 0]
    return alike[-1] if alike and 2 * alike[-1] > fit else fit


@dataclass(frozen=True)
class Packed:
    """Weights as the kernels read them: see gemm_packed.h. why: for people."""

    codes: Array
    ends: Array
    entries: Array
    bits: int
    why: str


def pack(layer: gemm.Layer, order: Array, packing: str) -> Packed:
    """The weights of `layer` with their biases and multipliers.

    order: of elements, see `gemm.pair_parts`. Raises ValueError if they have no such form.
    """
    bias, _, m = gemm.pair_parts(layer, order)
    ends = np.concatenate([bias, m], axis=1).reshape(-1)
    weights = _in_pairs(layer, order)
    if packing == "huffman":
        codes, table = huffman.encode(weights)
        share = 16 * (len(codes) - 1) / layer.weights.size
        return Packed(codes, ends, table, 0, f"its weights in Huffman codes of {share:.1f} bits")
    entries = np.unique(layer.weights)
    bits = next(b for b in PALETTE_BITS if len(entries) <= 2**b)
    places = np.searchsorted(entries, weights).astype(np.uint16)
    each = 16 if bits == 3 else 16 // bits  # weights of a whole number of codes
    places = np.pad(places, ((0, 0), (0, -places.shape[1] % each)))
    digits = places[..., None] >> np.arange(bits, dtype=np.uint16) & 1
    codes = np.packbits(digits.astype(np.uint8), bitorder="little").view("<u2").astype(np.uint16)
    palette = np.pad(entries, (0, 2**bits - len(entries)), mode="edge").astype(np.int8)
    why = f"its weights take {len(entries)} values, {bits} bits for each"
    return Packed(codes, ends, palette, bits, why)


def _in_pairs(layer: gemm.Layer, order: Array) -> Array:
    """Weights in the order of the bytes of stream words, int8 (pairs, 2 * len(order)).

    What stands beside the odd last channel or element is one of them: it is never used.
    """
    flat = layer.weights.reshape(len(layer.weights), -1)
    flat = np.concatenate([flat, flat[-1:]]) if len(flat) % 2 else flat
    ordered = flat[:, np.where(order >= 0, order, order.max())]
    return ordered.reshape(len(flat) // 2, 2, -1).transpose(0, 2, 1).reshape(len(flat) // 2, -1)


def flash_bytes(call: KernelCall) -> int:
    """Of the constants of `call`."""
    return sum(const.data.nbytes for const in call.consts)
