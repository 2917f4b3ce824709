"""The cores on which the C code is tested, emulated by QEMU.

Programs are built with the flags that models are built with, and run on a core on which unaligned
accesses are faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mcucompile.board import CORES as QEMU_CORES
from mcucompile.board import Board, load_board
from mcucompile.emulate import toolchain
from mcucompile.emulate.build import model_cflags
from mcucompile.emulate.harness import support_dir
from mcucompile.plan.program import Target
from tests.support.machines import PROGRAM_DIR, WARNINGS, call, compile_all, failure


@dataclass(frozen=True)
class Core:
    """A core with the compiler flags of `board`.

    wishes: fields of the target that decide which kernels are chosen.
    """

    board: Board
    wishes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.board.core

    @property
    def target(self) -> Target:
        return replace(self.board.target(), **self.wishes)

    def build(self, root: Path, sources: Sequence[Path], include: Path) -> None:
        support = support_dir()
        gcc, cpu = toolchain.CROSS_GCC, self.board.cflags
        includes = [f"-I{include}", f"-I{PROGRAM_DIR}", f"-I{support}"]
        for_code = [gcc, *model_cflags(self.board), *WARNINGS, *includes]
        own_flags = "-std=gnu99 -O2 -fno-tree-loop-distribute-patterns -Wall -Wextra -Werror"
        for_support = [gcc, *cpu, *own_flags.split(), *includes]
        own = [PROGRAM_DIR / "core.c", support / "startup.c", support / "strict_core.c"]
        jobs = [(source, for_code) for source in sources]
        objects = compile_all(root, jobs + [(source, for_support) for source in own])
        link = ["-nostartfiles", "--specs=nano.specs", "-T", str(support / "mps2.ld")]
        call(root, [gcc, *cpu, *objects, *link, "-o", "program"])

    def run(self, root: Path) -> str:
        qemu = [toolchain.QEMU, "-M", self.board.qemu, "-nographic", "-monitor", "none"]
        qemu += ["-serial", "none", "-semihosting-config", "enable=on,target=native"]
        return failure(root, [*qemu, "-kernel", "program"])


def _cores() -> tuple[Core, ...]:
    m4, m7 = load_board("nano33ble"), load_board("stm32f746")
    m3 = replace(m4, core="cortex-m3", fpu="none", qemu=QEMU_CORES["cortex-m3"].qemu)
    return Core(m3), Core(m4), Core(m7)


CORES = _cores()  # one without and two with the DSP instructions
