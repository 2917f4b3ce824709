"""What the report says of flash, statics and stack is what the linker made, to the byte."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

import mcucompile
from mcucompile.board import known_boards, load_board
from mcucompile.commands import compile_to_folder
from mcucompile.compiler import compile_model
from mcucompile.elf import read_elf
from mcucompile.emulate import toolchain
from mcucompile.emulate.build import model_cflags
from mcucompile.errors import UsageError, ValidationError
from mcucompile.image import write_image
from mcucompile.measure import measure, report
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import random_samples
from mcucompile.report.linked import compare_with, comparison_text, require_equal
from mcucompile.validate import validate
from tests.support import zoo
from tests.support.mlperf import ENTRIES, Entry
from tests.support.tools import needs_cross, needs_qemu

DIGITS = Entry("digits", SampleOptions("random"))
QUICK = ("mlperf_ad01_int8qdq", "mlperf_kws_int8qdq")


def _cases() -> list:
    quick = [pytest.param(DIGITS, board) for board in known_boards()]
    return quick + [
        pytest.param(
            entry,
            board,
            marks=[
                zoo.needs_zoo,
                *([] if entry.name in QUICK and board == "nano33ble" else [pytest.mark.slow]),
            ],
        )
        for entry in ENTRIES
        for board in known_boards()
    ]


def _path(entry: Entry) -> Path:
    return zoo.ROOT / "examples/digits/digits.onnx" if entry is DIGITS else zoo.model(entry.name)


def _nm(elf: Path) -> dict[str, int]:
    """Symbol -> bytes, as binutils read them."""
    listing = toolchain.run([toolchain.binutil("nm"), "--print-size", elf]).stdout
    rows = [line.split() for line in listing.splitlines()]
    return {row[3]: int(row[1], 16) for row in rows if len(row) == 4}


@needs_qemu
@pytest.mark.parametrize(("entry", "board"), _cases(), ids=lambda x: getattr(x, "name", x))
def test_report_and_linker_agree_to_the_byte(entry: Entry, board: str, tmp_path: Path) -> None:
    compilation = compile_model(_path(entry), entry.options(board))
    before = report(compilation, measure(compilation))
    in_image, text = write_image(compilation, tmp_path, lambda text: None)
    assert {**in_image, "linked": before["linked"]} == before
    file = tmp_path / f"{compilation.name}.elf"
    elf = read_elf(file)

    flash, sram, linked = before["flash"], before["sram"], before["linked"]
    assert flash["total_bytes"] == elf.size(".text", ".rodata", ".data")
    assert sram["static_bytes"] == elf.size(".data", ".bss")
    arenas = [s.name for s in elf.sections if s.name == ".arena" or s.name.startswith(".arena.")]
    assert sram["arena_bytes"] == elf.size(*arenas)
    parts = [*linked["objects"], *linked["library"]]
    assert flash["total_bytes"] == sum(p["bytes"] for p in parts) + linked["padding_bytes"]
    known = _nm(file)
    assert all(known[p["name"]] == p["bytes"] for p in parts)
    # All of the file is told: the binary that is flashed has not a byte more.
    around = elf.size(".isr_vector", ".support.text", ".support.data")
    size = (tmp_path / f"{compilation.name}.bin").stat().st_size
    assert flash["total_bytes"] + around == elf.flash_bytes == size
    assert f"{size:,} bytes" in text
    require_equal(before, compare_with(before, elf))

    samples = random_samples(compilation.graph.input_ports, 1)
    painted = validate(compilation, samples, "qemu").stack_bytes
    assert painted is not None
    assert painted <= sram["stack_bytes"] <= painted + 256


FIRMWARE = """
#include "digits.h"
static unsigned char arena[DIGITS_ARENA_SIZE] __attribute__((aligned(DIGITS_ARENA_ALIGN)));
static digits_context model;
int main(void) {
    digits_init(&model, arena);
    digits_run(&model);
    return digits_output(&model, 0)[0];
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elf") / "digits"
    compile_to_folder(_path(DIGITS), CompileOptions("nano33ble"), folder, lambda text: None)
    return folder


def _firmware(compiled: Path, to: Path, *flags: str) -> Path:
    """Somebody's own firmware, with the linker script of the C library."""
    to.mkdir()
    (to / "main.c").write_text(FIRMWARE)
    command = [
        toolchain.cross_gcc(),
        *model_cflags(load_board("nano33ble")),
        *flags,
        "-I",
        compiled,
    ]
    sources = [to / "main.c", compiled / "digits.c", compiled / "digits_weights.c"]
    command += ["--specs=nosys.specs", "-Wl,--gc-sections", *sources, "-o", to / "firmware.elf"]
    subprocess.run(command, check=True, capture_output=True)
    return to / "firmware.elf"


def _report(compiled: Path) -> dict:
    return json.loads((compiled / "digits_report.json").read_text())


@needs_cross
def test_a_firmware_of_somebody_else(compiled: Path, tmp_path: Path) -> None:
    elf = read_elf(_firmware(compiled, tmp_path / "same"))
    content = _report(compiled)
    found = compare_with(content, elf)
    require_equal(content, found)
    assert found.left_out == ("digits_input",)
    assert found.found["const"] == content["flash"]["const_bytes"]
    text = comparison_text(content, found)
    assert text.count("equal") == 2
    assert "left out, as nobody calls it: digits_input" in text
    assert f"of {elf.flash_bytes:,} bytes of flash" in text


@needs_cross
def test_a_firmware_with_other_flags(compiled: Path, tmp_path: Path) -> None:
    elf = read_elf(_firmware(compiled, tmp_path / "other", "-Os"))
    content = _report(compiled)
    found = compare_with(content, elf)
    assert found.found["const"] == found.reported["const"]
    assert found.found["code"] != found.reported["code"]
    assert "DIFFERENT" in comparison_text(content, found)
    with pytest.raises(ValidationError, match=r"MC403.*not in the firmware as reported") as caught:
        require_equal(content, found)
    assert "-O2" in caught.value.fix


@needs_cross
def test_other_weights_are_found(compiled: Path, tmp_path: Path) -> None:
    elf = read_elf(_firmware(compiled, tmp_path / "weights"))
    content = _report(compiled)
    largest = next(o for o in content["linked"]["objects"] if o["kind"] == "const")
    largest["bytes"] += 4
    found = compare_with(content, elf)
    assert [d.name for d in found.differences] == [largest["name"]]


@needs_cross
def test_another_model_with_a_longer_name_is_no_difference(compiled: Path, tmp_path: Path) -> None:
    elf = read_elf(_firmware(compiled, tmp_path / "longer"))
    other = mcucompile.elf.Symbol("digits_two_run", 40, ".text", True, "")
    found = compare_with(_report(compiled), mcucompile.elf.Elf(elf.sections, (*elf.symbols, other)))
    assert found.differences == ()


@needs_cross
def test_damaged_files(compiled: Path, tmp_path: Path) -> None:
    """Whatever is wrong with them, there is an error with an id, or they can be read after all."""
    whole = _firmware(compiled, tmp_path / "whole").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for i in range(60):
        content = bytearray(whole[: rng.integers(len(whole))] if i % 2 else whole)
        for at in rng.integers(0, min(52, len(content)), 4 * (1 - i % 2)):
            content[at] = rng.integers(256)
        (tmp_path / "file").write_bytes(content)
        try:
            read_elf(tmp_path / "file")
        except UsageError as error:
            refused += error.id == "MC036"
    assert refused > 30


def test_what_is_no_elf(tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF", b"text" * 100):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(UsageError, match="MC036"):
            read_elf(tmp_path / "file")
    with pytest.raises(UsageError, match="MC036"):
        read_elf(tmp_path / "nowhere")
