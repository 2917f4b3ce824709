"""How the numbers of a value lie in memory.

An int8 or int32 tensor is its numbers one after the other. A tensor of dtype "bit", whose numbers
are -1 and +1, has one bit each, 1 for +1: channel c (an index of the last axis) of a pixel is bit
c % 32 of word c / 32, and the bits beyond the last channel are 0.
"""

from __future__ import annotations

import numpy as np

from mcucompile.ir.types import Array, QParams, Value

BIT = "bit"
UNIT = QParams((1.0,))  # of numbers that are -1 and +1
WORD_BITS = 32


def words_of(channels: int) -> int:
    """Words that the bits of one pixel take."""
    return -(-channels // WORD_BITS)


def array_dtype(value: Value) -> str:
    """The numpy dtype of arrays with the numbers of `value`."""
    return "int8" if value.dtype == BIT else value.dtype


def stored_bytes(value: Value) -> int:
    """Bytes that `value` takes in memory."""
    if value.dtype != BIT:
        return value.elements * np.dtype(value.dtype).itemsize
    channels = value.shape[-1]
    return value.elements // channels * words_of(channels) * 4


def to_stored(value: Value, array: Array) -> Array:
    """The bytes of `array`, which holds samples of `value` on axis 0: uint8 (N, bytes)."""
    if value.dtype != BIT:
        flat = np.ascontiguousarray(array).view(np.uint8)
        return flat.reshape(len(array), -1)
    channels = value.shape[-1]
    pixels = (array > 0).reshape(len(array), -1, channels)
    fill = words_of(channels) * WORD_BITS - channels
    padded = np.pad(pixels, ((0, 0), (0, 0), (0, fill)))
    return np.packbits(padded, axis=-1, bitorder="little").reshape(len(array), -1)


def from_stored(value: Value, raw: Array) -> Array:
    """The numbers of N samples of `value` from their bytes: (N, *shape without the batch)."""
    rows = np.ascontiguousarray(raw).view(np.uint8).reshape(len(raw), -1)
    shape = (len(raw), *value.shape[1:])
    if value.dtype != BIT:
        return rows.view(value.dtype).reshape(shape)
    channels = value.shape[-1]
    words = rows.reshape(-1, words_of(channels) * 4)
    bits = np.unpackbits(words, axis=-1, bitorder="little", count=channels)
    return (2 * bits.astype(np.int8) - 1).reshape(shape)
