"""What a person can ask of a compilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mcucompile.ir import Element, RequantRule
from mcucompile.passes.split_patches import Grid
from mcucompile.plan.planner import Scheduling
from mcucompile.plan.program import Optimize

CalibrationMethod = Literal["minmax", "percentile", "mse", "entropy"]
Rounding = Literal["nearest", "adaptive"]
Block = Literal["1x4", "4x4"]
Saliency = Literal["magnitude", "activation", "taylor"]
WeightForm = Literal["int8", "int4", "palette16", "palette8", "palette4", "palette2", "huffman"]


@dataclass(frozen=True)
class SampleOptions:
    """Where samples come from: FILE[:ARRAY] (or "random"), mapped x -> scale*x + offset first."""

    spec: str
    scale: float = 1.0
    offset: float = 0.0
    limit: int | None = None


@dataclass(frozen=True)
class CompileOptions:
    """Options of one compilation.

    board: name of a known board or path of a board file. name: prefix of every C symbol; "" takes
    the model file's name. calibration: None calibrates a float model with synthetic data.
    calibration_cache: folder where ranges are kept from one compilation to the next.
    bias_correction: take the mean error of each channel off its bias. equalize: balance the ranges
    of channels between layers. rounding: of weights, see quant/round_weights.py. mixed: ONNX nodes
    with int16 results, separated by commas, or "auto"; see quant/mixed.py. float_layers: those that
    are computed in float32, the same way; see quant/float_layers.py.
    ram, flash: limits in bytes that replace the board's. input_layout: "" keeps the model's own.
    dims: sizes of symbolic dimensions. keep_input: the run leaves its inputs intact.
    schedule: how steps are run; see PlanOptions. `patch` runs a segment patch by patch and the rest
    whole; patches: in this grid of (rows, columns), None for that which needs the least SRAM.
    stream_input: the firmware hands the rows of the input over one by one. regions: of RAM, over
    which the arena is spread, the preferred first; see memory.regions. winograd: use Winograd
    convolutions wherever possible, never, or (None) where they pay.
    sparse: leave out blocks of weights that are zero: the same choice.
    prune: share of the blocks of each layer that become zero; saliency: which of them matter least,
    see quant/prune_blocks.py.
    weights: how weights are stored, by ONNX node, "" for all others: in a form, or ("auto") with
    the least loss that fits into flash; see compress/store.py.
    prune_channels: remove channels that no output depends on. quantize: "binary" makes layers
    binary that were not trained for it; force: at any loss. stateful: recurrent layers keep their
    states from one run to the next.
    requant: the rule by which sums are rounded: the number contract's, or TFLite's (which keeps all
    channels). input_type, output_type: of the C API.
    input_scale, input_mean: firmware hands over raw uint8 numbers, real = (raw - mean) * scale; one
    for all channels or one for each, none for no preprocessing.
    """

    board: str
    name: str = ""
    calibration: SampleOptions | None = None
    calibration_method: CalibrationMethod = "mse"
    calibration_cache: Path | None = None
    bias_correction: bool = True
    equalize: bool = False
    rounding: Rounding = "nearest"
    mixed: str = ""
    float_layers: str = ""
    optimize: Optimize = "balanced"
    ram: int | None = None
    flash: int | None = None
    input_layout: Literal["", "nhwc", "nchw"] = ""
    dims: Mapping[str, int] = field(default_factory=dict)
    keep_input: bool = False
    schedule: Scheduling | Literal["patch"] = "auto"
    patches: Grid | None = None
    stream_input: bool = False
    regions: tuple[str, ...] = ()
    winograd: bool | None = None
    sparse: bool | None = None
    prune: Mapping[Block, float] = field(default_factory=dict)
    saliency: Saliency = "magnitude"
    weights: Mapping[str, WeightForm | Literal["auto"]] = field(default_factory=dict)
    prune_channels: bool = True
    quantize: Literal["int8", "binary"] = "int8"
    force: bool = False
    stateful: bool = False
    requant: RequantRule = "once"
    input_type: Element = "int8"
    output_type: Element = "int8"
    input_scale: tuple[float, ...] = ()
    input_mean: tuple[float, ...] = ()
