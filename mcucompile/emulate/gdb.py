"""A client of the debugger interface that QEMU serves: just breakpoints, steps and registers."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mcucompile.errors import ToolchainError

_SECONDS = 120.0  # until the next stop; ten times what a slow machine needs
_PACKET = re.compile(rb"\$([^#]*)#..")  # with its checksum
_NAMES = [f"r{i}" for i in range(10)] + ["sl", "fp", "ip", "sp", "lr", "pc"]


class Core:
    """A core that stands still. Addresses are those of Thumb instructions, without bit 0."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def add_breakpoint(self, address: int) -> None:
        self._ask(f"Z0,{address:x},2")

    def remove_breakpoint(self, address: int) -> None:
        self._ask(f"z0,{address:x},2")

    def resume(self) -> None:
        """Run to the next breakpoint. Raises ToolchainError MC504 if the program ends first."""
        if not self._ask("c").startswith("T"):
            raise _failed("the program has ended before its breakpoints")

    def step(self) -> None:
        """Execute one instruction, whether there is a breakpoint at it or not."""
        self._ask("s")

    def registers(self) -> dict[str, int]:
        """The sixteen core registers, by the names that a disassembler gives them."""
        data = bytes.fromhex(self._ask("g")[: 8 * len(_NAMES)])
        words = (data[i : i + 4] for i in range(0, len(data), 4))
        return {n: int.from_bytes(w, "little") for n, w in zip(_NAMES, words, strict=True)}

    def _ask(self, packet: str) -> str:
        checksum = sum(packet.encode()) % 256
        # the + acknowledges the reply before
        self._socket.sendall(f"+${packet}#{checksum:02x}".encode())
        received = b""
        while not (reply := _PACKET.search(received)):
            more = self._socket.recv(1 << 16)
            if not more:
                raise _failed("it closed the connection")
            received += more
        return reply[1].decode("ascii", "replace")


@contextmanager
def halted_at_reset(command: Sequence[str | Path], cwd: Path) -> Iterator[Core]:
    """Start QEMU with `command`; gives the core before its first instruction, and ends QEMU after.

    Raises ToolchainError: MC504 if the interface fails, MC505 if it is silent for too long.
    """
    with tempfile.TemporaryDirectory(prefix="mcucompile-gdb-") as temporary:
        path = Path(temporary) / "socket"
        words = [str(word) for word in command]
        words += ["-S", "-gdb", f"unix:path={path},server=on,wait=off"]
        with subprocess.Popen(
            words,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as program:
            try:
                with _connect(path, program) as connection:
                    yield Core(connection)
            except TimeoutError as error:
                raise ToolchainError(
                    "MC505",
                    Path(words[0]).name,
                    f"did not answer within {_SECONDS:.0f} s",
                    "the program it runs is too slow for this machine, or it does not end",
                    "close other programs and try again",
                ) from error
            except OSError as error:
                raise _failed(str(error)) from error
            finally:
                program.kill()


def _connect(path: Path, program: subprocess.Popen[bytes]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_SECONDS)
    for _ in range(int(_SECONDS * 100)):
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            if program.poll() is not None:
                break
            time.sleep(0.01)
    connection.close()
    raise _failed("it serves no debugger interface")


def _failed(why: str) -> ToolchainError:
    return ToolchainError(
        "MC504", "qemu-system-arm", "fails under the debugger", why, "check its installation"
    )
