"""The board's own image as files to be flashed: ELF, Intel hex, binary."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mcucompile.compiler import Compilation, Progress, write_files, write_sources
from mcucompile.emulate import build, toolchain
from mcucompile.emulate.harness import Sample
from mcucompile.measure import random_sample
from mcucompile.reference.integer_interpreter import run_int


def write_image(compilation: Compilation, folder: Path, progress: Progress) -> str:
    """Build the image of `compilation` for its board into `folder`; returns what it is, as text.

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
    size = len(files[f"{c.name}.bin"])
    return "\n".join(
        (
            f"image      {c.name} for {c.board.name}, {c.board.title}",
            f"flash      {size:,} bytes from 0x{c.board.main_flash.start:08x}",
            f"console    {c.board.console}",
            *(f"wrote      {folder / file}" for file in files),
        )
    )


def _objcopy(elf: Path, form: str) -> bytes:
    target = elf.with_suffix(f".{form}")
    done = toolchain.run([toolchain.binutil("objcopy"), "-O", form, elf, target])
    if done.status != 0:
        raise toolchain.compiler_failed("arm-none-eabi-objcopy", done.stderr)
    return target.read_bytes()
