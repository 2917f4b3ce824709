"""What every step executes: instructions by class, cycles of the core, data read from flash.

Two runs under QEMU, neither with a plugin. The first logs every block of instructions that is
executed. A load does not tell where it reads; so the second run stops once at every load that a
step executes, and looks at its address (the stack is RAM and literals are flash without looking).
All executions of that load within that step are taken to read from the same kind of memory: a
kernel reads its constants and its activations through different pointers.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mcucompile.emulate import disassembly, gdb, harness, qemu
from mcucompile.emulate.build import RAM_ORIGIN, Firmware
from mcucompile.emulate.cortex_m4 import TAKEN_BRANCH, Kind, block_cycles
from mcucompile.emulate.trace import LOG, Block, Call, read_calls
from mcucompile.ir import Array
from mcucompile.progress import track

_HOOK = "mcuc_step_hook"
_CYCLES, _FLASH_READS, _TAKEN = "cycles", "flash reads", "taken"


@dataclass(frozen=True)
class Work:
    """What one step executes in an inference.

    instructions: executed, by class; their sum is what `qemu.profile` counts. core_cycles: of a
    Cortex-M4 with memory that makes it never wait. flash_reads: accesses by which the step reads
    data (not instructions) from flash.
    """

    instructions: Mapping[Kind, int]
    taken_branches: int
    core_cycles: int
    flash_reads: int


def measure_work(hooked: Firmware, inputs: Sequence[Array]) -> list[Work]:
    """The work of every step for one sample. Raises as qemu.profile does.

    hooked: a firmware with its step hook (build.with_step_hook).
    """
    calls, steps, flash_loads = _observe(hooked, inputs)
    empty = _counts(calls.pop(), set())  # of a step that does nothing
    together: dict[int, Call] = defaultdict(Call)
    for step, call in zip(steps, calls, strict=True):
        together[step].blocks.update(call.blocks)
        together[step].taken += call.taken
    works = []
    for step in range(len(hooked.plan.steps)):
        counts = _counts(together[step], flash_loads[step])
        for key, number in empty.items():
            counts[key] -= steps.count(step) * number
        works.append(_work(counts))
    return works


def _observe(
    hooked: Firmware, inputs: Sequence[Array]
) -> tuple[list[Call], list[int], Mapping[int, set[int]]]:
    """Every call with the empty one last, their steps, and every step's loads from flash."""
    hook = next(s.address for s in disassembly.symbols(hooked.elf) if s.name == _HOOK)
    with tempfile.TemporaryDirectory(prefix="mcucompile-qemu-") as temporary:
        folder = Path(temporary)
        harness.write_input(folder, hooked.plan, inputs)
        qemu.execute(hooked, "steps", folder, extra=("-d", LOG, "-D", "log"))
        with (folder / "log").open(encoding="utf-8", errors="replace") as log:
            calls = read_calls(log, disassembly.instructions(hooked.elf), hook)
        with gdb.halted_at_reset(qemu.command(hooked, "steps"), folder) as core:
            return calls, *_flash_loads(core, hook, calls)


def _flash_loads(
    core: gdb.Core, hook: int, calls: Sequence[Call]
) -> tuple[list[int], Mapping[int, set[int]]]:
    """The step of every call, and for every step the addresses of its loads from flash."""
    steps: list[int] = []
    from_flash: dict[int, set[int]] = defaultdict(set)
    seen: dict[int, set[int]] = defaultdict(set)
    core.add_breakpoint(hook)
    for call in track(calls[:-1], "reads of flash", len(calls) - 1):
        core.resume()
        step = core.registers()["r0"]
        steps.append(step)
        loads = {i.address: i for block in call.blocks for i in block.instructions if i.words_read}
        from_flash[step].update(a for a, i in loads.items() if i.base == "pc")
        new = {a for a, i in loads.items() if i.base not in ("pc", "sp")} - seen[step]
        seen[step] |= new
        core.step()
        for address in new:
            core.add_breakpoint(address)
        while True:
            core.resume()
            registers = core.registers()
            if registers["pc"] == hook:
                break
            core.remove_breakpoint(registers["pc"])
            if loads[registers["pc"]].address_read(registers) < RAM_ORIGIN:
                from_flash[step].add(registers["pc"])
        core.step()
    return steps, from_flash


def _counts(call: Call, flash_loads: set[int]) -> Counter[str]:
    counts = Counter({_TAKEN: call.taken, _CYCLES: TAKEN_BRANCH * call.taken})
    for block, times in call.blocks.items():
        counts[_CYCLES] += times * block_cycles(block.instructions)
        counts[_FLASH_READS] += times * _reads(block, flash_loads)
        for instruction in block.instructions:
            counts[instruction.kind] += times
    return counts


def _reads(block: Block, loads: Iterable[int]) -> int:
    return sum(i.words_read for i in block.instructions if i.address in loads)


def _work(counts: Mapping[str, int]) -> Work:
    return Work(
        {kind: counts[kind] for kind in Kind},
        counts[_TAKEN],
        counts[_CYCLES],
        counts[_FLASH_READS],
    )
