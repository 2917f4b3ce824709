"""The programs that other people wrote: compilers and the emulator. Finding and running them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcucompile.errors import ToolchainError

CROSS_GCC = "arm-none-eabi-gcc"
QEMU = "qemu-system-arm"
HOST_COMPILERS = ("gcc", "cc", "clang")

_INSTALL_CROSS = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi"


def cross_gcc() -> str:
    """Path of the cross compiler. Raises ToolchainError MC501."""
    return _find("MC501", (CROSS_GCC,), "the Arm cross compiler", _INSTALL_CROSS)


def host_cc() -> str:
    """Path of the C compiler of this machine. Raises ToolchainError MC502."""
    return _find("MC502", HOST_COMPILERS, "the C compiler of this machine", "apt-get install gcc")


def qemu() -> str:
    """Path of the emulator. Raises ToolchainError MC503."""
    return _find("MC503", (QEMU,), "the emulator", "apt-get install qemu-system-arm")


def binutil(name: str) -> str:
    """Path of the cross binutils program `name` ("objdump") that belongs to the compiler."""
    return run([cross_gcc(), f"-print-prog-name={name}"]).stdout.strip()


@dataclass(frozen=True)
class Finished:
    """What a program left: exit status (negative: killed by that signal) and its two texts."""

    status: int
    stdout: str
    stderr: str


def run(command: Sequence[str | Path], cwd: Path | None = None, timeout: float = 600.0) -> Finished:
    """Run `command` to its end; timeout in seconds. The status is the caller's to judge.

    Raises ToolchainError MC505 if it does not end in time, MC504 if it cannot be started.
    """
    words = [str(word) for word in command]
    program = Path(words[0]).name
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(
            "MC505",
            program,
            f"did not finish within {timeout:.0f} s",
            "the program it runs is too slow for this machine, or it does not end",
            "use fewer samples",
        ) from error
    except OSError as error:
        raise ToolchainError(
            "MC504", program, "cannot be started", str(error), "check its installation"
        ) from error
    return Finished(done.returncode, done.stdout, done.stderr)


def compile_c(command: Sequence[str | Path], cwd: Path) -> None:
    """Run a compiler. Raises ToolchainError MC504 with its messages if it refuses."""
    done = run(command, cwd)
    if done.status != 0:
        raise compiler_failed(str(command[0]), done.stderr)


def compiler_failed(compiler: str, messages: str) -> ToolchainError:
    """The error for a compiler or linker that ended with `messages`."""
    program = Path(compiler).name
    if program == CROSS_GCC and any(lack in messages for lack in ("string.h: No", "nano.specs")):
        return ToolchainError(
            "MC501",
            "newlib",
            "is not installed",
            f"{program} finds no C library",
            _INSTALL_CROSS,
        )
    return ToolchainError(
        "MC504",
        program,
        "refuses the generated code",
        excerpt(messages),
        "this is a bug of mcucompile, unless the compiler is very old: please report it",
    )


def excerpt(text: str, lines: int = 12) -> str:
    """The first lines of a tool's output, indented to stand below an error."""
    kept = [line for line in text.strip().splitlines() if line.strip()][:lines]
    return "\n       ".join(kept) or "it said nothing"


def _find(error_id: str, names: Sequence[str], what: str, install: str) -> str:
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    raise ToolchainError(
        error_id, names[0], "is not on PATH", f"{what} is needed for this", install
    )
