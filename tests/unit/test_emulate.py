"""Harness, images and measurements, on a hand-written model whose every figure is known."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mcucompile import resources
from mcucompile.board import CORES, NO_QEMU, Board, known_boards, load_board
from mcucompile.emit import EmitOptions, emit
from mcucompile.emulate import build, host, qemu, toolchain
from mcucompile.errors import BoardError, DoesNotFitError, ToolchainError, ValidationError
from mcucompile.ir import Array, QParams, Value
from mcucompile.lower import lower
from mcucompile.ops.add import Add
from mcucompile.plan.planner import make_plan
from mcucompile.reference.integer_interpreter import run_int
from tests.support import fake_model as fake
from tests.support.ckit import random_inputs
from tests.support.graphs import op_graph
from tests.support.tools import needs, needs_cross, needs_qemu

needs_gcc = needs("gcc")


def _firmware(board: Board, folder: Path) -> build.Firmware:
    return build.build_firmware(fake.FOLDER, fake.NAME, board, fake.plan(), folder)


def _image(board: Board, folder: Path) -> build.BoardImage:
    return build.build_board_image(fake.FOLDER, fake.NAME, board, fake.plan(), folder)


def _sizes(board: Board, folder: Path) -> build.Sizes:
    return build.measure(fake.FOLDER, fake.NAME, board, fake.plan(), folder)


@pytest.fixture(scope="module", params=["nano33ble", "stm32f746"])
def firmware(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> build.Firmware:
    return _firmware(load_board(request.param), tmp_path_factory.mktemp("firmware"))


def _assert_outputs(outputs: list[Array], inputs: list[Array]) -> None:
    want = fake.expected(inputs)
    assert [y.shape for y in outputs] == [want["y0"].shape, want["y1"].shape]
    np.testing.assert_array_equal(outputs[0], want["y0"])
    np.testing.assert_array_equal(outputs[1], want["y1"])


def _assert_steps(steps: list[Array], inputs: list[Array]) -> None:
    want = fake.expected(inputs)
    assert len(steps) == 2
    np.testing.assert_array_equal(steps[0], want["t"][0])
    np.testing.assert_array_equal(steps[1], [*want["y0"].reshape(-1), *want["y1"].reshape(-1)])


# -- the host -------------------------------------------------------------------------------


@needs_gcc
@pytest.mark.parametrize("sanitize", [True, False])
def test_host_run(sanitize: bool) -> None:
    inputs = fake.samples(7)
    _assert_outputs(host.run(fake.FOLDER, fake.NAME, fake.plan(), inputs, sanitize), inputs)


@needs_gcc
def test_host_dump() -> None:
    inputs = fake.samples(1)
    _assert_steps(host.dump(fake.FOLDER, fake.NAME, fake.plan(), inputs), inputs)


@needs_gcc
@pytest.mark.parametrize(
    ("how", "text"),
    [
        (101, "global-buffer-overflow"),
        (102, "store to misaligned address"),
        (103, "division by zero"),
    ],
)
def test_host_catches(how: int, text: str) -> None:
    with pytest.raises(ValidationError, match=text) as caught:
        host.run(fake.FOLDER, fake.NAME, fake.plan(), fake.misbehaving(how))
    assert caught.value.id == "MC402"


@pytest.mark.parametrize(
    "inputs",
    [
        fake.samples(2)[:1],
        [a.astype(np.float32) for a in fake.samples(2)],
        [a[:, 1:] for a in fake.samples(2)],
    ],
)
def test_wrong_inputs_are_refused(inputs: list[Array]) -> None:
    with pytest.raises(ValueError, match=r"arrays for 2 inputs|input a:"):
        host.run(fake.FOLDER, fake.NAME, fake.plan(), inputs)


# -- QEMU -----------------------------------------------------------------------------------


@needs_qemu
def test_qemu_run(firmware: build.Firmware) -> None:
    inputs = fake.samples(50)
    result = qemu.run(firmware, inputs)
    _assert_outputs(result.outputs, inputs)
    frame = 64  # fake_step0 has that many bytes of array
    assert frame <= result.stack_bytes <= firmware.stack_bytes <= frame + 24


@needs_qemu
def test_qemu_dump(firmware: build.Firmware) -> None:
    inputs = fake.samples(1)
    _assert_steps(qemu.dump(firmware, inputs), inputs)


@needs_qemu
def test_instruction_counts_are_exact(firmware: build.Firmware) -> None:
    """Counted by hand from the disassembly of straight loops: 64 and 8 iterations, one return."""
    profile = qemu.profile(firmware, fake.samples(1))
    assert profile == qemu.profile(firmware, fake.samples(1))
    call = 2  # argument and bl
    assert profile.steps[0] == call + _executed(firmware.elf, "fake_step0", (64, 8))
    around = profile.total - sum(profile.steps)
    assert 0 < around <= 6  # push, load, pop, return


def _executed(elf: Path, function: str, iterations: tuple[int, ...]) -> int:
    """Instructions executed by a function whose only branches close simple loops."""
    command = [toolchain.binutil("objdump"), f"--disassemble={function}", elf]
    listing = toolchain.run(command).stdout
    lines = re.findall(r"^ +([0-9a-f]+):\t[0-9a-f ]+\t(\S+)(.*)$", listing, re.MULTILINE)
    code = [(int(at, 16), name, rest) for at, name, rest in lines if name != ".word"]
    total, loops = len(code), iter(iterations)
    for at, name, rest in code:
        if name.startswith("bne"):
            target = int(rest.split()[0], 16)
            body = sum(target <= a <= at for a, _, _ in code)
            total += body * (next(loops) - 1)
    return total


@needs_qemu
@pytest.mark.parametrize(
    ("how", "text"),
    [
        (101, "the model has written outside its arena"),
        (102, r"cfsr 01000000 in fake_misbehave"),  # UNALIGNED
        (103, r"cfsr 02000000 in fake_misbehave"),  # DIVBYZERO
        (104, r"cfsr 00000082 address 0010\w+ in fake_misbehave"),  # data access violation
        (105, r"cfsr 00000082 address 90000000 in fake_misbehave"),
        (107, r"cfsr 00000082 address 0010\w+ in fake_misbehave"),
        (108, r"cfsr 00000082 address 20001\w+ in fake_misbehave"),
        (109, r"cfsr 00000082 address 00002000 in fake_misbehave"),
        (110, r"cfsr 00000082 address 40000004 in fake_misbehave"),
        (111, r"cfsr 00000082 address 1fffffff in fake_misbehave"),
        (112, "the stack has left its memory"),
    ],
)
def test_qemu_catches(firmware: build.Firmware, how: int, text: str) -> None:
    with pytest.raises(ValidationError, match=text) as caught:
        qemu.run(firmware, fake.misbehaving(how))
    assert caught.value.id == "MC402"
    assert caught.value.exit_code == 5


@needs_qemu
def test_a_run_without_end_is_stopped(
    firmware: build.Firmware, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qemu, "_SECONDS_TO_START", 0.5)
    with pytest.raises(ToolchainError, match="did not finish within") as caught:
        qemu.run(firmware, fake.misbehaving(106))
    assert caught.value.id == "MC505"


@needs_qemu
@pytest.mark.parametrize("core", [name for name, c in CORES.items() if c.qemu != NO_QEMU])
def test_generated_code_runs_on_every_core(core: str, tmp_path: Path) -> None:
    board = replace(load_board("nano33ble"), core=core, qemu=CORES[core].qemu, fpu="none")
    operands = [Value(name, (1, 3, 5, 7), "int8", QParams((0.5,), 3)) for name in "ab"]
    graph = op_graph(Add("add", ("add",)), operands, QParams((0.6,), 1))
    plan = make_plan(lower(graph, board.target()))
    for path, text in emit(graph, plan, EmitOptions("sum")).items():
        file = tmp_path / "model" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    inputs = random_inputs(graph, 20, np.random.default_rng(0))
    (want,) = run_int(graph, inputs)
    firmware = build.build_firmware(tmp_path / "model", "sum", board, plan, tmp_path / "firmware")
    np.testing.assert_array_equal(qemu.run(firmware, inputs).outputs, [want])
    np.testing.assert_array_equal(qemu.dump(firmware, [a[:1] for a in inputs])[0], want[0].flat)


@needs_cross
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m33"])
def test_cores_without_a_machine_are_measured_but_not_run(core: str, tmp_path: Path) -> None:
    board = replace(load_board("nano33ble"), core=core, qemu=NO_QEMU, fpu="none")
    sizes = _sizes(board, tmp_path / "sizes")
    assert sizes.const_bytes == 8
    assert 64 <= sizes.stack_bytes <= 100
    with pytest.raises(BoardError, match=f"no QEMU machine for its {core}") as caught:
        _firmware(board, tmp_path / "firmware")
    assert caught.value.id == "MC053"


# -- memory limits --------------------------------------------------------------------------


def _ram(sizes: build.Sizes) -> int:
    return fake.plan().arena_size + sizes.static_bytes + sizes.stack_bytes


@needs_qemu
def test_a_model_that_just_fits(tmp_path: Path) -> None:
    board = load_board("nano33ble")
    sizes = _sizes(board, tmp_path / "sizes")
    exact = board.with_limits(_ram(sizes), sizes.flash_bytes)
    qemu.run(_firmware(exact, tmp_path / "firmware"), fake.samples(2))


@needs_qemu
@pytest.mark.parametrize(
    ("limits", "error_id", "why"),
    [
        (lambda s: (_ram(s) - 32, None), "MC301", "arena, stack and statics exceed its 72 bytes"),
        (lambda s: (None, s.flash_bytes - 1), "MC302", r"exceed its \d+ bytes by 1"),
    ],
)
def test_a_model_that_does_not_fit(
    limits: Callable[[build.Sizes], tuple[int | None, int | None]],
    error_id: str,
    why: str,
    tmp_path: Path,
) -> None:
    board = load_board("nano33ble")
    board = board.with_limits(*limits(_sizes(board, tmp_path / "sizes")))
    with pytest.raises(DoesNotFitError) as caught:
        _firmware(board, tmp_path / "firmware")
    assert caught.value.id == error_id
    assert re.search(why, caught.value.why)


@needs_cross
def test_the_board_image_has_the_real_sizes(tmp_path: Path) -> None:
    board = load_board("nano33ble")
    (ram,) = board.ram
    with pytest.raises(DoesNotFitError) as caught:
        _image(replace(board, ram=(replace(ram, size=128),)), tmp_path)
    assert caught.value.id == "MC301"


# -- the board's own image ------------------------------------------------------------------


@needs_cross
@pytest.mark.parametrize("name", known_boards())
def test_board_image(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    image = _image(board, tmp_path)
    sections = build.section_sizes(image.elf)
    symbols = _symbols(image.elf)
    assert sections[".data"] == 0
    assert sections[".arena"] == fake.plan().arena_size

    start = board.main_flash.start
    table = struct.unpack("<16I", _section(image.elf, ".isr_vector"))
    assert symbols["vectors"] == start
    assert table[0] == symbols["ld_initial_sp"]
    assert table[1] == symbols["Reset_Handler"] | 1
    assert all(v % 2 == 1 and start < v < start + 4096 for v in table[1:] if v)

    for symbol in ("fake_run", "fake_step0", "fake_table"):
        assert board.main_flash.start <= symbols[symbol] < board.main_flash.end
    for symbol in ("arena0", "context", "ld_initial_sp"):
        assert board.main_ram.start <= symbols[symbol] <= board.main_ram.end
    assert symbols["arena0"] % 4 == 0


@needs_cross
def test_sizes_are_those_of_the_model_alone(tmp_path: Path) -> None:
    """Against the sizes of the object files: no function of this model is left out or joined."""
    board = load_board("stm32f746")
    sizes = _image(board, tmp_path).sizes
    code = build.section_sizes(tmp_path / "model" / "fake.o")
    assert sizes.code_bytes == sum(-(-n // 4) * 4 for s, n in code.items() if s[:5] == ".text")
    assert sizes.const_bytes == 8
    assert sizes.static_bytes == 4  # the context
    assert sizes == _sizes(board, tmp_path / "sizes")


def _section(elf: Path, name: str) -> bytes:
    raw = elf.with_suffix(".bin")
    command = [toolchain.binutil("objcopy"), "-O", "binary", "-j", name, elf, raw]
    assert toolchain.run(command).status == 0
    return raw.read_bytes()


def _symbols(elf: Path) -> dict[str, int]:
    listing = toolchain.run([toolchain.binutil("nm"), elf]).stdout
    return {name: int(at, 16) for at, name in re.findall(r"^(\w{8}) \w (\S+)$", listing, re.M)}


# -- tools ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("job", "error_id", "package"),
    [
        (lambda p: _sizes(load_board("nano33ble"), p), "MC501", "libnewlib-arm-none-eabi"),
        (
            lambda p: host.run(fake.FOLDER, fake.NAME, fake.plan(), fake.samples(1)),
            "MC502",
            "gcc",
        ),
        (lambda p: _firmware(load_board("nano33ble"), p), "MC503", "qemu-system-arm"),
    ],
)
def test_missing_tool(
    job: Callable[[Path], object],
    error_id: str,
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError) as caught:
        job(tmp_path)
    assert caught.value.id == error_id
    assert caught.value.exit_code == 6
    assert caught.value.fix.startswith("apt-get install ")
    assert package in caught.value.fix


@needs_cross
def test_refused_code_is_reported_with_the_compilers_words(tmp_path: Path) -> None:
    for file in fake.FOLDER.glob("fake*"):
        (tmp_path / file.name).write_text(file.read_text() + "\nint unused(void) { return x; }\n")
    board = load_board("nano33ble")
    with pytest.raises(ToolchainError, match="'x' undeclared") as caught:
        build.measure(tmp_path, fake.NAME, board, fake.plan(), tmp_path / "work")
    assert caught.value.id == "MC504"


@needs("arm-none-eabi-gcc", "cmake")
@pytest.mark.parametrize(("core", "board"), [("m4f", "nano33ble"), ("m7", "stm32f746")])
def test_cmake_toolchain_has_the_boards_flags(core: str, board: str, tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.21)\nproject(p C)\n"
        'add_library(p STATIC p.c)\nfile(WRITE flags.txt "${CMAKE_C_FLAGS}")\n'
    )
    (tmp_path / "p.c").write_text("#include <string.h>\nfloat f(float x) { return x * x; }\n")
    toolchain_file = resources.cmake_dir() / f"arm-none-eabi-{core}.cmake"
    for command in (
        ["cmake", "-S", ".", "-B", "build", "--toolchain", str(toolchain_file)],
        ["cmake", "--build", "build"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "flags.txt").read_text().split() == list(load_board(board).cflags)
    assert (tmp_path / "build" / "libp.a").is_file()
