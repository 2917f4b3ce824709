"""What each command of the command line does, as functions that return text and data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcucompile import measure
from mcucompile.api import build
from mcucompile.board import known_boards, load_board
from mcucompile.compiler import Progress, compile_model, quantize_model
from mcucompile.elf import read_elf
from mcucompile.emulate.build import linker_script
from mcucompile.errors import UsageError
from mcucompile.export import qdq_model
from mcucompile.frontend.names import c_identifier
from mcucompile.frontend.node import IMPORTERS
from mcucompile.frontend.onnx_model import load_model
from mcucompile.image import write_image
from mcucompile.layer_errors import DIVERGES, worst
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.package import PackageKind
from mcucompile.quant.samples import load_samples
from mcucompile.report.build import Report, check_version
from mcucompile.report.fit import fit_or_raise
from mcucompile.report.linked import Comparison, compare_with, comparison_text
from mcucompile.report.measured_cycles import read_cycles, with_measured
from mcucompile.report.quantization import gain_text
from mcucompile.validate import Validation, Where, require_exact, validate


@dataclass(frozen=True)
class ValidateResult:
    report: Report
    validation: Validation

    @property
    def content(self) -> dict[str, Any]:
        return self.validation.as_json()

    @property
    def text(self) -> str:
        return validation_text(self.validation)

    def require_exact(self) -> None:
        require_exact(self.validation)


def echo_warnings(warnings: Iterable[str], echo: Callable[[str], None]) -> None:
    """Show warnings in a frame that nobody can miss."""
    for warning in warnings:
        bar = "!" * 78
        echo(f"{bar}\n! WARNING: {warning}\n{bar}")


def compile_to_folder(
    model: Path,
    options: CompileOptions,
    output: Path | None,
    progress: Progress,
    package: PackageKind | None = None,
) -> Report:
    """Compile, measure with the board's toolchain if it is there, write folder and report.

    package: the form of the folder; None for plain sources. Raises DoesNotFitError before anything
    is written.
    """
    result = build(model, options, progress, package)
    folder = output or Path("build") / result.name
    result.write(folder)
    progress(f"wrote {folder}")
    return result.report


def write_qdq(
    model: Path, options: CompileOptions, output: Path | None, progress: Progress
) -> list[str]:
    """Quantize and write the integers as QDQ ONNX; returns the warnings.

    Raises what `qdq_model` raises, and UsageError MC022 if the file cannot be written.
    """
    proto = load_model(model)
    quantized = quantize_model(proto, c_identifier(model.stem), options, progress)
    content = qdq_model(quantized.graph).SerializeToString(deterministic=True)
    file = output or Path("build") / f"{model.stem}_qdq.onnx"
    write_file("-o", file, content)
    progress(f"wrote {file}")
    return list(quantized.warnings)


def write_file(option: str, file: Path, content: bytes) -> None:
    """Write what `option` asks for. Raises UsageError MC022 if it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(
            "MC022",
            f"file '{file}'",
            "cannot be written",
            error.strerror or str(error),
            f"choose another path for {option}",
        ) from error


def validate_model(
    model: Path,
    options: CompileOptions,
    data: SampleOptions,
    labels: str | None,
    where: Where,
    progress: Progress,
    each_step: bool = False,
) -> ValidateResult:
    """Compile and validate on `data`; see validate.validate."""
    compilation = compile_model(model, options, progress)
    samples = load_samples(data, compilation.graph.input_ports, labels)
    validation = validate(compilation, samples, where, progress, each_step)
    return ValidateResult(measure.report(compilation), validation)


def profile_model(
    model: Path, options: CompileOptions, progress: Progress, cycles: Path | None = None
) -> Report:
    """Compile and count instructions per step under QEMU; the report has them.

    cycles: a file of those that hardware takes, see measured_cycles.read_cycles.
    """
    compilation = compile_model(model, options, progress)
    measured_cycles = None if cycles is None else read_cycles(cycles, len(compilation.plan.steps))
    measured = measure.measure(compilation, progress)
    fit_or_raise(measure.report(compilation, measured))
    progress("profile under QEMU")
    report = measure.report(compilation, measured, measure.profile(compilation))
    return report if measured_cycles is None else with_measured(report, measured_cycles)


def build_image(
    model: Path, options: CompileOptions, output: Path | None, progress: Progress
) -> tuple[Report, str]:
    """Compile and write the board's own image; returns the report, and what was written."""
    compilation = compile_model(model, options, progress)
    fit_or_raise(measure.report(compilation))
    folder = output or Path("build") / compilation.name
    return write_image(compilation, folder, progress)


def read_report(path: Path) -> Report:
    """A report file, or the only report in a folder. Raises UsageError MC031 if there is none."""
    file = _report_file(path)
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        check_version(report)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "MC031",
            f"report '{file}'",
            "cannot be read",
            f"{type(error).__name__}: {error}",
            "give a folder written by mcucompile, or its *_report.json",
        ) from error
    return Report(report)


def elf_text(report: Report, firmware: Path) -> tuple[Comparison, str]:
    """The model of `report` beside what the linker made of it; raises as linked.compare_with."""
    comparison = compare_with(report, read_elf(firmware))
    return comparison, comparison_text(report, comparison)


def boards_text() -> str:
    """One line per known board."""
    lines = []
    for name in known_boards():
        b = load_board(name)
        lines.append(
            f"{b.name:15} {b.title}: {b.core} at {b.clock_hz // 1_000_000} MHz, "
            f"{b.flash_bytes // 1024} KiB flash, {b.ram_bytes // 1024} KiB SRAM"
        )
    return "\n".join(lines)


def linker_script_text(board: str, stack_bytes: int) -> str:
    """The linker script of a program for `board`; see build.linker_script."""
    return linker_script(load_board(board), stack_bytes)


def ops_text() -> str:
    """The ONNX operators with an importer, in columns."""
    import mcucompile.ops  # noqa: F401  registers the importers

    names = sorted(IMPORTERS)
    width = max(len(n) for n in names) + 2
    rows = [names[i : i + 4] for i in range(0, len(names), 4)]
    return "\n".join("".join(n.ljust(width) for n in row).rstrip() for row in rows)


def validation_text(v: Validation) -> str:
    """A validation as lines of text."""
    lines = [
        f"model            {v.model} for {v.board}, on {v.on}",
        f"samples          {v.samples}",
        f"mismatches       {v.mismatches_vs_reference} bytes against the integer reference",
    ]
    if v.first_diverging_step is not None:
        lines.append(f"first diverging  step {v.first_diverging_step}")
    if v.accuracy_compiled is not None and v.accuracy_float is not None:
        lines.append(f"accuracy         {v.accuracy_compiled:.2%} compiled")
        lines.append(f"                 {v.accuracy_float:.2%} original model in onnxruntime")
    if v.top1_agreement is not None:
        lines.append(f"top-1 agreement  {v.top1_agreement:.2%} with onnxruntime")
    lines.append(f"max error        {v.max_abs_error:.6g} against onnxruntime")
    noise = f"{v.cosine:.6f} with onnxruntime, SQNR {_decibels(v.sqnr)}"
    lines.append(f"cosine           {noise}")
    if v.precision_gain is not None:
        lines.append(f"precision gain   {gain_text(v.precision_gain)}")
    if v.stack_bytes is not None:
        lines.append(f"stack            {v.stack_bytes} bytes measured")
    return "\n".join([*lines, *_layer_lines(v), *_step_lines(v)])


def _layer_lines(v: Validation) -> list[str]:
    """The noisiest layers, the first that diverges, and what to try."""
    lines = ["noisiest layers  alone, and in the quantized model"]
    for e in worst(v.layers):
        names = ", ".join(e.onnx_names)
        lines.append(f"  {_decibels(e.own):>12}  {_decibels(e.sqnr):>8}  {e.op} {names}")
    if v.first_diverging_layer is not None:
        lines.append(f"first layer      below {DIVERGES:g} dB: {v.first_diverging_layer}")
    if v.is_doubtful:
        head = "to try           "
        for tip in v.advice:
            lines.append(head + tip)
            head = " " * len(head)
    return lines


def _step_lines(v: Validation) -> list[str]:
    """Every step: what quantization loses in it, and whether the C code computes it right."""
    if not v.steps:
        return []
    noise = {e.name: e for e in v.layers} | {e.onnx_names: e for e in v.layers}
    lines = ["step        alone  in the model       host       qemu"]
    for s in v.steps:
        e = noise.get(s.name) or noise.get(s.onnx_names)
        known = ("", "") if e is None else (_decibels(e.own), _decibels(e.sqnr))
        lines.append(
            f"{s.index:4} {known[0]:>12} {known[1]:>13} {_equal(s.host):>10} {_equal(s.qemu):>10}"
            f"  {s.op} {', '.join(s.onnx_names)}"
        )
    wrong = next((s for s in v.steps if s.is_wrong), None)
    if wrong is not None:
        lines.append(f"A BUG of mcucompile: the C code of step {wrong.index} is wrong")
    else:
        lines.append("no bug: the C code is the integer reference in every step of this sample; ")
        lines[-1] += "what is lost, quantization has lost"
    return lines


def _equal(differing: int | None) -> str:
    if differing is None:
        return "not run"
    return "equal" if differing == 0 else f"{differing:,} wrong"


def _decibels(ratio: float | None) -> str:
    return "no noise" if ratio is None else f"{ratio:.1f} dB"


def _report_file(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = sorted(path.glob("*_report.json"))
    if len(found) == 1:
        return found[0]
    raise UsageError(
        "MC032",
        f"folder '{path}'",
        "is not a compiled model",
        f"it holds {len(found)} files named *_report.json",
        "give the report file itself",
    )
