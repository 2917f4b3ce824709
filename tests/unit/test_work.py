"""Instructions by class, their cycles, and reads from flash: on code whose figures are known."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mcucompile.board import load_board
from mcucompile.compiler import compile_model, write_sources
from mcucompile.emulate import build, disassembly, gdb, harness, qemu, toolchain
from mcucompile.emulate.code_size import function_sizes
from mcucompile.emulate.cortex_m4 import Instruction, Kind, block_cycles
from mcucompile.emulate.trace import read_calls
from mcucompile.emulate.work import measure_work
from mcucompile.errors import ToolchainError
from mcucompile.ir import Array
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import load_samples, to_model_int8
from tests.support import fake_model as fake
from tests.support.tools import needs_cross, needs_qemu
from tests.support.zoo import ROOT

DIGITS = ROOT / "examples" / "digits"
Assembler = Callable[[str], Path]  # text -> image


# -- classes and cycles of instructions -----------------------------------------------------


@pytest.fixture(scope="module")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Assembler:
    folder = tmp_path_factory.mktemp("assembler")

    def image(text: str) -> Path:
        head = ".syntax unified\n.thumb\n.cpu cortex-m4\n.fpu fpv4-sp-d16\n.text\n"
        (folder / "code.s").write_text(f"{head}{text}\n")
        gcc = [toolchain.cross_gcc(), "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
        command = [*gcc, "-nostdlib", "-Wl,-e0,-Ttext=0x1000", "code.s", "-o", "code.elf"]
        subprocess.run(command, cwd=folder, check=True)
        return folder / "code.elf"

    return image


def _function(*lines: str) -> str:
    return ".thumb_func\nf:\n" + "\n".join(lines)


@needs_cross
@pytest.mark.parametrize(
    ("line", "kind", "cycles", "words"),
    [
        ("add r0, r1", Kind.ALU, 1, 0),
        ("smlad r0, r1, r2, r3", Kind.ALU, 1, 0),
        ("smlal r0, r1, r2, r3", Kind.ALU, 1, 0),
        ("bic r0, r1", Kind.ALU, 1, 0),
        ("bfi r0, r1, #3, #4", Kind.ALU, 1, 0),
        ("ldr r0, [r1]", Kind.LOAD, 2, 1),
        ("ldrsb.w r0, [r1], #1", Kind.LOAD, 2, 1),
        ("vldr s0, [r1, #8]", Kind.LOAD, 2, 1),
        ("strh r0, [r1, #2]", Kind.STORE, 1, 0),
        ("ldrd r0, r1, [r2]", Kind.PAIR, 3, 2),
        ("strd r0, r1, [r2]", Kind.PAIR, 3, 0),
        ("vldr d3, [r1]", Kind.PAIR, 3, 2),
        ("ldmia r0!, {r1, r4-r6}", Kind.MULTIPLE, 5, 4),
        ("push {r4-r7, lr}", Kind.MULTIPLE, 6, 0),
        ("pop {r4, pc}", Kind.MULTIPLE, 3, 2),
        ("vpush {d8-d9}", Kind.MULTIPLE, 5, 0),
        ("vldmia r0!, {s0-s2}", Kind.MULTIPLE, 4, 3),
        ("bl f", Kind.BRANCH, 1, 0),
        ("bne f", Kind.BRANCH, 1, 0),
        ("bx lr", Kind.BRANCH, 1, 0),
        ("cbnz r0, 1f\n nop\n1:", Kind.BRANCH, 1, 0),
        ("udiv r0, r1, r2", Kind.DIVIDE, 7, 0),
        ("vmov s0, r1", Kind.FLOAT, 1, 0),
        ("vmov r0, r1, d0", Kind.FLOAT, 2, 0),
        ("vfma.f32 s0, s1, s2", Kind.FLOAT, 3, 0),
        ("vdiv.f32 s0, s1, s2", Kind.FLOAT, 14, 0),
    ],
)
def test_instruction(line: str, kind: Kind, cycles: int, words: int, assemble: Assembler) -> None:
    first = disassembly.instructions(assemble(_function(line)))[0x1000]
    assert (first.kind, block_cycles([first]), first.words_read) == (kind, cycles, words)


@needs_cross
@pytest.mark.parametrize(
    ("lines", "cycles"),
    [
        (["ldr r0, [r1]", "ldr r2, [r3]", "ldr r4, [r5]"], 2 + 1 + 1),
        (["ldr r0, [r1]", "str r2, [r3]", "ldr r4, [r5]"], 2 + 1 + 2),
        (["ldr r0, [r1]", "ldr r2, [r0]"], 2 + 2),
        (["add r0, r1", "ldr r2, [r0]"], 1 + 3),
        (["add r0, r1", "ldr r2, [r3, r0]"], 1 + 3),
        (["add r0, r1", "str r0, [r3]"], 1 + 1),
        (["cmp r0, r1", "ldr r2, [r0]"], 1 + 2),
        (["smull r0, r1, r2, r3", "str r2, [r1]"], 1 + 2),
        (["ldr r0, [r1]", "nop", "ldr r2, [r3]"], 2 + 1 + 2),
    ],
)
def test_neighbours(lines: list[str], cycles: int, assemble: Assembler) -> None:
    code = disassembly.instructions(assemble(_function(*lines)))
    assert block_cycles(list(code.values())) == cycles


@needs_cross
@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("ldr r0, [r1]", 0x100),
        ("ldr r0, [r1, #8]", 0x108),
        ("ldr r0, [r1, #-4]!", 0xFC),
        ("ldr r0, [r1], #4", 0x100),
        ("ldr r0, [r1, r2]", 0x103),
        ("ldrb r0, [r1, r2, lsl #2]", 0x10C),
        ("ldmia r1!, {r3, r4}", 0x100),
        ("pop {r3, r4}", 0x2000),
        ("ldr r0, [fp]", 0x3000),
    ],
)
def test_address(line: str, address: int, assemble: Assembler) -> None:
    first = disassembly.instructions(assemble(_function(line)))[0x1000]
    registers = {"r1": 0x100, "r2": 3, "sp": 0x2000, "fp": 0x3000}
    assert first.address_read(registers) == address


# -- the log of executed blocks -------------------------------------------------------------


def test_calls_are_what_is_executed_between_the_hooks() -> None:
    hook = 0x120
    sizes = {0x100: 2, 0x104: 1, 0x106: 3, hook: 2, 0x124: 1, 0x130: 4}  # of blocks, instructions
    before, first, second, end = 0x100, 0x104, 0x106, 0x130
    inside_hook = 0x124
    log = _log(
        sizes,
        [before, hook, inside_hook, first, second, first, -second, second, end, hook],
        [before, hook, inside_hook, first, hook, inside_hook, second],
    )
    code = {a: Instruction(a, 2, "nop", "") for a in range(0x100, 0x140, 2)}
    one, two = read_calls(log, code, hook)
    assert {b.start: n for b, n in one.blocks.items()} == {first: 2, second: 2, end: 1}
    assert one.taken == 3  # back to first, on to end, to the hook
    assert {b.start: n for b, n in two.blocks.items()} == {first: 1}
    assert [len(b.instructions) for b in one.blocks] == [1, 3, 4]


def _log(sizes: dict[int, int], *orders: list[int]) -> list[str]:
    """What QEMU logs; a negative block is begun and not executed."""
    lines: list[str] = []
    known: set[int] = set()
    for block in (b for order in orders for b in order):
        start = abs(block)
        if start not in known:
            addresses = range(start, start + 2 * sizes[start], 2)
            lines += ["----------------\n", "IN: name\n"]
            lines += [f"0x{a:08x}:  bf00     nop\n" for a in addresses] + ["\n"]
        known.add(start)
        lines.append(f"Trace 0: 0x7f06ec044580 [00800400/{start:08x}/00000410/ff000200] name\n")
        if block < 0:
            lines.append(
                f"Stopped execution of TB chain before 0x7f06ec044580 [{start:08x}] name\n"
            )
    return lines


# -- whole models under QEMU ----------------------------------------------------------------


@pytest.fixture(scope="module", params=["nano33ble", "stm32f746"])
def fake_firmware(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> build.Firmware:
    board, folder = load_board(request.param), tmp_path_factory.mktemp("fake")
    return build.build_firmware(fake.FOLDER, fake.NAME, board, fake.plan(), folder)


@needs_qemu
def test_classes_add_up_to_the_instructions_counted(fake_firmware: build.Firmware) -> None:
    inputs = fake.samples(1)
    hooked = build.with_step_hook(fake_firmware)
    steps = qemu.profile(fake_firmware, inputs, hooked).steps
    work = measure_work(hooked, inputs)
    assert [sum(w.instructions.values()) for w in work] == steps
    assert work == measure_work(hooked, inputs)
    assert work[0].flash_reads == len(fake.TABLE) + 1  # and its address
    assert work[0].taken_branches == 63 + 7 + 2  # two loops, call and return


@needs_qemu
def test_calls_of_a_step_add_up(fake_firmware: build.Firmware, tmp_path: Path) -> None:
    f = fake_firmware
    for file in fake.FOLDER.glob("fake*.[ch]"):
        text = file.read_text()
        if file.name == "fake.c":
            calls = text[text.index("    STEP_BEGIN(0);") : text.rindex("}")]
            text = text.replace(calls, 2 * calls)
        (tmp_path / file.name).write_text(text)
    twice = build.build_firmware(tmp_path, f.name, f.board, f.plan, tmp_path / "work")
    inputs = fake.samples(1)
    assert qemu.profile(twice, inputs).steps[0] == 2 * qemu.profile(f, inputs).steps[0]
    one, two = (measure_work(build.with_step_hook(x), inputs)[0] for x in (f, twice))
    assert two.core_cycles == 2 * one.core_cycles
    assert two.flash_reads == 2 * one.flash_reads
    assert two.instructions == {k: 2 * n for k, n in one.instructions.items()}


@needs_qemu
def test_work_of_a_model_instruction_by_instruction(tmp_path: Path) -> None:
    """Against the registers before every single instruction."""
    calibration = SampleOptions(str(DIGITS / "calib.npz"), limit=4)
    options = CompileOptions("nano33ble", calibration=calibration)
    c = compile_model(DIGITS / "digits.onnx", options)
    write_sources(c, tmp_path / "model")
    firmware = build.build_firmware(
        tmp_path / "model", c.name, c.board, c.plan, tmp_path / "firmware"
    )
    arrays = load_samples(calibration, c.graph.input_ports).arrays
    (port,), (name,) = c.graph.input_ports, c.graph.inputs
    inputs = [to_model_int8(arrays[0][:1], port, c.graph.value(name).q)]
    hooked = build.with_step_hook(firmware)
    work = measure_work(hooked, inputs)
    assert [sum(w.instructions.values()) for w in work] == qemu.profile(firmware, inputs).steps
    assert [w.flash_reads for w in work] == _reads_step_by_step(hooked, inputs, tmp_path)


def _reads_step_by_step(hooked: build.Firmware, inputs: Sequence[Array], folder: Path) -> list[int]:
    code = disassembly.instructions(hooked.elf)
    (hook,) = (s.address for s in disassembly.symbols(hooked.elf) if s.name == "mcuc_step_hook")
    harness.write_input(folder, hooked.plan, inputs)
    options = toolchain.run([toolchain.qemu(), "--help"]).stdout
    single = ["-singlestep"] if "-singlestep" in options else ["-accel", "tcg,one-insn-per-tb=on"]
    log = folder / "log"
    extra = [*single, "-d", "exec,cpu,nochain", "-D", str(log)]
    qemu.execute(hooked, "steps", folder, extra=extra)
    names = [*(f"r{i}" for i in range(10)), "sl", "fp", "ip", "sp", "lr", "pc"]
    reads: Counter[int] = Counter()
    step: int | None = None
    for text in log.read_text().split("Trace ")[1:]:
        values = (int(value, 16) for value in re.findall(r"R\d\d=(\w{8})", text))
        registers = dict(zip(names, values, strict=True))
        pc = registers["pc"]
        if pc == hook:
            step = registers["r0"] if step is None else None
        elif step is not None and pc >= build.FLASH_ORIGIN and code[pc].words_read:
            flash = code[pc].address_read(registers) < build.RAM_ORIGIN
            reads[step] += code[pc].words_read * flash
    return [reads[i] for i in range(len(hooked.plan.steps))]


# -- code sizes -----------------------------------------------------------------------------


@needs_cross
def test_functions_belong_to_the_steps_that_call_them(assemble: Assembler) -> None:
    functions = {
        "net_step0": "push {lr}\n bl own\n bl shared\n pop {pc}",
        "net_step1.constprop.0": "push {lr}\n bl shared\n pop {pc}",
        "net_step10": "b.w tail",
        "own": "nop\n bx lr",
        "shared": "push {lr}\n bl deep\n pop {pc}",
        "deep": "bx lr",
        "tail": "bx lr",
        "net_run": "push {lr}\n bl net_step0\n pop {pc}",
        "other": "bx lr",
    }
    text = "".join(
        f".thumb_func\n.type {n}, %function\n{n}:\n {b}\n.size {n}, .-{n}\n"
        for n, b in functions.items()
    )
    found = {f.name: (f.size, f.steps) for f in function_sizes(assemble(text), "net")}
    assert found == {
        "net_step0": (12, (0,)),
        "net_step1.constprop.0": (8, (1,)),
        "net_step10": (4, (10,)),
        "own": (4, (0,)),
        "shared": (8, (0, 1)),
        "deep": (2, (0, 1)),
        "tail": (2, (10,)),
    }


def test_gdb_without_a_program(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError) as caught, gdb.halted_at_reset(["true"], tmp_path):
        pass
    assert caught.value.id == "MC504"
