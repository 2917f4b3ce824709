"""Compiles many small graphs into one C program and compares it with the integer reference."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcucompile.emit import EmitOptions, emit
from mcucompile.ir import Array, Graph
from mcucompile.lower import lower
from mcucompile.plan.check import check_plan
from mcucompile.plan.place import make_plan
from mcucompile.plan.program import Target
from mcucompile.reference.integer_interpreter import run_int

HOST_FLAGS = (
    "-std=c99 -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -DMCUC_DEBUG "
    "-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror"
).split()

_CASE = """
static void run_{name}(FILE *in, FILE *out, int samples) {{
    int8_t *arena = malloc({NAME}_ARENA_SIZE);
    {name}_context ctx;
    {name}_init(&ctx, arena);
    for (int s = 0; s < samples; s++) {{
        memset(arena, 0x55, {NAME}_ARENA_SIZE);
        for (int i = 0; i < {NAME}_INPUTS; i++)
            if (fread({name}_input(&ctx, i), (size_t){name}_info.inputs[i].size, 1, in) != 1)
                exit(2);
        {name}_run(&ctx);
        for (int i = 0; i < {NAME}_OUTPUTS; i++)
            fwrite({name}_output(&ctx, i), (size_t){name}_info.outputs[i].size, 1, out);
    }}
    free(arena);
}}
"""


def random_inputs(graph: Graph, samples: int, rng: np.random.Generator) -> list[Array]:
    """int8 samples for every input of `graph`, extreme values over-represented."""
    arrays = []
    for name in graph.inputs:
        shape = (samples, *graph.value(name).shape[1:])
        data = rng.integers(-128, 128, shape)
        extreme = rng.choice([-128, 127], shape)
        arrays.append(np.where(rng.random(shape) < 0.2, extreme, data).astype(np.int8))
    return arrays


def check_graphs(graphs: Sequence[Graph], samples: int = 2, seed: int = 0) -> None:
    """Assert that the C code of each quantized graph gives the integer reference's bytes.

    All graphs are compiled into one host program with address and undefined-behaviour sanitizers.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        mains = ["#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"]
        calls, inputs, expected = [], [], []
        for i, graph in enumerate(graphs):
            name = f"case{i}"
            _write_case(graph, name, root)
            mains.append(f'#include "{name}.h"\n' + _CASE.format(name=name, NAME=name.upper()))
            calls.append(f"    run_{name}(in, out, {samples});\n")
            arrays = random_inputs(graph, samples, rng)
            outputs = run_int(graph, arrays)
            for s in range(samples):
                inputs.append(b"".join(a[s].tobytes() for a in arrays))
                expected.append(b"".join(y[s].tobytes() for y in outputs))
        body = "".join(calls)
        mains.append(
            'int main(void) {\n    FILE *in = fopen("in.bin", "rb");\n'
            '    FILE *out = fopen("out.bin", "wb");\n' + body + "    return fclose(out);\n}\n"
        )
        (root / "main.c").write_text("".join(mains))
        (root / "in.bin").write_bytes(b"".join(inputs))
        _build_and_run(root)
        got = (root / "out.bin").read_bytes()
    _compare(graphs, samples, expected, got)


def _write_case(graph: Graph, name: str, root: Path) -> None:
    plan = make_plan(lower(graph, Target()))
    check_plan(plan)
    for path, text in emit(graph, plan, EmitOptions(name)).items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _build_and_run(root: Path) -> None:
    sources = sorted(p.name for p in root.glob("*.c"))
    commands = (["gcc", *HOST_FLAGS, "-I.", *sources, "-o", "cases"], ["./cases"])
    for command in commands:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-500:]


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
