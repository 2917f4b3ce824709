"""Runs a kernel row by row on rings that hold no more rows than one output row needs.

That is how row streaming will call it; a whole tensor is the case of a ring of all rows.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcucompile import resources
from mcucompile.emit import ctext
from mcucompile.ir import Graph
from mcucompile.lower import lower
from mcucompile.plan.program import Const, KernelCall, Target
from mcucompile.reference.integer_interpreter import run_int
from tests.support.ckit import random_inputs
from tests.support.machines import HOST_FLAGS


@dataclass(frozen=True)
class Rows:
    """Output row y reads the input rows y * stride - top ... + reach - 1 that exist."""

    stride: int = 1
    top: int = 0
    reach: int = 1


_CASE = """
static void case{i}(FILE *in, FILE *out) {{
{consts}    static const {kernel}_params params = {{{params}}};
    int8_t *x = malloc({in_rows} * {in_row}), *ring = malloc({ring} * {in_row});
    int8_t *o = malloc({out_row}), *scratch = malloc({scratch} + 1);
    const mcuc_src src = {{ring, {in_row}, {ring}}};
    const mcuc_dst dst = {{o, {out_row}, 1}};
    if (fread(x, {in_rows} * {in_row}, 1, in) != 1)
        exit(2);
    for (int y = 0, have = 0; y < {out_rows}; y++) {{
        int need = y * {stride} - {top} + {reach};
        for (; have < need && have < {in_rows}; have++)
            memcpy(ring + have % {ring} * {in_row}, x + have * {in_row}, {in_row});
        {kernel}(&params, &src, &dst, y, y + 1, scratch);
        fwrite(o, {out_row}, 1, out);
    }}
    free(x), free(ring), free(o), free(scratch);
}}
"""


def check_in_rings(cases: Sequence[tuple[Graph, Rows]]) -> None:
    """Assert that the kernel of each one-operator graph, called row by row, gives the integer
    reference's bytes. The operator reads one activation, first."""
    rng = np.random.default_rng(0)
    texts, calls, inputs, expected = [], [], b"", b""
    for i, (graph, rows) in enumerate(cases):
        (call,) = lower(graph, Target()).calls
        calls.append(call)
        texts.append(_case(i, call, rows))
        arrays = random_inputs(graph, 1, rng)
        inputs += arrays[0].tobytes()
        expected += run_int(graph, arrays)[0].tobytes()
    includes = "".join(f'#include "{header}"\n' for header in {c.header for c in calls})
    main = "".join(f"    case{i}(in, out);\n" for i in range(len(cases)))
    source = (
        "#include <stdio.h>\n#include <stdlib.h>\n" + includes + "".join(texts) + "int main(void) {"
        '\n    FILE *in = fopen("in.bin", "rb"), *out = fopen("out.bin", "wb");\n'
        + main
        + "    return fclose(out);\n}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "main.c").write_text(source)
        (root / "in.bin").write_bytes(inputs)
        flags = [f for f in HOST_FLAGS if f not in ("-Wconversion", "-pedantic")]
        include = f"-I{resources.runtime_dir()}"
        for command in (["gcc", *flags, include, "main.c", "-o", "rings"], ["./rings"]):
            done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr[-4000:]
        assert (root / "out.bin").read_bytes() == expected


def _case(i: int, call: KernelCall, rows: Rows) -> str:
    source, target = call.reads[0], call.writes[0]
    assert target.rows > 1, "nothing to do row by row"
    params, consts = [], []
    for field, value in call.params.items():
        if isinstance(value, Const):
            ctype = ctext.C_TYPES[str(value.data.dtype)]
            aligned = "__attribute__((aligned(4)))"
            data = ctext.array(value.data)
            consts.append(f"    static const {ctype} {field}[] {aligned} = {{{data}}};\n")
        params.append(f".{field} = {field if isinstance(value, Const) else value}")
    return _CASE.format(
        i=i,
        consts="".join(consts),
        kernel=call.kernel,
        params=", ".join(params),
        in_rows=source.rows,
        in_row=source.row_bytes,
        ring=min(source.rows, rows.reach),
        out_rows=target.rows,
        out_row=target.row_bytes,
        scratch=call.scratch,
        stride=rows.stride,
        top=rows.top,
        reach=rows.reach,
    )
