"""What plans rely on: depthwise kernels for few rows per call, and where their results may lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mcucompile import resources
from mcucompile.ir import Array, Graph
from mcucompile.ops import conv_kernels
from mcucompile.ops.conv import Conv2d
from mcucompile.ops.depthwise import depthwise_call
from mcucompile.plan.program import Const, KernelCall
from mcucompile.reference.integer_interpreter import run_int
from tests.ops.test_depthwise import depthwise, same
from tests.support.kernelkit import Rows
from tests.support.layers import kernel_call
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES
from tests.support.rings import check_in_rings
from tests.support.tools import needs_qemu

ALL = 99  # rows in one call

PROGRAM = """\
#include "mcuc/depthwise.h"
#include "program.h"

typedef void kernel(const mcuc_depthwise_params *, const mcuc_src *, const mcuc_dst *, int32_t,
                    int32_t, void *);

static kernel *const kernels[] = {KERNELS};

static int32_t next(void) {
    int32_t value;
    read_input(&value, sizeof value);
    return value;
}

static void *array(int32_t bytes) {
    void *data = allocate((size_t)bytes);
    read_input(data, (size_t)bytes);
    return data;
}

void test(void) {
    for (int32_t cases = next(); cases > 0; cases--) {
        kernel *call = kernels[next()];
        const int32_t in_at = next(), out_at = next(), out_h = next(), pitch = next();
        const int32_t rows = next();
        void *scratch = allocate((size_t)next());
        const int32_t size = next(), weights = next();
        mcuc_depthwise_params p;
        int32_t v[13];
        read_input(v, sizeof v);
        memcpy(&p.in_h, v, 9 * sizeof *v);
        memcpy(&p.shift, v + 9, 4 * sizeof *v);
        p.weights = array(weights);
        p.bias = array(4 * p.channels);
        p.m = array(4 * p.channels);
        int8_t *memory = array(size);
        const int32_t stride = p.in_w * p.channels;
        const mcuc_src in = {memory + in_at * stride, stride, p.in_h};
        const mcuc_dst out = {memory + out_at * stride, pitch, out_h};
        for (int32_t y = 0; y < out_h; y += rows) {
            call(&p, &in, &out, y, y + rows < out_h ? y + rows : out_h, scratch);
        }
        write_output(out.base, (size_t)(out_h * pitch));
        release(0);
    }
}
"""


@dataclass(frozen=True)
class Case:
    """The layer of `graph`, computed by `call`, `rows` output rows at a time. Its results begin
    `after` input rows after the input."""

    graph: Graph
    call: KernelCall
    rows: int
    after: int

    @property
    def expected(self) -> bytes:
        return run_int(self.graph, (self._x,))[0].tobytes()

    def record(self, kernels: Sequence[str]) -> bytes:
        call, x = self.call, self._x
        read, written = call.reads[0], call.writes[0]
        above = max(-self.after, 0)
        size = read.row_bytes * (above + max(read.rows, written.rows + self.after))
        memory = np.zeros(size, np.int8)
        memory[above * read.row_bytes :][: x.size] = x.reshape(-1)
        numbers = [v for v in call.params.values() if isinstance(v, int)]
        arrays = [v.data for v in call.params.values() if isinstance(v, Const)]
        head = [kernels.index(call.kernel), above, above + self.after, written.rows]
        head += [written.row_bytes, self.rows, call.scratch, size, arrays[0].size, *numbers]
        return b"".join(a.tobytes() for a in (np.array(head, np.int32), *arrays, memory))

    @property
    def _x(self) -> Array:
        shape = self.graph.value("x").shape
        return np.random.default_rng(5).integers(-128, 128, shape).astype(np.int8)


def _layers(k: int) -> list[Graph]:
    """Rows keep their width, or do not with a stride; channels by words and by bytes."""
    p = k // 2
    return [
        depthwise((9, 12, 8), (k, k), 1, pads=same(k), gain=0.5),
        depthwise((8, 7, 6), (k, k), 2, pads=same(k), gain=0.5),
        depthwise((10, 5, 4), (k, k), 3, pads=(0, p, 0, p), gain=0.5),
        depthwise((7, 6, 4), (k, k), 4, pads=(k - 1, p, 0, p), gain=0.5),
        depthwise((9, 9, 4), (k, k), 5, (2, 2), same(k), gain=0.5),
    ]


def _cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    """All rows at once, each in place of the last row it needs if the width stays; then some rows
    at a time, in place of the first row that the next calls do not need, or of one before."""
    for rows in (ALL, 1, 2, 3):
        _limit(monkeypatch, rows)
        for k in (3, 5, 7):
            for graph in _layers(k):
                call = kernel_call(graph)
                top, stride = call.params["top"], call.params["sh"]
                assert isinstance(top, int)
                yield Case(graph, call, rows, k - 1 - top if rows == ALL and stride == 1 else -top)


def _limit(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Lower depthwise convolutions for calls that compute at most so many rows."""
    monkeypatch.setattr(conv_kernels, "depthwise_call", partial(depthwise_call, rows=rows))


@needs_qemu
@pytest.mark.parametrize("machine", [HOST, CORES[1]], ids=lambda machine: machine.name)
def test_results_take_the_place_of_rows_that_have_been_read(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the contract of depthwise.h has it."""
    cases = list(_cases(monkeypatch))
    kernels = sorted({case.call.kernel for case in cases})
    (tmp_path / "main.c").write_text(PROGRAM.replace("KERNELS", ", ".join(kernels)))
    records = b"".join(case.record(kernels) for case in cases)
    (tmp_path / "in.bin").write_bytes(np.int32(len(cases)).tobytes() + records)
    machine.build(tmp_path, [tmp_path / "main.c"], resources.runtime_dir())
    assert not machine.run(tmp_path)
    got = (tmp_path / "out.bin").read_bytes()
    at = 0
    for case in cases:
        want = case.expected
        assert got[at : at + len(want)] == want, f"{case.call.kernel}, {case.rows}, {case.after}"
        at += len(want)
    assert at == len(got)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_kernels_for_few_rows(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = [depthwise((9, 7, 6), (k, k), k, pads=same(k)) for k in (3, 5, 7)]
    graphs += [depthwise((8, 6, 4), (k, k), 1, (2, 2), (0, 0, 1, 1)) for k in (3, 5)]
    whole = [kernel_call(g) for g in graphs]
    _limit(monkeypatch, rows)
    calls = [kernel_call(g) for g in graphs]
    assert all(a.scratch <= b.scratch for a, b in zip(calls, whole, strict=True))
    assert calls[0].kernel == f"mcuc_depthwise_3x3s1r{rows}_s8"
    check_in_rings([(g, _window(g)) for g in graphs])


def _window(graph: Graph) -> Rows:
    """The input rows of an output row."""
    (op,) = graph.ops()
    assert isinstance(op, Conv2d)
    return Rows(op.strides[0], op.pads[0], graph.operands(op)[1].shape[1])
