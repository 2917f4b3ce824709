"""The command line. The library raises; only this file prints and exits."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from mcucompile import __version__, commands, resources
from mcucompile.depfile import depfile
from mcucompile.errors import InternalError, McuCompileError
from mcucompile.options import CalibrationMethod, CompileOptions, Rounding, SampleOptions
from mcucompile.package import PACKAGE_KINDS
from mcucompile.quant.cache import default_folder
from mcucompile.report.compare import compare_text, require_limits
from mcucompile.report.csv import render_csv
from mcucompile.report.html import render_html
from mcucompile.report.text import WIDTH, render_text

F = TypeVar("F", bound=Callable[..., Any])


class DefaultCommandGroup(click.Group):
    """A group whose first command is taken when none is named: `mcucompile model.onnx ...`."""

    default = "compile"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if args and args[0] not in self.commands and args[0] not in own:
            args = [self.default, *args]
        return super().parse_args(ctx, args)


def _dim(text: str) -> tuple[str, int]:
    name, _, size = text.partition("=")
    if not name or not size.isdigit() or int(size) < 1:
        raise click.BadParameter(f"'{text}' is not NAME=SIZE with a positive size")
    return name, int(size)


def _sizes(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, int]:
    return dict(_dim(text) for text in value)


def _grid(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", value)
    if found is None:
        raise click.BadParameter(f"'{value}' is not ROWSxCOLUMNS, as in 3x3")
    return int(found[1]), int(found[2])


def _floats(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    try:
        return tuple(float(text) for text in value.split(",") if text.strip())
    except ValueError as error:
        raise click.BadParameter(f"'{value}' is not a list of numbers") from error


_ELEMENTS = click.Choice(["int8", "uint8", "float32"])

# What decides which int8 numbers a model becomes.
QUANTIZE_OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path)),
    click.option("--calib", metavar="FILE[:ARRAY]", help="Samples (.npz, .npy, folder of .npy)."),
    click.option(
        "--calib-method",
        type=click.Choice(get_args(CalibrationMethod)),
        default="mse",
        show_default=True,
        help="How activation ranges follow from calibration samples.",
    ),
    click.option(
        "--calib-cache",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Where results of calibration are kept [the user's cache folder].",
    ),
    click.option("--no-calib-cache", is_flag=True, help="Keep and use no results of calibration."),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=True,
        show_default=True,
        help="Take the mean error of each channel on the samples off its bias.",
    ),
    click.option(
        "--equalize/--no-equalize",
        default=False,
        show_default=True,
        help="Balance the ranges of channels between layers.",
    ),
    click.option(
        "--round",
        "rounding",
        type=click.Choice(get_args(Rounding)),
        default="nearest",
        show_default=True,
        help="Of weights: each to its nearest integer, or so that layers err least on the samples.",
    ),
    click.option(
        "--dim",
        "dims",
        multiple=True,
        metavar="NAME=SIZE",
        callback=_sizes,
        help="Size of a symbolic dimension.",
    ),
    click.option(
        "--data-scale", type=float, default=1.0, help="Samples are mapped x -> S*x + O first [1]."
    ),
    click.option("--data-offset", type=float, default=0.0, help="See --data-scale [0]."),
    click.option("--quiet", "-q", is_flag=True, help="No progress messages."),
)

COMPILE_OPTIONS = (
    *QUANTIZE_OPTIONS,
    click.option("--board", "-b", required=True, help="Board name or board file (.toml)."),
    click.option("--name", "-n", default="", help="Prefix of all C symbols [the file's name]."),
    click.option(
        "--mixed",
        metavar="auto|NODES",
        default="",
        help="Layers with int16 results: names of ONNX nodes, separated by commas, or those whose "
        "results lose most by 8 bits, as far as the outputs gain.",
    ),
    click.option(
        "--quantize",
        type=click.Choice(["int8", "binary"]),
        default="int8",
        help="binary: all layers but the first and last, unless that costs too much [int8]. Layers "
        "trained as binary are so either way.",
    ),
    click.option("--force", is_flag=True, help="Binary layers whatever they cost."),
    click.option(
        "-O",
        "optimize",
        type=click.Choice(["time", "balanced", "ram"]),
        default="balanced",
        show_default=True,
        help="What to optimize for.",
    ),
    click.option("--ram", type=click.IntRange(1), metavar="BYTES", help="Limit of SRAM."),
    click.option("--flash", type=click.IntRange(1), metavar="BYTES", help="Limit of flash."),
    click.option(
        "--input-layout",
        type=click.Choice(["nhwc", "nchw"]),
        default=None,
        help="Layout of image inputs in the C API [the model's own].",
    ),
    click.option(
        "--input-type",
        type=_ELEMENTS,
        default="int8",
        show_default=True,
        help="Type of the inputs in the C API.",
    ),
    click.option(
        "--output-type",
        type=_ELEMENTS,
        default="int8",
        show_default=True,
        help="Type of the outputs in the C API.",
    ),
    click.option(
        "--input-scale",
        metavar="S[,S..]",
        callback=_floats,
        default="",
        help="Take raw uint8 numbers: the model's input is (raw - M) * S, per channel [1].",
    ),
    click.option(
        "--input-mean",
        metavar="M[,M..]",
        callback=_floats,
        default="",
        help="See --input-scale [0].",
    ),
    click.option(
        "--winograd/--no-winograd",
        default=None,
        help="Winograd convolutions: everywhere possible, or nowhere [where they pay].",
    ),
    click.option(
        "--sparse/--no-sparse",
        default=None,
        help="Leave blocks of zero weights out: everywhere possible, or nowhere [where it pays].",
    ),
    click.option(
        "--no-prune-channels", is_flag=True, help="Keep channels that no output depends on."
    ),
    click.option(
        "--stateful", is_flag=True, help="Recurrent layers keep their states from run to run."
    ),
    click.option(
        "--requant",
        type=click.Choice(["once", "tflite"]),
        default="once",
        show_default=True,
        help="How sums are rounded; tflite: bit for bit as TFLite does, slower, nothing pruned.",
    ),
    click.option("--keep-input", is_flag=True, help="The run leaves its inputs intact."),
    click.option(
        "--stream-input", is_flag=True, help="Take the input row by row; only needed rows are kept."
    ),
    click.option(
        "--regions",
        default="",
        metavar="NAME[,NAME...]|all",
        help="Memories for the arena, the preferred first [the largest stretch of RAM].",
    ),
    click.option(
        "--schedule",
        type=click.Choice(["auto", "whole", "stream", "patch"]),
        default="auto",
        help="Run layers whole, row by row or in patches; auto leaves it to -O [auto].",
    ),
    click.option(
        "--patches",
        metavar="ROWSxCOLUMNS",
        callback=_grid,
        help="Patches of --schedule patch [what needs the least SRAM].",
    ),
)


def compile_options(function: F) -> F:
    """Every option of the compile command, for the commands that compile first."""
    for option in reversed(COMPILE_OPTIONS):
        function = option(function)
    return function


def quantize_options(function: F) -> F:
    """Those of them that need no board."""
    for option in reversed(QUANTIZE_OPTIONS):
        function = option(function)
    return function


def json_option(function: F) -> F:
    return click.option(
        "--json", "json_file", type=click.Path(path_type=Path), help="Also write the result here."
    )(function)


def _options(args: dict[str, Any]) -> CompileOptions:
    """The compile options among a command's arguments."""
    if args["patches"] is not None and args["schedule"] != "patch":
        raise click.UsageError("--patches needs --schedule patch")
    return CompileOptions(
        board=args["board"],
        name=args["name"],
        mixed=args["mixed"],
        optimize=args["optimize"],
        ram=args["ram"],
        flash=args["flash"],
        input_layout=args["input_layout"] or "",
        input_type=args["input_type"],
        output_type=args["output_type"],
        input_scale=args["input_scale"],
        input_mean=args["input_mean"],
        winograd=args["winograd"],
        sparse=args["sparse"],
        keep_input=args["keep_input"],
        requant=args["requant"],
        prune_channels=not args["no_prune_channels"],
        schedule=args["schedule"],
        patches=args["patches"],
        regions=tuple(args["regions"].split(",")) if args["regions"] else (),
        stream_input=args["stream_input"],
        quantize=args["quantize"],
        force=args["force"],
        stateful=args["stateful"],
        **_quantize_options(args),
    )


def _quantize_options(args: dict[str, Any]) -> dict[str, Any]:
    """Those fields of CompileOptions that say which integers a model becomes."""
    calib = args["calib"]
    return {
        "calibration": SampleOptions(calib, args["data_scale"], args["data_offset"])
        if calib
        else None,
        "calibration_method": args["calib_method"],
        "calibration_cache": _cache_folder(args),
        "bias_correction": args["bias_correction"],
        "equalize": args["equalize"],
        "rounding": args["rounding"],
        "dims": args["dims"],
    }


def _cache_folder(args: dict[str, Any]) -> Path | None:
    if args["no_calib_cache"]:
        return None
    return args["calib_cache"] or default_folder()


def _progress(quiet: bool) -> Callable[[str], None]:
    return (lambda text: None) if quiet else (lambda text: click.echo(f"  {text}", err=True))


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
    options = _options(args)
    report = commands.compile_to_folder(
        args["model"], options, args["output"], _progress(args["quiet"]), args["package"]
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
    options = CompileOptions(board="", **_quantize_options(args))
    warnings = commands.write_qdq(args["model"], options, args["output"], _progress(args["quiet"]))
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
def validate(**args: Any) -> None:
    """Run samples through the C code, the integer reference and onnxruntime, and compare."""
    data = SampleOptions(args["data"], args["data_scale"], args["data_offset"], args["samples"])
    result = commands.validate_model(
        args["model"],
        _options(args),
        data,
        args["labels"],
        args["where"],
        _progress(args["quiet"]),
    )
    _write_json(args["json_file"], result.content)
    commands.echo_warnings(result.report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(result.text)
    result.require_exact()


@cli.command()
@compile_options
@json_option
def profile(**args: Any) -> None:
    """Count the instructions of every step under QEMU: exact and repeatable."""
    report = commands.profile_model(args["model"], _options(args), _progress(args["quiet"]))
    _write_json(args["json_file"], report)
    commands.echo_warnings(report["warnings"], lambda text: click.echo(text, err=True))
    click.echo(render_text(report, _columns()))


@cli.command("image")
@compile_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [build/NAME].")
def image_command(**args: Any) -> None:
    """Build a firmware image that runs the model once on the board and prints what it gives."""
    report, text = commands.build_image(
        args["model"], _options(args), args["output"], _progress(args["quiet"])
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
@click.option("--max-sram", type=click.IntRange(1), metavar="BYTES", help="Exit 4 above this.")
@click.option("--max-flash", type=click.IntRange(1), metavar="BYTES", help="Exit 4 above this.")
@click.option("--max-instructions", type=click.IntRange(1), help="Exit 4 above this.")
def report_command(
    path: Path,
    html: Path | None,
    csv: Path | None,
    compare: Path | None,
    max_sram: int | None,
    max_flash: int | None,
    max_instructions: int | None,
) -> None:
    """Show the report of a compiled folder, or of a report file; write it in other forms."""
    content = commands.read_report(path)
    if html is not None:
        _write("--html", html, render_html(content))
    if csv is not None:
        _write("--csv", csv, render_csv(content))
    if compare is not None:
        click.echo(compare_text(commands.read_report(compare), content))
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
