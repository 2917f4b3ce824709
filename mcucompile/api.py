"""The Python API: compile a model, or only ask what it would cost. See docs/api.md.

Nothing is written unless `Result.write` is called.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from mcucompile import measure
from mcucompile.compiler import (
    RESERVED,
    Planned,
    Progress,
    Source,
    compile_model,
    plan_model,
    write_files,
)
from mcucompile.errors import QuantizationError, UsageError
from mcucompile.lower import CODE_RESERVE
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.package import PackageKind, package_files
from mcucompile.quant.samples import DEFAULT_ARRAY
from mcucompile.report.build import Report
from mcucompile.report.fit import fit_or_raise
from mcucompile.report.html import render_html
from mcucompile.report.text import render_text


def silent(text: str) -> None:
    """Progress for those who do not want to know."""


@dataclass(frozen=True)
class Result:
    """A compiled model, measured with the board's toolchain where that is installed.

    name: prefix of its C symbols. files: {path: text}, the C sources and the report as JSON, text
    and page. report: see docs/report.md. Sizes in bytes; None where there is no cross compiler.
    """

    name: str
    board: str
    files: dict[str, str] = field(repr=False)
    report: Report = field(repr=False)

    @property
    def sram_bytes(self) -> int | None:
        """Arena, stack and statics."""
        return _whole(self.report["sram"]["total_bytes"])

    @property
    def arena_bytes(self) -> int:
        return int(self.report["sram"]["arena_bytes"])

    @property
    def flash_bytes(self) -> int | None:
        """Code and constants."""
        return _whole(self.report["flash"]["total_bytes"])

    @property
    def const_bytes(self) -> int:
        return int(self.report["flash"]["const_bytes"])

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self.report["warnings"])

    def write(self, folder: str | Path) -> None:
        """Write all files below `folder`, or none. Raises UsageError MC021 if that fails."""
        write_files(self.files, Path(folder))


@dataclass(frozen=True)
class Estimate:
    """What a model costs on a board, without a compiler and without running anything.

    arena_bytes: SRAM of activations and scratch, exactly that of the compiled model.
    const_bytes: flash of weights and tables. macs: multiply-accumulates. instructions, cycles,
    latency_ms, energy_uj (microjoules): of one inference, by the cost model of each kernel; no
    energy where the board file does not say what the core takes.
    fits: whether the board has room, with 1 KiB for stack and statics and 48 KiB for code.
    report: as of a compilation, without what only a build tells.
    """

    name: str
    board: str
    arena_bytes: int
    const_bytes: int
    macs: int
    instructions: int
    cycles: int
    latency_ms: float
    energy_uj: float | None
    fits: bool
    report: Report = field(repr=False)


def compile(
    model: Source,
    board: str | Path,
    *,
    package: PackageKind | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Result:
    """The C code of `model` for `board`.

    model: path of an ONNX file, or an onnx.ModelProto. board: a known one, or a board file.
    options: fields of CompileOptions; calibration may also be "FILE[:ARRAY]", an array (samples,
    ...) or {input name: array}. package: as --package. progress: is told what is being done.
    Raises McuCompileError subclasses, of which DoesNotFitError says what is too large for the
    board; TypeError for an option that does not exist.
    """
    with _options(board, options) as checked:
        return build(model, checked, progress, package)


def estimate(model: Source, board: str | Path, **options: Any) -> Estimate:
    """What `model` costs on `board`, for searches of architectures: no C compiler, no QEMU.

    Arguments as of `compile`. The ranges of a float model without calibration samples are assumed
    (see `assumed_ranges`); with them the estimate sees the very integers of the compiled model. A
    model that is too large is no error: `fits` is False. Raises McuCompileError subclasses where
    the model cannot be compiled at all.
    """
    with _options(board, options) as checked:
        return _estimate(_planned(model, checked))


def build(
    model: Source,
    options: CompileOptions,
    progress: Progress = silent,
    package: PackageKind | None = None,
) -> Result:
    """Compile and measure with the board's toolchain if it is there. Raises as `compile`."""
    compilation = compile_model(model, options, progress)
    fit_or_raise(measure.report(compilation))  # what surely does not fit need not be built
    measured, warnings = measure.measure_if_possible(compilation, progress)
    report = measure.report(compilation, measured, None, warnings)
    fit_or_raise(report)
    name = compilation.name
    files = package_files(package, compilation) if package else dict(compilation.files)
    files[f"{name}_report.json"] = json.dumps(report, indent=2) + "\n"
    files[f"{name}_report.txt"] = render_text(report) + "\n"
    files[f"{name}_report.html"] = render_html(report)
    return Result(name, compilation.board.name, files, report)


def _planned(model: Source, options: CompileOptions) -> Planned:
    """The plan, by assumed ranges. In rare models sums leave 32 bits in these; then some noise
    tells what the ranges are."""
    try:
        return plan_model(model, options, assume_ranges=True)
    except QuantizationError:
        return plan_model(model, options)


def _estimate(planned: Planned) -> Estimate:
    report = measure.report(planned)
    sram, flash, board = report["sram"], report["flash"], planned.board
    arena, const = sram["arena_bytes"], flash["const_bytes"]
    return Estimate(
        name=planned.name,
        board=board.name,
        arena_bytes=arena,
        const_bytes=const,
        macs=report["model"]["macs"],
        instructions=report["instructions_estimated"],
        cycles=report["cycles_estimated"],
        latency_ms=report["latency_ms_estimated"],
        energy_uj=report["energy_uj_estimated"],
        fits=arena + RESERVED <= board.ram_bytes and const + CODE_RESERVE <= board.flash_bytes,
        report=report,
    )


@contextmanager
def _options(board: str | Path, given: Mapping[str, Any]) -> Iterator[CompileOptions]:
    """The options; samples in memory are in a file while they are in use."""
    rest = {key: value for key, value in given.items() if key != "calibration"}
    with tempfile.TemporaryDirectory(prefix="mcucompile-") as folder:
        samples = _samples(given.get("calibration"), Path(folder) / "samples.npz")
        options = CompileOptions(board=str(board), calibration=samples, **rest)
        _check(options)
        yield options


def _samples(given: Any, file: Path) -> SampleOptions | None:
    if given is None or isinstance(given, SampleOptions):
        return given
    if isinstance(given, str | Path):
        return SampleOptions(str(given))
    given = given if isinstance(given, Mapping) else {DEFAULT_ARRAY: given}
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in given.items()}
    np.savez(file, **arrays)
    return SampleOptions(str(file))


def _check(options: CompileOptions) -> None:
    """Raise UsageError MC023 where an option is nothing that it may be."""
    hints = get_type_hints(CompileOptions)
    for option in fields(options):
        hint, value = hints[option.name], getattr(options, option.name)
        if not _is_a(value, hint):
            words = _words(hint)
            kind = str(hint).replace("typing.", "").replace("collections.abc.", "")
            raise UsageError(
                "MC023",
                f"option {option.name}",
                f"cannot be {value!r}",
                "it is one of " + ", ".join(repr(w) for w in words) if words else f"it is {kind}",
                "see mcucompile.options.CompileOptions",
            )


def _is_a(value: Any, hint: Any) -> bool:
    """Is `value` of the type that an annotation of CompileOptions says?"""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in args
    if origin in (Union, UnionType):
        return any(_is_a(value, a) for a in args)
    if origin is tuple:
        each = args[:1] * len(value) if isinstance(value, tuple) and args[-1] is ... else args
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_is_a, value, each))
    if origin is not None:  # a Mapping
        return isinstance(value, origin) and all(
            _is_a(k, args[0]) and _is_a(v, args[1]) for k, v in value.items()
        )
    if isinstance(value, bool):
        return hint is bool
    return isinstance(value, (int, float) if hint is float else hint)


def _words(hint: Any) -> tuple[str, ...]:
    """The strings that a Literal, or a union of Literals and nothing else, allows."""
    args = get_args(hint)
    if args and all(isinstance(a, str) for a in args):
        return args
    inner = [_words(a) for a in args]
    return tuple(w for words in inner for w in words) if inner and all(inner) else ()


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
