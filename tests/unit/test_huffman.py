"""Canonical Huffman codes: decoded again bit by bit, none too long, close to the entropy."""

from __future__ import annotations

import numpy as np
import pytest

from mcucompile.ir import Array
from mcucompile.ops.huffman import LONGEST, code_lengths, coded_bits, encode


def decoded(words: Array, table: Array, count: int) -> Array:
    """Canonical decoding, one bit after the other."""
    counts, symbols = table[:LONGEST].view(np.uint8).tolist(), table[LONGEST:]
    bits = "".join(f"{int(w):016b}" for w in words)
    found, at = [], 0
    for _ in range(count):
        code = first = place = 0
        for each in counts:
            code, first = 2 * code + int(bits[at]), 2 * first
            at += 1
            if code - first < each:
                break
            first, place = first + each, place + each
        found.append(symbols[place + code - first])
    return np.array(found, np.int8)


@pytest.mark.parametrize("spread", [0.0, 0.6, 3.0, 20.0, 60.0])
def test_numbers_come_back(spread: float) -> None:
    rng = np.random.default_rng(7)
    numbers = np.clip(np.rint(rng.normal(0, spread, 3000)), -128, 127).astype(np.int8)
    words, table = encode(numbers)
    np.testing.assert_array_equal(decoded(words, table, numbers.size), numbers)
    assert 16 * (len(words) - 2) < coded_bits(numbers) <= 16 * (len(words) - 1)
    share = np.unique(numbers, return_counts=True)[1] / numbers.size
    entropy = -float(np.sum(share * np.log2(share)))
    redundancy = share.max() + 0.0861  # Gallager, "Variations on a Theme by Huffman", 1978
    assert entropy <= coded_bits(numbers) / numbers.size <= max(1, entropy + redundancy)


def test_codes_of_rare_numbers_are_not_too_long() -> None:
    """Frequencies like Fibonacci numbers make the deepest tree there is."""
    counts = [1, 1]
    while len(counts) < 24:
        counts.append(counts[-1] + counts[-2])
    numbers = np.repeat(np.arange(24, dtype=np.int8), counts)
    lengths = code_lengths(numbers)
    assert 8 < max(lengths.values()) <= LONGEST
    assert sum(2.0**-n for n in lengths.values()) <= 1
    words, table = encode(numbers)
    np.testing.assert_array_equal(decoded(words, table, 500), numbers[:500])


def test_what_has_no_shorter_code_has_no_table() -> None:
    with pytest.raises(ValueError, match="no shorter code"):
        encode(np.arange(-128, 128).astype(np.int8))
