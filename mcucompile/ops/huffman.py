"""Canonical Huffman codes of int8 numbers, as `runtime_c/include/mcuc/gemm_packed.h` reads them."""

from __future__ import annotations

import heapq

import numpy as np

from mcucompile.ir import Array

LONGEST = 16  # bits of a code, MCUC_HUFFMAN_LONGEST


def code_lengths(symbols: Array) -> dict[int, int]:
    """Bits of the code of each number among `symbols`, none above LONGEST.

    Huffman, "A Method for the Construction of Minimum-Redundancy Codes", 1952. Where a code would
    be too long, frequencies are made more alike until none is.
    """
    values, counts = np.unique(symbols, return_counts=True)
    while True:
        lengths = _tree(counts)
        if max(lengths) <= LONGEST:
            return dict(zip(values.tolist(), lengths, strict=True))
        counts = counts // 2 + 1


def _tree(counts: Array) -> list[int]:
    """Depths of the leaves of the Huffman tree for frequencies `counts`."""
    lengths = [0] * len(counts)
    heap = [(int(count), i, [i]) for i, count in enumerate(counts)]
    heapq.heapify(heap)
    while len(heap) > 1:
        a, i, left = heapq.heappop(heap)
        b, _, right = heapq.heappop(heap)
        for leaf in left + right:
            lengths[leaf] += 1
        heapq.heappush(heap, (a + b, i, left + right))
    return lengths if len(counts) > 1 else [1]


def coded_bits(symbols: Array) -> int:
    """Length of all `symbols` in their Huffman code, without its table."""
    lengths = code_lengths(symbols)
    values, counts = np.unique(symbols, return_counts=True)
    return sum(lengths[v] * n for v, n in zip(values.tolist(), counts.tolist(), strict=True))


def encode(symbols: Array) -> tuple[Array, Array]:
    """The codes of `symbols` (uint16) and the table that decodes them (int8).

    Raises ValueError if the table has no form: all 256 numbers have codes of eight bits.
    """
    lengths = code_lengths(symbols)
    ordered = sorted(lengths, key=lambda v: (lengths[v], v))
    each = [sum(n == length for n in lengths.values()) for length in range(1, LONGEST + 1)]
    if max(each) > 255:
        raise ValueError("numbers as frequent as each other have no shorter code")
    codes, code = {}, 0
    for i, value in enumerate(ordered):
        length = lengths[value]
        codes[value] = format(code, f"0{length}b")
        following = lengths[ordered[i + 1]] if i + 1 < len(ordered) else length
        code = (code + 1) << (following - length)
    bits = "".join([codes[v] for v in symbols.reshape(-1).tolist()])
    digits = np.frombuffer(bits.encode(), np.uint8) - ord("0")
    padded = np.pad(digits, (0, -len(digits) % 16 + 16))  # the decoder reads one number ahead
    words = np.packbits(padded).view(">u2").astype(np.uint16)
    table = np.array([*each, *(v & 0xFF for v in ordered)], np.uint8).view(np.int8)
    return words, table
