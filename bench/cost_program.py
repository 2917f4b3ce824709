"""Counts what kernel calls execute, by a C program under QEMU that calls nothing but them."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mcucompile import resources
from mcucompile.board import Board
from mcucompile.cost.window import ring_rows, rows_of
from mcucompile.emit import ctext
from mcucompile.emulate import toolchain
from mcucompile.emulate.build import model_cflags
from mcucompile.emulate.harness import support_dir
from mcucompile.emulate.qemu import TICKS_PER_INSTRUCTION
from mcucompile.plan.program import Const, KernelCall

HERE = Path(__file__).parent
PER_FILE = 24  # cases that are compiled together
PER_IMAGE = 480  # cases that fit into the flash of the machine
ALIGN = 8
TIMEOUT = 900.0
_LARGE = 2048  # bytes of a constant; the numbers of larger ones decide nothing: dense weights

_WHOLE = """\
static __attribute__((noinline)) void case{i}(int8_t *arena, int32_t y0, int32_t y1) {{
    static const {kernel}_params params = {{{fields}}};
    const mcuc_src in[] = {{{sources}}};
    const mcuc_dst out[] = {{{targets}}};
    (void)y0, (void)y1;
    {function}(&params, in, out, {y0}, {y1}, {scratch});
}}
"""
_SHARED = """\
static __attribute__((noinline)) void shared_{kernel}(const {kernel}_params *params,
    const mcuc_src *in, const mcuc_dst *out, int32_t y0, int32_t y1, void *scratch) {{
    {kernel}(params, in, out, y0, y1, scratch);
}}
/* Another caller: or the C compiler makes parameters constants if all callers agree. */
void caller{i}_{kernel}(const {kernel}_params *params, const mcuc_src *in, const mcuc_dst *out,
    int32_t y0, int32_t y1, void *scratch);
void caller{i}_{kernel}(const {kernel}_params *params, const mcuc_src *in, const mcuc_dst *out,
    int32_t y0, int32_t y1, void *scratch) {{
    shared_{kernel}(params, in, out, y0, y1, scratch);
}}
"""


@dataclass(frozen=True)
class Case:
    """Output rows of `call` in calls of `rows` rows each out of rings; None: all rows in one call,
    on whole tensors. specialized: in a function with constant parameters."""

    call: KernelCall
    rows: int | None = None
    specialized: bool = True

    @property
    def step(self) -> int:
        return self.rows or rows_of(self.call)


def count(board: Board, cases: Sequence[Case]) -> list[int]:
    """Executed instructions of each case, calls and returns included, on the core of `board`.

    Raises ToolchainError if compiler or QEMU is missing.
    """
    numbers: list[int] = []
    for start in range(0, len(cases), PER_IMAGE):
        numbers += _count(board, cases[start : start + PER_IMAGE])
    return numbers


def _count(board: Board, cases: Sequence[Case]) -> list[int]:
    with tempfile.TemporaryDirectory(prefix="mcucompile-costs-") as temporary:
        folder = Path(temporary)
        _build(folder, board, cases)
        return _run(folder, board, cases)


def _run(folder: Path, board: Board, cases: Sequence[Case]) -> list[int]:
    qemu: list[str | Path] = [toolchain.qemu(), "-M", board.qemu, "-nographic", "-monitor", "none"]
    qemu += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
    done = toolchain.run([*qemu, "-icount", "shift=7", "-kernel", "program.elf"], folder, TIMEOUT)
    ticks = [int(n) for n in re.findall(r"^\d+$", done.stdout + done.stderr, re.MULTILINE)]
    if done.status != 0 or len(ticks) != 2 * len(cases):
        raise RuntimeError(f"case {len(ticks) // 2} failed: {done.stderr[-500:]}")
    return [
        round((spent - empty) / TICKS_PER_INSTRUCTION) + -(-rows_of(case.call) // case.step)
        for case, spent, empty in zip(cases, ticks[::2], ticks[1::2], strict=True)
    ]


def _build(folder: Path, board: Board, cases: Sequence[Case]) -> None:
    """Compile and link folder/program.elf."""
    includes = [f"-I{p}" for p in (resources.runtime_dir(), HERE, support_dir())]
    gcc = [toolchain.cross_gcc(), *includes]
    jobs: list[list[str | Path]] = []
    for number, start in enumerate(range(0, len(cases), PER_FILE)):
        source = folder / f"cases{number}.c"
        numbered = list(enumerate(cases))[start : start + PER_FILE]
        source.write_text("".join(_source(numbered)), encoding="utf-8")
        jobs.append([*gcc, *model_cflags(board), "-c", source, "-o", f"cases{number}.o"])
    (folder / "table.c").write_text(_table(cases), encoding="utf-8")
    size = max(_Places(case).size for case in cases)
    flags = [*board.cflags, "-std=gnu99", "-O2", "-fno-tree-loop-distribute-patterns"]
    own = [folder / "table.c", HERE / "cost_program.c"]
    own += [support_dir() / name for name in ("startup.c", "strict_core.c")]
    for source in own:
        jobs.append([*gcc, *flags, f"-DARENA_SIZE={size}", "-c", source, "-o", f"{source.stem}.o"])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: toolchain.compile_c(job, folder), jobs))
    objects = sorted(p.name for p in folder.glob("*.o"))
    link = ["-nostartfiles", "--specs=nano.specs", "-T", str(support_dir() / "mps2.ld")]
    toolchain.compile_c([*gcc, *board.cflags, *objects, *link, "-o", "program.elf"], folder)


def _table(cases: Sequence[Case]) -> str:
    pool = max((c.data.nbytes for case in cases for c in case.call.consts), default=4)
    names = [f"void case{i}(int8_t *, int32_t, int32_t);\n" for i in range(len(cases))]
    rows = [f"{{case{i}, {rows_of(c.call)}, {c.step}}},\n" for i, c in enumerate(cases)]
    tables = [
        f"const {ctext.C_TYPES[str(c.data.dtype)]} case{i}_{name}[] __attribute__((aligned(4))) = "
        f"{{{', '.join(map(str, c.data.reshape(-1).tolist()))}}};\n"
        for i, case in enumerate(cases)
        for name, c in case.call.params.items()
        if isinstance(c, Const) and not _is_pooled(case.call, c)
    ]
    return (
        f'#include "cost_program.h"\n{"".join(tables)}{"".join(names)}'
        f"const cost_case cost_cases[] = {{{''.join(rows)}}};\n"
        f"const int32_t cost_count = {len(cases)};\n"
        f"const uint32_t cost_pool[{pool // 4 + 1}] = {{1}};\n"
    )


def _source(cases: Iterable[tuple[int, Case]]) -> Iterator[str]:
    """A C file with the functions of `cases`, as generated models have them."""
    cases = list(cases)
    yield '#pragma GCC optimize("no-schedule-insns", "no-tree-loop-distribute-patterns")\n'
    yield '#include "cost_program.h"\n'
    for header in sorted({case.call.header for _, case in cases} | {"mcuc/mcuc.h"}):
        yield f'#include "{header}"\n'
    for kernel in sorted({case.call.kernel for _, case in cases if not case.specialized}):
        yield _SHARED.format(kernel=kernel, i=cases[0][0])
    for i, case in cases:
        yield from _function(i, case)


def _function(i: int, case: Case) -> Iterator[str]:
    call, places = case.call, _Places(case)
    fields = []
    for name, value in call.params.items():
        if not isinstance(value, Const):
            number = ctext.floating if isinstance(value, float) else ctext.integer
            fields.append(f".{name} = {number(value)}")
        elif _is_pooled(call, value):
            fields.append(f".{name} = (const void *)cost_pool")
        else:
            yield f"extern const {ctext.C_TYPES[str(value.data.dtype)]} case{i}_{name}[];\n"
            fields.append(f".{name} = case{i}_{name}")
    text = _WHOLE.replace("static __attribute__", "__attribute__")
    yield f"void case{i}(int8_t *arena, int32_t y0, int32_t y1);\n"
    yield text.format(
        i=i,
        kernel=call.kernel,
        function=call.kernel if case.specialized else f"shared_{call.kernel}",
        fields=", ".join(fields),
        sources=", ".join(places.reads),
        targets=", ".join(places.writes),
        y0=0 if case.rows is None else "y0",
        y1=rows_of(call) if case.rows is None else "y1",
        scratch=f"arena + {places.scratch}" if call.scratch else "NULL",
    )


def _is_pooled(call: KernelCall, const: Const) -> bool:
    """Does another array of its size do as well?"""
    return const.data.nbytes > _LARGE and not call.header.endswith(("_sparse.h", "_packed.h"))


class _Places:
    """Where the operands of a case lie in the arena: C text of views, offset of the scratch."""

    def __init__(self, case: Case) -> None:
        call, self.size = case.call, 0
        needed = [o.rows for o in call.reads]
        kept = [o.rows for o in call.writes]
        if case.rows is not None:
            needed = [ring_rows(call, i, case.rows) for i in range(len(needed))]
            kept = kept if call.folds else [min(n, case.step) for n in kept]
        self.reads = [self._view(n, o.row_bytes) for n, o in zip(needed, call.reads, strict=True)]
        self.writes = [self._view(n, o.row_bytes) for n, o in zip(kept, call.writes, strict=True)]
        self.scratch = self._place(call.scratch)

    def _view(self, rows: int, row_bytes: int) -> str:
        return f"{{arena + {self._place(rows * row_bytes)}, {row_bytes}, {rows}}}"

    def _place(self, size: int) -> int:
        at = self.size
        self.size = -(-(at + size) // ALIGN) * ALIGN
        return at
