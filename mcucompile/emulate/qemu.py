"""Runs a firmware image under QEMU: outputs, stack, and exact instruction counts.

Instructions are counted without a plugin. With `-icount shift=7` QEMU's clock advances by exactly
128 ns per executed instruction, and the machine's 25 MHz timer by 3.2 ticks. What reading the timer
costs is measured on an empty interval and subtracted.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mcucompile.emulate import harness, toolchain
from mcucompile.emulate.build import Firmware, with_step_hook
from mcucompile.errors import InternalError
from mcucompile.ir import Array
from mcucompile.progress import growing

TICKS_PER_INSTRUCTION = 3.2
_COUNTING = ("-icount", "shift=7")

# Ten times what a slow machine needs.
_SECONDS_TO_START = 120.0
_SECONDS_PER_SAMPLE, _SECONDS_PER_MAC = 0.5, 1e-6


@dataclass(frozen=True)
class RunResult:
    """outputs: one int8 array (N, ...) per output. stack_bytes: the most that any run used."""

    outputs: list[Array]
    stack_bytes: int


@dataclass(frozen=True)
class Profile:
    """Executed instructions. total: of a whole run without any profiling code in it; it exceeds
    the sum of the steps by what the run function itself does."""

    steps: list[int]
    total: int


def run(firmware: Firmware, inputs: Sequence[Array]) -> RunResult:
    """Run samples through the model. inputs: one int8 array (N, ...) per input.

    Raises ToolchainError if QEMU is missing or too slow, ValidationError MC402 on a fault.
    """
    with tempfile.TemporaryDirectory(prefix="mcucompile-qemu-") as temporary:
        work = Path(temporary)
        samples = harness.write_input(work, firmware.plan, inputs)
        size = samples * sum(region.size for region in firmware.plan.outputs.values())
        with growing(work / "output.bin", "samples under QEMU", size):
            text = execute(firmware, "run", work, samples)
        (stack,) = _numbers(text, "stack")
        if stack > firmware.stack_bytes:
            raise InternalError(f"{stack} bytes of stack used, {firmware.stack_bytes} proved")
        return RunResult(harness.read_outputs(work, firmware.plan, samples), stack)


def dump(firmware: Firmware, inputs: Sequence[Array]) -> list[Array]:
    """Run one sample; returns per step the int8 bytes of all its writes. Raises as run does."""
    with tempfile.TemporaryDirectory(prefix="mcucompile-qemu-") as temporary:
        work = Path(temporary)
        harness.write_input(work, firmware.plan, inputs)
        execute(with_step_hook(firmware), "dump", work)
        return harness.read_steps(work, firmware.plan)


def profile(firmware: Firmware, inputs: Sequence[Array], hooked: Firmware | None = None) -> Profile:
    """Count the instructions of one sample: exact and repeatable. Raises as run does.

    hooked: the firmware with its step hook, where it is already built.
    """
    with tempfile.TemporaryDirectory(prefix="mcucompile-qemu-") as temporary:
        work = Path(temporary)
        harness.write_input(work, firmware.plan, inputs)
        text = execute(firmware, "count", work, extra=_COUNTING)
        (total,), (empty,) = _numbers(text, "total"), _numbers(text, "empty")
        empty_function = 1  # the instruction by which it returns
        whole = _instructions(total) - _instructions(empty) + empty_function
        text = execute(hooked or with_step_hook(firmware), "steps", work, extra=_COUNTING)
        return Profile(_steps(firmware, text), whole)


def command(firmware: Firmware, mode: str) -> list[str | Path]:
    """The command that runs the image in a mode of the harness, in a folder with its input."""
    machine = [toolchain.qemu(), "-M", firmware.board.qemu, "-nographic"]
    machine += ["-monitor", "none", "-serial", "none"]
    machine += ["-semihosting-config", f"enable=on,target=native,arg={mode}"]
    return [*machine, "-kernel", firmware.elf.resolve()]


def execute(
    firmware: Firmware, mode: str, work: Path, samples: int = 1, extra: Sequence[str] = ()
) -> str:
    """Run the image in the folder `work`; returns what it printed. Raises as run does."""
    macs = sum(call.macs for call in firmware.plan.program.calls)
    timeout = _SECONDS_TO_START + samples * (_SECONDS_PER_SAMPLE + macs * _SECONDS_PER_MAC)
    done = toolchain.run([*command(firmware, mode), *extra], work, timeout)
    text = done.stdout + done.stderr
    if done.status != 0:
        why = toolchain.excerpt(_with_function(firmware, text))
        raise harness.stopped(firmware.name, "under QEMU", why)
    return text


def _with_function(firmware: Firmware, text: str) -> str:
    """`text`; the report of a fault in it is completed by the name of the function."""
    fault = re.search(r"fault: pc ([0-9a-f]{8}).*", text)
    if not fault:
        return text
    symbols = toolchain.run([toolchain.binutil("nm"), "--numeric-sort", firmware.elf]).stdout
    name = "no function"
    for address, symbol in re.findall(r"^([0-9a-f]{8}) [tT] (\S+)$", symbols, re.MULTILINE):
        if int(address, 16) <= int(fault[1], 16):
            name = symbol
    return f"{fault[0]} in {name}"


def _steps(firmware: Firmware, text: str) -> list[int]:
    """The instructions of every step, all its calls together."""
    (empty,) = _numbers(text, "empty")
    steps = [0] * len(firmware.plan.steps)
    for step, ticks in re.findall(r"^step (\d+) (\d+)$", text, re.MULTILINE):
        steps[int(step)] += _instructions(int(ticks)) - _instructions(empty)
    return steps


def _numbers(text: str, label: str) -> list[int]:
    """The numbers on the lines `label NUMBER`, in order."""
    return [int(n) for n in re.findall(rf"^{label} (\d+)$", text, re.MULTILINE)]


def _instructions(ticks: int) -> int:
    return round(ticks / TICKS_PER_INSTRUCTION)
