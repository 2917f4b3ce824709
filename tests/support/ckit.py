"""Compiles many small graphs into one C program and compares it with the integer reference."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcucompile.emit import EmitOptions, emit
from mcucompile.ir import Array, Graph, QParams
from mcucompile.ir.storage import BIT, to_stored
from mcucompile.lower import lower
from mcucompile.plan.check import check_plan
from mcucompile.plan.planner import make_plan
from mcucompile.plan.program import Target
from mcucompile.reference.integer_interpreter import run_int
from tests.support.machines import HOST, Machine

_CASE = """
static void run_{name}(int samples) {{
    int8_t *arena = allocate({NAME}_ARENA_SIZE);
    {name}_context ctx;
    {name}_init(&ctx, arena);
    for (int s = 0; s < samples; s++) {{
        memset(arena, 0x55, {NAME}_ARENA_SIZE);
        for (int i = 0; i < {NAME}_INPUTS; i++)
            read_input({name}_input(&ctx, i), (size_t){name}_info.inputs[i].size);
        {name}_run(&ctx);
        for (int i = 0; i < {NAME}_OUTPUTS; i++)
            write_output({name}_output(&ctx, i), (size_t){name}_info.outputs[i].size);
    }}
    release(0);
}}
"""


_ODD = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, -0.0], np.float32)


def random_inputs(graph: Graph, samples: int, rng: np.random.Generator) -> list[Array]:
    """Samples for every input of `graph`, extreme values over-represented."""
    arrays = []
    for name in graph.inputs:
        value = graph.value(name)
        shape = (samples, *value.shape[1:])
        if value.dtype == BIT:
            arrays.append(random_bits(shape, rng))
            continue
        if value.q.bits == 32:
            arrays.append(random_floats(shape, rng))
            continue
        lo, hi = value.q.limits
        data = rng.integers(lo, hi + 1, shape)
        extreme = rng.choice([lo, hi], shape)
        stored = np.where(rng.random(shape) < 0.2, extreme, data).astype(value.q.dtype)
        real = value.dtype == "float32"
        arrays.append(_reals(value.q, stored, rng) if real else stored.view(value.dtype))
    return arrays


def _reals(q: QParams, stored: Array, rng: np.random.Generator) -> Array:
    """Numbers that QuantizeLinear takes for about `stored`, with ties, and some that are none."""
    halves = rng.integers(-2, 3, stored.shape) / 2
    x = ((stored.astype(np.float64) - q.zero_point + halves) * q.scale[0]).astype(np.float32)
    return np.where(rng.random(x.shape) < 0.05, rng.choice(_ODD, x.shape), x)


def random_floats(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """Samples on axis 0; one may have numbers that are none, or at the limits of float32."""
    x = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 4, shape)).astype(np.float32)
    share = rng.choice([0.0, 0.0, 0.02], (shape[0], *[1] * (len(shape) - 1)))
    return np.where(rng.random(shape) < share, rng.choice(_ODD, shape), x)


def check_graphs(
    graphs: Sequence[Graph], samples: int = 2, seed: int = 0, machine: Machine = HOST
) -> None:
    """Assert that the C code of each quantized graph gives the integer reference's bytes.

    All graphs are compiled into one program for `machine`, each with functions of its own: what
    the C compiler can know of a kernel's parameters it knows.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mains = ['#include <string.h>\n#include "program.h"\n']
        calls, inputs, expected = [], [], []
        for i, graph in enumerate(graphs):
            name = f"case{i}"
            _write_case(graph, name, root, machine.target)
            mains.append(f'#include "{name}.h"\n' + _CASE.format(name=name, NAME=name.upper()))
            calls.append(f"    run_{name}({samples});\n")
            arrays = random_inputs(graph, samples, rng)
            outputs = run_int(graph, arrays)
            for s in range(samples):
                inputs.append(_stored(graph, graph.inputs, arrays, s))
                expected.append(_stored(graph, graph.outputs, outputs, s))
        mains.append("\nvoid test(void) {\n" + "".join(calls) + "}\n")
        (root / "main.c").write_text("".join(mains))
        (root / "in.bin").write_bytes(b"".join(inputs))
        machine.build(root, sorted(root.glob("*.c")), root)
        said = machine.run(root)
        assert not said, said
        got = (root / "out.bin").read_bytes()
    _compare(graphs, samples, expected, got)


def random_bits(shape: Sequence[int], rng: np.random.Generator) -> Array:
    """-1 and +1, of which one may be rare, as int8."""
    rare = rng.choice([0.02, 0.3, 0.5, 0.5, 0.7, 0.98], (shape[0], *[1] * (len(shape) - 1)))
    return np.where(rng.random(shape) < rare, 1, -1).astype(np.int8)


def _stored(graph: Graph, names: Sequence[str], arrays: Sequence[Array], sample: int) -> bytes:
    """The bytes of one sample of the values `names`."""
    pairs = zip(names, arrays, strict=True)
    return b"".join(to_stored(graph.value(n), a[sample : sample + 1]).tobytes() for n, a in pairs)


def _write_case(graph: Graph, name: str, root: Path, target: Target) -> None:
    plan = make_plan(lower(graph, target))
    check_plan(plan)
    for path, text in emit(graph, plan, EmitOptions(name)).items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def _compare(graphs: Sequence[Graph], samples: int, expected: list[bytes], got: bytes) -> None:
    position = 0
    for k, want in enumerate(expected):
        have = got[position : position + len(want)]
        position += len(want)
        if have != want:
            graph = graphs[k // samples]
            a, b = np.frombuffer(have, np.int8), np.frombuffer(want, np.int8)
            bad = np.flatnonzero(a != b)
            raise AssertionError(
                f"case {k // samples} ({graph.ops()}): {bad.size} of {a.size} bytes differ, first "
                f"at {bad[0]}: C {a[bad[0]]}, reference {b[bad[0]]}"
            )
    assert position == len(got)
