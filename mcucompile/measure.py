"""Builds a compilation with the board's toolchain: its sizes, and its instruction counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mcucompile.compiler import Compilation, Planned, Progress, write_sources
from mcucompile.cost.steps import step_instructions
from mcucompile.emit.boundary import shared_kernels
from mcucompile.emit.constants import weight_bytes
from mcucompile.emulate import build, qemu
from mcucompile.emulate.work import measure_work
from mcucompile.errors import ToolchainError
from mcucompile.ir import Array
from mcucompile.ir.storage import array_dtype
from mcucompile.report.build import Measured, ModelInfo, Report, build_report
from mcucompile.report.quantization import quantization
from mcucompile.report.timing import Profiled

PROFILE_SEED = 2024


def measure(compilation: Compilation, progress: Progress = lambda text: None) -> Measured:
    """Bytes of code, statics and stack on the compilation's board.

    Raises ToolchainError MC501 if the cross compiler is missing.
    """
    progress("build and measure")
    with tempfile.TemporaryDirectory(prefix="mcucompile-") as temporary:
        folder = Path(temporary)
        write_sources(compilation, folder / "model")
        c = compilation
        sizes = build.measure(folder / "model", c.name, c.board, c.plan, folder / "build")
    weights = sum(weight_bytes(c.plan))
    return measured_of(sizes, weights)


def measured_of(sizes: build.Sizes, weights: int) -> Measured:
    """What the report says of `sizes`, of which `weights` bytes are the plan's constants."""
    code = sizes.flash_bytes - weights
    return Measured(code, sizes.stack_bytes, sizes.static_bytes, sizes.functions, sizes.elf)


def measure_if_possible(
    compilation: Compilation, progress: Progress
) -> tuple[Measured, tuple[str, ...]]:
    """As `measure`, or nothing measured and a warning where there is no cross compiler."""
    try:
        return measure(compilation, progress), ()
    except ToolchainError as error:
        if error.id != "MC501":
            raise
        missing = f"code size and stack are unknown: {error.why} ({error.fix})"
        return Measured(), (missing,)


def profile(compilation: Compilation) -> Profiled:
    """Instructions and work of every step for one seeded random input, under QEMU.

    Raises ToolchainError where compiler or QEMU is missing.
    """
    c = compilation
    with tempfile.TemporaryDirectory(prefix="mcucompile-") as temporary:
        folder = Path(temporary)
        write_sources(c, folder / "model")
        firmware = build.build_firmware(
            folder / "model", c.name, c.board, c.plan, folder / "firmware"
        )
        hooked = build.with_step_hook(firmware)
        sample = random_sample(c)
        counted = qemu.profile(firmware, sample, hooked)
        return Profiled(counted.steps, measure_work(hooked, sample), counted.total)


def report(
    compilation: Planned,
    measured: Measured | None = None,
    profiled: Profiled | None = None,
    warnings: tuple[str, ...] = (),
) -> Report:
    """The report of a compilation, or of what is planned, with what was measured of it."""
    c = compilation
    macs = sum(s.call.macs for s in c.plan.steps)
    info = ModelInfo(c.name, c.sha256, macs if c.patches is None else c.patches.macs[0], _params(c))
    return build_report(
        c.graph,
        c.plan,
        c.board,
        info,
        measured,
        profiled,
        (*c.quantized.warnings, *warnings),
        (c.quantized.graph, c.pruned_graph),
        quantization(c.quantized, c.options),
        step_instructions(c.plan, shared_kernels(c.plan, c.options.optimize)),
        c.patches,
        c.forms,
    )


def _params(compilation: Planned) -> int:
    """Numbers in the constants that operators of the quantized graph read."""
    graph = compilation.graph
    used = {v.name: v for op in graph.ops() for v in graph.operands(op) if v.is_constant}
    return sum(v.elements for v in used.values())


def random_sample(compilation: Compilation) -> list[Array]:
    """One seeded random sample: an array (1, ...) per input of the C API."""
    rng = np.random.default_rng(PROFILE_SEED)
    values = [compilation.graph.value(name) for name in compilation.graph.inputs]
    stored = [rng.integers(-128, 128, v.shape).astype(np.int8) for v in values]
    return [
        v.q.dequantize(q) if v.dtype == "float32" else q.view(array_dtype(v))
        for v, q in zip(values, stored, strict=True)
    ]
