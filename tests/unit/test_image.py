"""The boards' own images: read as files, and run as far as QEMU has their parts."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mcucompile import compiler
from mcucompile.board import NO_QEMU, Board, known_boards, load_board
from mcucompile.emulate import build, toolchain
from mcucompile.emulate.harness import Sample
from mcucompile.image import write_image
from mcucompile.options import CompileOptions
from tests.support import fake_model as fake
from tests.support import models
from tests.support.boards import on_nrf51, on_stm32f405, segments
from tests.support.tools import needs_cross, needs_qemu

SAID = r"model fake\s+clock {hz} Hz\s+output (-?\d+ ){{3}}-?\d+\s+differences {wrong} bytes"


def image(board: Board, folder: Path, wrong: int = 0) -> Path:
    """The ELF of the fake model for `board`, in which `wrong` of the expected bytes are wrong."""
    inputs = fake.samples(1)
    want = fake.expected(inputs)
    first = want["y0"].copy()
    first.reshape(-1)[:wrong] += 1
    sample = Sample(inputs, [first, want["y1"]])
    return build.build_board_image(fake.FOLDER, fake.NAME, board, fake.plan(), folder, sample).elf


@needs_cross
@pytest.mark.parametrize("name", known_boards())
def test_everything_lies_in_the_memories_of_the_board(name: str, tmp_path: Path) -> None:
    board = load_board(name)
    flash, ram = board.main_flash, board.main_ram
    loaded = list(segments(image(board, tmp_path)))
    assert loaded
    for address, load, in_file, in_memory in loaded:
        memory = flash if address < ram.start or address >= ram.end else ram
        assert memory.start <= address <= address + in_memory <= memory.end
        if in_file:
            assert flash.start <= load <= load + in_file <= flash.end


@needs_cross
@pytest.mark.parametrize("name", known_boards())
def test_no_instruction_is_missing_in_the_core(name: str, tmp_path: Path) -> None:
    """The floating-point units of all three boards know single precision only."""
    objdump = toolchain.binutil("objdump")
    code = toolchain.run([objdump, "-d", image(load_board(name), tmp_path)]).stdout
    assert re.search(r"<fake_run>:", code)
    assert re.findall(r"\S+\.f64|<UNDEFINED>.*", code) == []


@needs_qemu
@pytest.mark.parametrize("wrong", [0, 3])
def test_stm32f746_starts_where_its_memory_is(wrong: int, tmp_path: Path) -> None:
    """No oscillator is ready here, so the clock stays what it is after reset."""
    board = replace(load_board("stm32f746"), console="semihosting")
    text = on_stm32f405(image(board, tmp_path, wrong))
    assert re.search(SAID.format(hz=16_000_000, wrong=wrong), text), text


def nano33ble_with_cortex_m0() -> Board:
    board = load_board("nano33ble")
    return replace(board, core="cortex-m0plus", fpu="none", qemu=NO_QEMU)


@needs_qemu
def test_nano33ble_prints_on_its_uart(tmp_path: Path) -> None:
    text = on_nrf51(image(nano33ble_with_cortex_m0(), tmp_path))
    assert re.search(SAID.format(hz=64_000_000, wrong=0), text), text


@needs_qemu
def test_kernels_compute_the_same_without_thumb_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real model on ARMv6-M, which has neither DSP instructions nor unaligned accesses."""
    monkeypatch.setattr(compiler, "load_board", lambda name: nano33ble_with_cortex_m0())
    model = models.save(models.small_cnn(), tmp_path / "net.onnx")
    compilation = compiler.compile_model(model, CompileOptions(board="nano33ble"))
    write_image(compilation, tmp_path / "image", lambda text: None)
    text = on_nrf51(tmp_path / "image" / "net.elf")
    assert "differences 0 bytes" in text, text
