"""The stack bound, on machine code with known frames."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mcucompile.emulate import toolchain
from mcucompile.emulate.stack import stack_bound
from mcucompile.errors import InternalError
from tests.support.tools import needs_cross

pytestmark = needs_cross

FUNCTIONS = {
    "leaf": "bx lr",
    "pushes": "push {r4, r5, lr}\n pop {r4, r5, pc}",
    "shifts": "sub sp, #40\n add sp, #40\n bx lr",
    "large": "sub.w sp, sp, #1024\n subw sp, sp, #1000\n add.w sp, sp, #2024\n bx lr",
    "indexed": "str lr, [sp, #-4]!\n strd r0, r1, [sp, #-16]!\n add sp, #16\n ldr pc, [sp], #4",
    "floats": "vpush {d8-d10}\n vpush {s16}\n vpop {s16}\n vpop {d8-d10}\n bx lr",
    "loop": "push {r4, lr}\n1: subs r4, #1\n bne 1b\n pop {r4, pc}",
    "calls": "push {r4, lr}\n bl pushes\n bl shifts\n pop {r4, pc}",
    "nested": "push {lr}\n bl calls\n pop {pc}",
    "tail": "push {r4, lr}\n pop {r4, lr}\n b.w shifts",
    "recursive": "push {r4, lr}\n cbz r0, 1f\n bl recursive\n1: pop {r4, pc}",
    "indirect": "push {r4, lr}\n blx r3\n pop {r4, pc}",
    "jumps": "bx r3",
    "variable": "sub sp, sp, r0\n add sp, sp, r0\n bx lr",
    "behind": "push {lr}\n bl variable\n pop {pc}",
}


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack")
    lines = [".syntax unified\n.thumb\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.text\n"]
    for name, body in FUNCTIONS.items():
        lines.append(f".global {name}\n.type {name}, %function\n.thumb_func\n{name}: {body}\n")
    (folder / "code.s").write_text("".join(lines))
    command = [toolchain.cross_gcc(), "-nostdlib", "-mcpu=cortex-m4", "-mthumb"]
    command += ["-Wl,-e,leaf", "code.s", "-o", "code.elf"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "code.elf"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("leaf", 0),
        ("pushes", 12),
        ("shifts", 40),
        ("large", 2024),
        ("indexed", 20),
        ("floats", 28),
        ("loop", 8),
        ("calls", 8 + 40),
        ("nested", 4 + 8 + 40),
        ("tail", 8 + 40),
    ],
)
def test_bound(elf: Path, name: str, size: int) -> None:
    assert stack_bound(elf, name) == size


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("recursive", "recursive is recursive"),
        ("indirect", "indirect makes an indirect call"),
        ("jumps", "jumps makes an indirect jump"),
        ("variable", "variable takes stack of variable size"),
        ("behind", "variable takes stack of variable size"),
        ("absent", "no function absent"),
    ],
)
def test_no_bound(elf: Path, name: str, why: str) -> None:
    with pytest.raises(InternalError, match=why):
        stack_bound(elf, name)


def test_agrees_with_the_compiler(tmp_path: Path) -> None:
    """gcc's own figures for C functions; memory on the stack, arguments on the stack, saved FPU."""
    source = """
    int many(int a, int b, int c, int d, int e, int f);
    float kept(float x);
    __attribute__((noinline)) int many(int a, int b, int c, int d, int e, int f) {
        volatile int table[100];
        table[a & 63] = b; table[c & 63] = d;
        return table[e & 63] + f;
    }
    __attribute__((noinline)) float kept(float x) {
        float y = x * 3.0f;
        return y + (float)many((int)x, 2, 3, 4, 5, 6) * y;
    }
    """
    (tmp_path / "code.c").write_text(source)
    command = f"{toolchain.cross_gcc()} -O2 -mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16".split()
    command += ["-mfloat-abi=hard", "-nostdlib", "-Wl,-e,kept", "-fstack-usage", "code.c"]
    subprocess.run([*command, "-o", "code.elf"], cwd=tmp_path, check=True)
    (usage,) = tmp_path.glob("*.su")
    frames = [int(line.split("\t")[1]) for line in usage.read_text().splitlines()]
    assert stack_bound(tmp_path / "code.elf", "kept") == sum(frames)
