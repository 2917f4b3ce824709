"""The command line. The library raises; only this file prints and exits."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from mcucompile import __version__, commands, resources
from mcucompile.cli_options import (
    compile_options,
    json_option,
    options_of,
    quantize_options,
    quantize_options_of,
)
from mcucompile.cli_progress import progress
from mcucompile.depfile import depfile
from mcucompile.errors import InternalError, McuCompileError
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.package import PACKAGE_KINDS
from mcucompile.report.accuracy import read_validation, with_validation
from mcucompile.report.compare import compare_text, require_limits
from mcucompile.report.csv import render_csv
from mcucompile.report.html import render_html
from mcucompile.report.linked import require_equal
from mcucompile.report.text import WIDTH, render_text


class DefaultCommandGroup(click.Group):
    """A group whose first command is taken when none is named: `mcucompile model.onnx ...`."""

    default = "compile"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in self.commands and args[0] not in own:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _columns() -> int:
    """Columns for a report: the terminal's, if results go to one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH


def _write_json(file: Path | None, content: dict[str, Any]) -> None:
    if file is not None:
        _write("--json", file, json.dumps(content, indent=2) + "\n")


def _write(option: str, file: Path, text: str) -> None:
    commands.write_file(option, file, text.encode("utf-8"))


@click.group(cls=DefaultCommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Compile ONNX models to verified plain C for microcontrollers.

    mcucompile MODEL.onnx --board BOARD compiles; the other commands measure and inspect.
    """


@cli.command("compile")
@compile_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [build/NAME].")
@click.option(
    "--package",
    type=click.Choice(PACKAGE_KINDS),
    help="Write a library of this kind, not a folder.",
)
@click.option(
    "--depfile",
    type=click.Path(path_type=Path),
    metavar="TARGET.d",
    help="Also write the files that the result depends on, as a rule for TARGET.",
)
def compile_command(**args: Any) -> None:
    """Compile MODEL to a folder of C (the default command)."""
    options = options_of(args)
    report = commands.compile_to_folder(
        args["model"], options, args["output"], progress(args["quiet"]), args["package"]
    )
    if args["depfile"]:
        target = args["depfile"].with_suffix("")
        _write("--depfile", args["depfile"], depfile(target, args["model"], options))
    commands.echo_warnings(report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(render_text(report, _columns()))


@cli.command("quantize")
@quantize_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE.onnx",
    help="File to write [build/MODEL_qdq.onnx].",
)
def quantize_command(**args: Any) -> None:
    """Write MODEL as QDQ ONNX, in the integers that the C code has, for other tools to check."""
    options = CompileOptions(board="", **quantize_options_of(args))
    warnings = commands.write_qdq(args["model"], options, args["output"], progress(args["quiet"]))
    commands.echo_warnings(warnings, lambda text: click.echo(text, err=True))


@cli.command()
@compile_options
@json_option
@click.option("--data", required=True, metavar="FILE[:ARRAY]|random", help="Test samples.")
@click.option("--labels", metavar="ARRAY", help="Array of labels in the same file.")
@click.option("--samples", type=click.IntRange(1), help="Use only the first N samples.")
@click.option(
    "--on",
    "where",
    type=click.Choice(["host", "qemu"]),
    default="host",
    show_default=True,
    help="Where the C code runs.",
)
@click.option(
    "--steps",
    "each_step",
    is_flag=True,
    help="Also compare every step of one sample: float, integer reference, host and, with --on "
    "qemu, the core.",
)
def validate(**args: Any) -> None:
    """Run samples through the C code, the integer reference and onnxruntime, and compare."""
    data = SampleOptions(args["data"], args["data_scale"], args["data_offset"], args["samples"])
    result = commands.validate_model(
        args["model"],
        options_of(args),
        data,
        args["labels"],
        args["where"],
        progress(args["quiet"]),
        args["each_step"],
    )
    _write_json(args["json_file"], result.content)
    commands.echo_warnings(result.report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(result.text)
    result.require_exact()


@cli.command()
@compile_options
@json_option
@click.option(
    "--import",
    "cycles",
    type=click.Path(path_type=Path),
    metavar="CYCLES.csv",
    help="Cycles of each step measured on the board, to stand beside the modelled ones.",
)
def profile(**args: Any) -> None:
    """Count the instructions of every step under QEMU: exact and repeatable."""
    report = commands.profile_model(
        args["model"], options_of(args), progress(args["quiet"]), args["cycles"]
    )
    _write_json(args["json_file"], report)
    commands.echo_warnings(report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(render_text(report, _columns()))


@cli.command("image")
@compile_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [build/NAME].")
def image_command(**args: Any) -> None:
    """Build a firmware image that runs the model once on the board and prints what it gives."""
    report, text = commands.build_image(
        args["model"], options_of(args), args["output"], progress(args["quiet"])
    )
    commands.echo_warnings(report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(text)


@cli.command("report")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path), help="Write one self-contained page here.")
@click.option("--csv", type=click.Path(path_type=Path), help="Write a line per step here.")
@click.option(
    "--compare", type=click.Path(path_type=Path), help="Show what changed since this report."
)
@click.option(
    "--validation",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Show accuracy, and each layer's noise, as `validate --json` has found them.",
)
@click.option(
    "--elf",
    type=click.Path(path_type=Path),
    metavar="FIRMWARE",
    help="Compare with the model as it is in this linked program; exit 5 if it differs.",
)
@click.option("--max-sram", type=click.IntRange(1), metavar="BYTES", help="Exit 4 above this.")
@click.option("--max-flash", type=click.IntRange(1), metavar="BYTES", help="Exit 4 above this.")
@click.option("--max-instructions", type=click.IntRange(1), help="Exit 4 above this.")
def report_command(
    path: Path,
    html: Path | None,
    csv: Path | None,
    compare: Path | None,
    validation: Path | None,
    elf: Path | None,
    max_sram: int | None,
    max_flash: int | None,
    max_instructions: int | None,
) -> None:
    """Show the report of a compiled folder, or of a report file; write it in other forms."""
    content = commands.read_report(path)
    if validation is not None:
        content = with_validation(content, read_validation(validation))
    if html is not None:
        _write("--html", html, render_html(content))
    if csv is not None:
        _write("--csv", csv, render_csv(content))
    if compare is not None:
        click.echo(compare_text(commands.read_report(compare), content))
    elif elf is not None:
        comparison, text = commands.elf_text(content, elf)
        click.echo(text)
        require_equal(content, comparison)
    elif html is None and csv is None:
        click.echo(render_text(content, _columns()))
    require_limits(content, max_sram, max_flash, max_instructions)


@cli.command()
def boards() -> None:
    """List the known boards."""
    click.echo(commands.boards_text())


@cli.command("linker-script")
@click.option("--board", "-b", required=True, help="Board name or board file (.toml).")
@click.option("--stack", type=click.IntRange(256), default=4096, show_default=True, help="Bytes.")
def linker_script_command(board: str, stack: int) -> None:
    """Print the linker script of a program for BOARD with boards/support/startup.c."""
    click.echo(commands.linker_script_text(board, stack), nl=False)


@cli.command()
def ops() -> None:
    """List the ONNX operators that can be compiled."""
    click.echo(commands.ops_text())


@cli.command("cmake-dir")
def cmake_dir() -> None:
    """Print the folder of the CMake package."""
    click.echo(resources.cmake_dir())


@cli.command("runtime-dir")
def runtime_dir() -> None:
    """Print the include path of the kernel runtime."""
    click.echo(resources.runtime_dir())


def main() -> None:
    """Entry point: runs the command line and turns errors into text and exit codes."""
    try:
        cli.main(standalone_mode=False)
    except McuCompileError as error:
        click.echo(str(error), err=True)
        sys.exit(error.code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("MCUCOMPILE_DEBUG"):
            raise
        kind = "" if isinstance(error, InternalError) else f"{type(error).__name__}: "
        click.echo(f"internal error: {kind}{error}", err=True)
        click.echo("  this is a bug of mcucompile: please report it with the model", err=True)
        click.echo("  MCUCOMPILE_DEBUG=1 shows where it happened", err=True)
        sys.exit(1)
