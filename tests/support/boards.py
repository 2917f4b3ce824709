"""Images of boards in QEMU, as far as it has their parts.

QEMU has none of the three boards. The STM32F405 of `netduinoplus2` has flash and RAM where the
STM32F746 has them, and lets its clocks be written to; the nRF51 of `microbit` has the UART, clock,
pins and flash controller that the nRF52840 has, at the same addresses, around a Cortex-M0.
"""

from __future__ import annotations

import re
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from mcucompile.emulate import toolchain

LAST_LINE = r"cycles \d+\s"
_SECONDS = 60.0


def segments(elf: Path) -> Iterator[tuple[int, int, int, int]]:
    """(address, load address, bytes in the file, bytes in memory) of what is loaded."""
    data = elf.read_bytes()
    (offset,) = struct.unpack_from("<I", data, 28)
    size, count = struct.unpack_from("<2H", data, 42)
    for k in range(count):
        kind, _, *where = struct.unpack_from("<6I", data, offset + k * size)
        if kind == 1:
            yield tuple(where)


def on_stm32f405(elf: Path) -> str:
    """What an image with semihosting prints."""
    options = ["-chardev", "file,id=console,path=console.log", "-serial", "none"]
    options += ["-semihosting-config", "enable=on,target=native,chardev=console"]
    return _said("netduinoplus2", elf, options, "console.log", LAST_LINE)


def on_nrf51(elf: Path, last_line: str = LAST_LINE) -> str:
    """What an image prints on its UART; it is started where it lies, as by a bootloader."""
    table = elf.parent / "vectors.bin"
    objcopy = toolchain.binutil("objcopy")
    command = [objcopy, "-O", "binary", "-j", ".isr_vector", elf, table]
    assert toolchain.run(command).status == 0
    table.write_bytes(table.read_bytes()[:8])  # stack pointer and reset, for address 0
    options = ["-serial", "file:uart.log", "-device", "loader,file=vectors.bin,addr=0x0"]
    return _said("microbit", elf, options, "uart.log", last_line)


def _said(machine: str, elf: Path, options: list[str], console: str, last_line: str) -> str:
    """The file `console` as soon as it holds `last_line`; images do not end by themselves."""
    command = [toolchain.qemu(), "-M", machine, "-nographic", "-monitor", "none", *options]
    log = elf.parent / console
    log.write_text("")
    with subprocess.Popen([*command, "-kernel", elf.name], cwd=elf.parent) as qemu:
        end = time.monotonic() + _SECONDS
        while not re.search(last_line, log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        qemu.kill()
    return log.read_text()
