"""The matrix product of `mcuc/gemm.h`: in assembly, where it has that, and in C."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mcucompile import resources
from mcucompile.ir import Array
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES
from tests.support.tools import needs_qemu

PROGRAM = """\
#include "mcuc/gemm.h"
#include "program.h"

static int32_t next(void) {
    int32_t value;
    read_input(&value, sizeof value);
    return value;
}

static const uint32_t *array(int32_t words) {
    uint32_t *data = allocate(4 * (size_t)words);
    read_input(data, 4 * (size_t)words);
    return data;
}

void test(void) {
#ifdef MCUC_TILE4
    const char form = 'A';
#else
    const char form = 'C';
#endif
    write_output(&form, 1);
    for (int32_t cases = next(); cases > 0; cases--) {
        int32_t n = next(), words = next(), channels = next(), pitch = next(), wide = next();
        mcuc_rescale rescale;
        rescale.shift = next();
        rescale.zp = next();
        rescale.lo = next();
        rescale.hi = next();
        const uint32_t *tile = array(n * words);
        int32_t length = (channels + 1) / 2 * (words + 4);
        const uint32_t *stream = array(length);
        for (int32_t i = 0; i < 2; i++) {
            const size_t size = (size_t)((n - 1) * pitch + channels);
            int8_t *o = allocate(size);
            memset(o, 0x55, size);
            const uint32_t *end = i ? mcuc_gemm_pairs(tile, stream, words, n, wide, channels, o,
                                                      pitch, rescale)
                                    : mcuc_gemm_tile(tile, stream, words, n, wide, channels, o,
                                                     pitch, rescale);
            if (end != stream + length) {
                fail("another end of the stream");
            }
            write_output(o, size);
        }
        release(0);
    }
}
"""


@dataclass(frozen=True)
class Case:
    """n pixels; x: activations (n, 2 * words), w: weights (channels, 2 * words), bias and m per
    channel; the results lie `pitch` bytes apart."""

    x: Array
    w: Array
    bias: Array
    m: Array
    pitch: int
    wide: bool
    rescale: tuple[int, int, int, int]

    @property
    def record(self) -> bytes:
        n, elements = self.x.shape
        head = [n, elements // 2, len(self.w), self.pitch, int(self.wide), *self.rescale]
        tile = self.x.reshape(n, -1, 2).transpose(1, 0, 2).astype(np.int16)
        stream = [self._pair(c) for c in range(0, len(self.w), 2)]
        weights = np.concatenate(stream).astype(np.uint32)
        return np.array(head, np.int32).tobytes() + tile.tobytes() + weights.tobytes()

    def _pair(self, c: int) -> Array:
        """The stream of channels c and c + 1, the latter zeros if there is none."""
        w, bias, m = (
            np.concatenate([v, np.zeros_like(v[:1])])[c : c + 2].astype(np.int64)
            for v in (self.w, self.bias, self.m)
        )
        lanes = ((w[0] & 0xFF) if self.wide else w[0]) + 256 * w[1] & 0xFFFF
        second = bias[1] if self.wide else bias[0] + 256 * bias[1]
        words = lanes[0::2] | lanes[1::2] << 16
        return np.concatenate([[bias[0], second], words, m]) & 0xFFFFFFFF

    @property
    def expected(self) -> bytes:
        shift, zp, lo, hi = self.rescale
        sums = self.bias + self.x.astype(np.int64) @ self.w.T.astype(np.int64)
        results = ((sums << shift) * self.m + 2**31 >> 32) + zp
        rows = np.full((len(self.x), self.pitch), 0x55, np.int8)
        rows[:, : len(self.w)] = np.clip(results, lo, hi)
        return rows.reshape(-1)[: rows.size - self.pitch + len(self.w)].tobytes()


def random_int8(rng: np.random.Generator, shape: tuple[int, int], least: int = -128) -> Array:
    """Extreme values over-represented."""
    extreme = rng.choice([least, 127], shape)
    return np.where(rng.random(shape) < 0.3, extreme, rng.integers(least, 128, shape))


def random_case(rng: np.random.Generator, words: int) -> Case:
    channels = int(rng.choice([1, 2, 3, 4, 6, 7, 8, 10, 16]))
    n = int(rng.choice([1, 2, 4, 4, 4, 4]))
    wide = bool(rng.random() < 0.3)
    x = random_int8(rng, (n, 2 * words))
    w = random_int8(rng, (channels, 2 * words), -128 if wide else -127)
    limit = 2**23 - 128 * 128 * 2 * words - 1  # narrow sums end at 2^23
    bias = rng.integers(-limit, limit + 1, channels) // int(rng.choice([1, 256]))
    # Results that mostly fit into int8: only they tell of rounding.
    typical = np.abs(bias) + 73 * 73 * np.sqrt(2 * words)
    shift = int(rng.choice([0, 0, 0, 3]))
    m = 2.0 ** (32 - shift) * rng.uniform(10, 150, channels) / typical
    clamp = (-128, 127) if rng.random() < 0.7 else tuple(np.sort(rng.integers(-128, 128, 2)))
    return Case(
        x,
        w,
        bias,
        m.astype(np.int64).clip(1, 2**31 - 1),
        channels + int(rng.choice([0, 0, 1, 2, 4])),
        wide,
        (shift, int(rng.choice([-128, -5, 0, 127])), int(clamp[0]), int(clamp[1])),
    )


@needs_qemu
@pytest.mark.parametrize("machine", [HOST, *CORES], ids=lambda machine: machine.name)
def test_tile(machine: Machine, tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    words = [*[*range(1, 45), 72, 100, 128, 200] * 4, *[*range(4, 37, 4)] * 80]
    cases = [random_case(rng, n) for n in words]
    (tmp_path / "main.c").write_text(PROGRAM)
    records = b"".join(case.record for case in cases)
    (tmp_path / "in.bin").write_bytes(np.int32(len(cases)).tobytes() + records)
    machine.build(tmp_path, [tmp_path / "main.c"], resources.runtime_dir())
    assert not machine.run(tmp_path)
    got = (tmp_path / "out.bin").read_bytes()
    assert got[:1] == (b"A" if machine.name in ("cortex-m4", "cortex-m7") else b"C")
    at = 1
    for case in cases:
        want = case.expected
        for function in ("mcuc_gemm_tile", "mcuc_gemm_pairs"):
            have = got[at : at + len(want)]
            at += len(want)
            shape, size = case.w.shape, (len(case.x), case.pitch)
            assert have == want, f"{function}: {size}, {shape}, {case.wide}, {case.rescale}"
    assert at == len(got)
