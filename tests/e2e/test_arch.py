"""The arch primitives of the runtime compute the same on every core family, under QEMU."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.tools import needs_qemu
from tests.support.zoo import ROOT

TEST = ROOT / "runtime_c" / "tests" / "test_arch.c"
INCLUDE = ROOT / "runtime_c" / "include"
SUPPORT = ROOT / "boards" / "support"


@needs_qemu
@pytest.mark.parametrize(
    ("core", "machine", "defines"),
    [
        ("cortex-m0", "mps2-an385", []),
        ("cortex-m3", "mps2-an385", []),
        ("cortex-m4", "mps2-an386", []),
        ("cortex-m4", "mps2-an386", ["-DMCUC_PORTABLE"]),
        ("cortex-m7", "mps2-an500", []),
    ],
)
def test_primitives_on_core(core: str, machine: str, defines: list[str], tmp_path: Path) -> None:
    gcc = ["arm-none-eabi-gcc", f"-mcpu={core}", "-mthumb", "-std=gnu99", "-O2", *defines]
    gcc += ["-Wall", "-Wextra", "-Werror", f"-I{INCLUDE}"]
    link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--wrap=main", "-T", SUPPORT / "mps2.ld"]
    support = ("startup.c", "newlib_stubs.c", "semihosting_stdio.c")
    sources = [TEST, *(SUPPORT / name for name in support)]
    elf = tmp_path / "test_arch.elf"
    subprocess.run([*gcc, *sources, *link, "-o", elf], check=True)
    qemu = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
    qemu += ["-semihosting-config", "enable=on,target=native", "-kernel", str(elf)]
    done = subprocess.run(
        qemu, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.stdout, done.returncode) == ("test_arch: 0 failures\n", 0)


def test_every_primitive_is_tested() -> None:
    arch = INCLUDE / "mcuc" / "arch"
    portable = (arch / "portable.h").read_text()
    common = (arch / "common.h").read_text()
    names = re.findall(r"^MCUC_KERNEL \w+ (mcuc_\w+)\(", portable + common, re.MULTILINE)
    assert len(names) > 20
    tested = TEST.read_text()
    assert [n for n in names if not re.search(rf"\b{n}\(", tested)] == []
