"""The whole pipeline, top to bottom."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import onnx

from mcucompile.board import Board, load_board
from mcucompile.compress.choose import Choice, fit
from mcucompile.compress.forms import Form
from mcucompile.compress.size import flash_bytes
from mcucompile.compress.store import Store, Stored
from mcucompile.emit import EmitOptions, emit
from mcucompile.errors import DoesNotFitError, UsageError
from mcucompile.frontend.import_graph import import_model
from mcucompile.frontend.layout import set_input_layout
from mcucompile.frontend.names import c_identifier
from mcucompile.frontend.onnx_model import load_model
from mcucompile.ir import Graph
from mcucompile.options import CompileOptions
from mcucompile.passes import FLOAT_PASSES, run_passes
from mcucompile.passes.keep_states import keep_states
from mcucompile.passes.prune_channels import prune_channels
from mcucompile.patching import Patches, split_best
from mcucompile.plan.check import check_plan
from mcucompile.plan.memories import Memory
from mcucompile.plan.plan import Plan
from mcucompile.plan.planner import PlanOptions
from mcucompile.planning import plan_graph
from mcucompile.quant.absorb_qdq import absorb_qdq
from mcucompile.quant.border import preprocess, set_border
from mcucompile.quant.float_layers import require_fpu
from mcucompile.quant.post_training import Quantized, post_training_quantization
from mcucompile.quant.tflite import with_rounding

Progress = Callable[[str], None]
Source = str | Path | onnx.ModelProto

RESERVED = 1024  # bytes of RAM for the stack and the statics of a model


@dataclass(frozen=True)
class Planned:
    """A model of which everything is decided, but nothing written.

    source: the file's name, or the model's own if it came from no file. sha256: of the file.
    quantized: with all channels. pruned_graph: without those that nothing depends on. graph: what
    is run: that, with layers fused to save memory, or with what `patches` says cut into patches.
    forms: of weights that were packed, by their names.
    """

    source: str
    model: onnx.ModelProto = field(repr=False)
    sha256: str
    name: str
    board: Board
    options: CompileOptions
    quantized: Quantized
    pruned_graph: Graph
    graph: Graph
    patches: Patches | None
    plan: Plan
    forms: Mapping[str, Form] = field(default_factory=dict)


@dataclass(frozen=True)
class Compilation(Planned):
    """A compiled model with everything that later stages and people ask about.

    files: path -> text of the C sources.
    """

    files: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class _Draft:
    """A quantized model, whose weights are not yet stored. See Planned."""

    source: str
    model: onnx.ModelProto
    sha256: str
    name: str
    board: Board
    options: CompileOptions
    quantized: Quantized


def compile_model(
    source: Source, options: CompileOptions, progress: Progress = lambda text: None
) -> Compilation:
    """ONNX file or model to C sources. Raises McuCompileError subclasses; writes nothing."""
    draft = _draft(source, options, progress, False)
    store = Store(draft.quantized, lambda: _border(draft, draft.quantized), options)
    if not store.is_auto:
        return _compilation(draft, store.stored({}), progress)
    built: dict[tuple[tuple[str, Form], ...], Compilation] = {}

    def size_of(choice: Choice) -> int:
        compilation = _compilation(draft, store.stored(choice), progress)
        built[tuple(choice.items())] = compilation
        return flash_bytes(compilation.files, compilation.name, draft.board, compilation.plan)

    limit = draft.board.flash_bytes
    choice, size = fit(lambda: store.layers, limit, size_of)
    if size > limit:
        raise DoesNotFitError(
            "MC303",
            f"model '{draft.name}'",
            f"cannot be made to fit into {limit:,} bytes of flash",
            f"it needs {size:,} bytes with the weights of all layers as small as they can be",
            "give --flash so many bytes, or take a smaller model",
        )
    return built[tuple(choice.items())]


def plan_model(
    source: Source,
    options: CompileOptions,
    progress: Progress = lambda text: None,
    assume_ranges: bool = False,
) -> Planned:
    """Every decision of `compile_model`, but for what `--weights auto` would choose by building.

    assume_ranges: where a float model would be run on samples to get its ranges, take some; see
    `post_training_quantization`. Raises as `compile_model` does.
    """
    draft = _draft(source, options, progress, assume_ranges)
    store = Store(draft.quantized, lambda: _border(draft, draft.quantized), options)
    return _plan(draft, store.stored({}), progress)


def _draft(
    source: Source, options: CompileOptions, progress: Progress, assume_ranges: bool
) -> _Draft:
    board = load_board(options.board).with_limits(options.ram, options.flash)
    board = board.with_regions(options.regions)
    require_fpu(options, board)
    model = load_model(source)
    title, stem, data = _identity(source, model)
    name = c_identifier(options.name or stem).lower()
    quantized = quantize_model(model, name, options, progress, assume_ranges)
    sha256 = hashlib.sha256(data).hexdigest()
    return _Draft(title, model, sha256, name, board, options, quantized)


def _border(draft: _Draft, quantized: Quantized) -> Graph:
    """The graph with the types of the C API, without channels that nothing depends on."""
    options = draft.options
    graph = set_border(quantized.graph, options.input_type, options.output_type)
    prunes = options.prune_channels and options.requant == "once"
    return prune_channels(graph) if prunes else graph


def _plan(draft: _Draft, stored: Stored, progress: Progress) -> Planned:
    options = draft.options
    pruned = graph = _border(draft, stored.quantized)
    progress("plan")
    target = replace(
        draft.board.target(options.optimize),
        winograd=options.winograd,
        sparse=options.sparse,
        packed=stored.packing,
    )
    plan_options, patches = _plan_options(draft.board, options), None
    if options.schedule == "patch":
        graph, patches = split_best(graph, target, plan_options, options.patches)
    graph, plan = plan_graph(graph, target, plan_options)
    known = {f.name: getattr(draft, f.name) for f in fields(draft)}
    known["quantized"] = stored.quantized
    return Planned(
        **known, pruned_graph=pruned, graph=graph, patches=patches, plan=plan, forms=stored.forms
    )


def _compilation(draft: _Draft, stored: Stored, progress: Progress) -> Compilation:
    p = _plan(draft, stored, progress)
    check_plan(p.plan)
    progress("emit")
    emit_options = EmitOptions(p.name, p.source, p.sha256, p.board.name, p.options.optimize)
    files = emit(p.graph, p.plan, emit_options)
    return Compilation(**{f.name: getattr(p, f.name) for f in fields(p)}, files=files)


def _identity(source: Source, model: onnx.ModelProto) -> tuple[str, str, bytes]:
    """Where a model is from, what it is called, and the bytes that tell it from others."""
    if isinstance(source, onnx.ModelProto):
        name = model.graph.name or "model"
        return name, name, source.SerializeToString(deterministic=True)
    path = Path(source)
    return path.name, path.stem, path.read_bytes()


def quantize_model(
    model: onnx.ModelProto,
    name: str,
    options: CompileOptions,
    progress: Progress,
    assume_ranges: bool = False,
) -> Quantized:
    """The checked `model` in the integers that every later stage keeps. Raises as the stages do.

    assume_ranges: see `post_training_quantization`.
    """
    progress("import")
    graph = absorb_qdq(import_model(model, name, options.dims))
    graph = run_passes(set_input_layout(graph, options.input_layout), FLOAT_PASSES)
    graph = keep_states(graph) if options.stateful else graph
    graph = with_rounding(graph, options.requant)
    graph = preprocess(graph, options.input_type, options.input_scale, options.input_mean)

    progress("quantize")
    return post_training_quantization(model, graph, options, assume_ranges)


def _plan_options(board: Board, options: CompileOptions) -> PlanOptions:
    """The arena may have what the stack and the model's statics leave of the board's RAM."""
    ram = max(board.ram_bytes - RESERVED, 0)
    schedule = "whole" if options.schedule == "patch" else options.schedule
    main = board.main_ram
    return PlanOptions(
        options.optimize,
        ram,
        options.keep_input,
        schedule,
        options.stream_input,
        tuple(
            Memory(m.name, max(m.usable - (RESERVED if m is main else 0), 0)) for m in board.arena
        ),
    )


def write_sources(compilation: Compilation, folder: Path) -> None:
    """Write the C sources to `folder`; see write_files."""
    write_files(compilation.files, folder)


def write_files(files: Mapping[str, str | bytes], folder: Path) -> None:
    """Write {path: contents} below `folder`: all files or, if anything fails, none.

    The files are written to a temporary sibling first and then moved into place. A file that has
    these contents already keeps its time, so that what was built from it is not built again. Raises
    UsageError MC021 if the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            for path, contents in files.items():
                target = staging / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(
                    contents.encode("utf-8") if isinstance(contents, str) else contents
                )
            staging.chmod(0o755)
            if not folder.exists():
                os.replace(staging, folder)
                return
            for path in files:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                if not _same(staging / path, folder / path):
                    os.replace(staging / path, folder / path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise UsageError(
            "MC021",
            f"output folder '{folder}'",
            "cannot be written",
            f"{error.strerror or error}",
            "choose another folder with -o, or change its permissions",
        ) from error


def _same(a: Path, b: Path) -> bool:
    return b.is_file() and a.read_bytes() == b.read_bytes()
