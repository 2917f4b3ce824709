"""The board's own image as files to be flashed: ELF, Intel hex, binary."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mcucompile.compiler import Compilation, Progress, write_files, write_sources
from mcucompile.elf import Elf
from mcucompile.emit.constants import weight_bytes
from mcucompile.emulate import build, toolchain
from mcucompile.emulate.harness import Sample
from mcucompile.measure import measured_of, random_sample
from mcucompile.measure import report as report_of
from mcucompile.reference.integer_interpreter import run_int
from mcucompile.report.build import Report


def write_image(compilation: Compilation, folder: Path, progress: Progress) -> tuple[Report, str]:
    """Build the image of `compilation` for its board into `folder`.

    Returns the report of the model as it is in the image, and what the image is, as text.

    The image runs the model on a seeded random sample and compares with the integer reference.
    Raises ToolchainError without a cross compiler, DoesNotFitError, and UsageError MC021 if the
    folder cannot be written.
    """
    c = compilation
    progress("build image")
    inputs = random_sample(c)
    sample = Sample(inputs, run_int(c.graph, inputs))
    with tempfile.TemporaryDirectory(prefix="mcucompile-image-") as temporary:
        work = Path(temporary)
        write_sources(c, work / "model")
        image = build.build_board_image(
            work / "model", c.name, c.board, c.plan, work / "build", sample
        )
        files = {f"{c.name}.elf": image.elf.read_bytes()}
        for suffix, form in (("hex", "ihex"), ("bin", "binary")):
            files[f"{c.name}.{suffix}"] = _objcopy(image.elf, form)
    write_files(files, folder)
    report = report_of(c, measured_of(image.sizes, sum(weight_bytes(c.plan))))
    lines = [
        f"image      {c.name} for {c.board.name}, {c.board.title}",
        *_flash_lines(report, image.sizes.elf, c.board.main_flash.start),
        *_ram_lines(report, image.sizes.elf),
        f"console    {c.board.console}",
        *(f"wrote      {folder / file}" for file in files),
    ]
    return report, "\n".join(lines)


def _flash_lines(report: Report, elf: Elf, start: int) -> list[str]:
    """What the flash of the image holds; the parts add up to all of it."""
    flash = report["flash"]
    vectors, around = elf.size(".isr_vector"), elf.size(".support.text", ".support.data")
    return [
        f"flash      {elf.flash_bytes:,} bytes from 0x{start:08x}",
        f"  model    {flash['total_bytes']:12,}  weights {flash['const_bytes']:,}, "
        f"code {flash['code_bytes']:,}",
        f"  vectors  {vectors:12,}",
        f"  support  {around:12,}  start-up, console, sample and expected outputs",
    ]


def _ram_lines(report: Report, elf: Elf) -> list[str]:
    sram = report["sram"]
    stack, around = elf.size(".stack"), elf.size(".support.bss", ".support.data")
    total = sram["arena_bytes"] + sram["static_bytes"] + stack + around
    return [
        f"RAM        {total:,} bytes",
        f"  arena    {sram['arena_bytes']:12,}",
        f"  statics  {sram['static_bytes']:12,}",
        f"  stack    {stack:12,}  of which a run of the model takes {sram['stack_bytes']:,}; "
        "the rest is for main and an interrupt",
        f"  support  {around:12,}",
    ]


def _objcopy(elf: Path, form: str) -> bytes:
    target = elf.with_suffix(f".{form}")
    done = toolchain.run([toolchain.binutil("objcopy"), "-O", form, elf, target])
    if done.status != 0:
        raise toolchain.compiler_failed("arm-none-eabi-objcopy", done.stderr)
    return target.read_bytes()
