"""Runs the generated C on this machine, by default under address and undefined-behaviour
sanitizers and with every assertion of the kernels on."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from mcucompile.emulate import harness, toolchain
from mcucompile.ir import Array
from mcucompile.plan.plan import Plan

_SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_FLAGS = ("-std=c99", "-DMCUC_STEP_HOOK")


def run(
    folder: Path, name: str, plan: Plan, inputs: Sequence[Array], sanitize: bool = True
) -> list[Array]:
    """Run samples through the model in `folder`.

    inputs: one int8 array (N, ...) per input. sanitize: False for speed. Returns one int8 array
    (N, ...) per output. Raises ToolchainError if the compiler is missing or fails, and
    ValidationError MC402 if the code violates an assertion or a rule of C.
    """
    with tempfile.TemporaryDirectory(prefix="mcucompile-host-") as temporary:
        work = Path(temporary)
        samples = _build_and_run(work, "run", folder, name, plan, inputs, sanitize)
        return harness.read_outputs(work, plan, samples)


def dump(folder: Path, name: str, plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """Run one sample; returns per step the int8 bytes of all its writes. Raises as run does."""
    with tempfile.TemporaryDirectory(prefix="mcucompile-host-") as temporary:
        work = Path(temporary)
        _build_and_run(work, "dump", folder, name, plan, inputs, True)
        return harness.read_steps(work, plan)


def _build_and_run(
    work: Path,
    mode: str,
    folder: Path,
    name: str,
    plan: Plan,
    inputs: Sequence[Array],
    sanitize: bool,
) -> int:
    """Returns the number of samples."""
    harness.write_config(work, name, plan)
    samples = harness.write_input(work, plan, inputs)
    support = harness.support_dir()
    sources = [folder / f"{name}.c", folder / f"{name}_weights.c"]
    sources += [support / "harness.c", support / "host.c"]
    flags = (*_SANITIZED, "-DMCUC_DEBUG") if sanitize else ("-O2",)
    command = [toolchain.host_cc(), *_FLAGS, *flags, "-I", work, "-I", folder.resolve()]
    command += ["-I", support, *(s.resolve() for s in sources), "-o", "harness"]
    toolchain.compile_c(command, work)
    done = toolchain.run([work / "harness", mode], work)
    if done.status != 0:
        raise harness.stopped(name, "on the host", toolchain.excerpt(done.stderr))
    return samples
