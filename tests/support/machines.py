"""Machines that build and run the C programs of tests: `Host` here, cores in `qemukit.py`.

A program is C files around `program/program.h`. It reads in.bin and writes out.bin in its folder.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from mcucompile.plan.program import Target

PROGRAM_DIR = Path(__file__).parent / "program"
WARNINGS = "-Wall -Wextra -Wconversion -Wshadow -pedantic -Werror".split()
HOST_FLAGS = [
    *"-std=c99 -g1 -fsanitize=address,undefined -fno-sanitize-recover=all -DMCUC_DEBUG".split(),
    *WARNINGS,
]
TIMEOUT = 600.0  # seconds; no program takes a tenth of it


class Machine(Protocol):
    """Where programs run, and what the kernels in them are chosen for."""

    @property
    def name(self) -> str: ...

    @property
    def target(self) -> Target: ...

    def build(self, root: Path, sources: Sequence[Path], include: Path) -> None:
        """Make root/program of `sources`, which include files of the folder `include`."""

    def run(self, root: Path) -> str:
        """Run root/program in the folder `root`; returns what it said if it failed, or ""."""


@dataclass(frozen=True)
class Host:
    """This machine, with address and undefined-behaviour sanitizers and all assertions.

    optimize: what few samples gain from -O1 is less than it costs the C compiler.
    """

    optimize: str = "-O1"

    name: ClassVar[str] = "host"
    target: ClassVar[Target] = Target()

    def build(self, root: Path, sources: Sequence[Path], include: Path) -> None:
        own = PROGRAM_DIR / "host.c"
        gcc = ["gcc", *HOST_FLAGS, self.optimize, f"-I{include}", f"-I{PROGRAM_DIR}"]
        objects = compile_all(root, [(source, gcc) for source in (*sources, own)])
        call(root, ["gcc", *HOST_FLAGS, *objects, "-o", "program"])

    def run(self, root: Path) -> str:
        return failure(root, ["./program"])


HOST = Host()
HOST_UNOPTIMIZED = Host("-O0")


def compile_all(root: Path, jobs: Sequence[tuple[Path, list[str]]]) -> list[str]:
    """Compile each source with its command; returns the names of the objects in `root`."""

    def compile_one(job: tuple[Path, list[str]]) -> str:
        source, gcc = job
        call(root, [*gcc, "-c", str(source), "-o", f"{source.stem}.o"])
        return f"{source.stem}.o"

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, jobs))


def call(root: Path, command: Sequence[str]) -> None:
    """Run a compiler or linker in `root`; its messages are the AssertionError if it refuses."""
    said = failure(root, command)
    assert not said, said


def failure(root: Path, command: Sequence[str]) -> str:
    """Run `command` in `root`; what it said if it failed, or ""."""
    done = subprocess.run(
        command,
        cwd=root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return f"{command[0]} ended with {done.returncode}: {done.stderr[-4000:]}{done.stdout[-500:]}"
