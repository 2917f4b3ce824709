"""The options of the command line, and the CompileOptions they make."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import click

from mcucompile.options import (
    CalibrationMethod,
    CompileOptions,
    Rounding,
    Saliency,
    SampleOptions,
    WeightForm,
)
from mcucompile.quant.cache import default_folder

F = TypeVar("F", bound=Callable[..., Any])


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


def _block(text: str) -> tuple[str, float]:
    found = re.fullmatch(r"(1x4|4x4):(0?\.\d+)", text)
    if found is None or float(found[2]) == 0:
        raise click.BadParameter(f"'{text}' is not 1x4:SHARE or 4x4:SHARE, as in 1x4:0.5")
    return found[1], float(found[2])


def _blocks(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, float]:
    return dict(_block(text) for text in value)


def _weights(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> dict[str, WeightForm | Literal["auto"]]:
    forms = (*get_args(WeightForm), "auto")
    found: dict[str, Any] = {}
    for text in value:
        layer, _, form = text.rpartition("=")
        if form not in forms or (layer and form == "auto"):
            raise click.BadParameter(f"'{text}' is not [LAYER=]FORM; forms are {', '.join(forms)}")
        found[layer] = form
    return found


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
        "--float-layers",
        metavar="auto|NODES",
        default="",
        help="Layers in float32, on cores with a floating-point unit: names of ONNX nodes, or "
        "those that add most noise, as far as the outputs gain.",
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
        "--prune",
        multiple=True,
        metavar="BLOCK:SHARE",
        callback=_blocks,
        help="Make this share of the blocks of each layer zero: 1x4 (input channels of one output "
        "channel) of convolutions, 4x4 of dense layers, as in 1x4:0.5.",
    ),
    click.option(
        "--saliency",
        type=click.Choice(get_args(Saliency)),
        default="magnitude",
        show_default=True,
        help="What to prune: the smallest weights, the smallest products of weights and inputs, or "
        "what changes the layer's results least.",
    ),
    click.option(
        "--weights",
        multiple=True,
        metavar="[LAYER=]FORM",
        callback=_weights,
        help="How weights are stored: int8, int4, palette16, 8, 4 or 2 (so many values), "
        "huffman (lossless), or auto: with the least loss that fits into flash [int8]. LAYER: only "
        "those of this ONNX node.",
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


def options_of(args: dict[str, Any]) -> CompileOptions:
    """The compile options among a command's arguments."""
    if args["patches"] is not None and args["schedule"] != "patch":
        raise click.UsageError("--patches needs --schedule patch")
    return CompileOptions(
        board=args["board"],
        name=args["name"],
        mixed=args["mixed"],
        float_layers=args["float_layers"],
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
        prune=args["prune"],
        saliency=args["saliency"],
        weights=args["weights"],
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
        **quantize_options_of(args),
    )


def quantize_options_of(args: dict[str, Any]) -> dict[str, Any]:
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
