"""Builds images around a compiled model, and measures the model in them.

Two images per board share the model's compiler flags. The board's own image has its start-up code
and real memory map. The QEMU image runs the test harness on the same core; the harness has memories
of its own there, so that the model alone has to fit into the board's sizes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from mcucompile.board import NO_QEMU, Board
from mcucompile.elf import Elf, read_elf
from mcucompile.emit import ctext
from mcucompile.emulate import harness, toolchain
from mcucompile.emulate.code_size import FunctionSize, function_sizes
from mcucompile.emulate.stack import stack_bound
from mcucompile.errors import BoardError, DoesNotFitError, ErrorGroup, McuCompileError
from mcucompile.memory import linker_name
from mcucompile.plan.plan import Plan
from mcucompile.templating import render

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")

_KIB = 1024
RAM_ORIGIN = 0x2000_0000  # of the QEMU image; below are code and constants
_QEMU_MEMORY = 4096 * _KIB  # at 0 (executable) and at RAM_ORIGIN, on all MPS2 machines
_HARNESS_MEMORY = 256 * _KIB  # of each, for the harness
FLASH_ORIGIN = 1024 * _KIB  # of the model in the QEMU image; aligned, so that the MPU can guard it
_HARNESS_STACK = 16 * _KIB
_UNUSED_STACK = 64  # painted, beyond the bound
_HARNESS_SLACK = 32 + _UNUSED_STACK + 16  # guards around the arena; alignment
_EXCEPTION_FRAME = 104 + 4  # what an exception pushes, with floating-point registers, aligned
_UNLIMITED = 8192 * _KIB  # memory of an image that is only measured

# Without the C library's help: start-up code runs before memory is initialized.
_SUPPORT_FLAGS = ("-std=gnu99", "-Os", "-ffreestanding", "-fno-tree-loop-distribute-patterns")


def model_cflags(board: Board) -> tuple[str, ...]:
    """Compiler flags for generated code on `board`; every figure in reports holds for them.

    gcc's first scheduling pass spills the accumulators of inner loops. Unaligned accesses cost
    cycles everywhere and are faults in some memories.
    """
    code = "-std=c99 -O2 -ffunction-sections -fdata-sections"
    return (*board.cflags, *code.split(), "-fno-schedule-insns", "-mno-unaligned-access")


@dataclass(frozen=True)
class Sizes:
    """Bytes that a model takes on a board, arena not included.

    code_bytes, const_bytes: flash, library functions that the model calls included.
    static_bytes: .data and .bss with one context. stack_bytes: a proved bound for one run.
    functions: those that steps execute; part of code_bytes. elf: the image they were measured in.
    """

    code_bytes: int
    const_bytes: int
    static_bytes: int
    stack_bytes: int
    functions: tuple[FunctionSize, ...]
    elf: Elf = field(compare=False, repr=False)

    @property
    def flash_bytes(self) -> int:
        """Everything that the model puts into flash."""
        return self.code_bytes + self.const_bytes


@dataclass(frozen=True)
class Firmware:
    """A QEMU image: the model in `folder` called `name` with the harness.

    stack_bytes: proved bound on the stack of one run. workdir: objects and linker script.
    """

    elf: Path
    folder: Path
    name: str
    board: Board
    plan: Plan
    workdir: Path
    stack_bytes: int


@dataclass(frozen=True)
class BoardImage:
    """The board's own image: real memory map, vector table at the start of its flash."""

    elf: Path
    sizes: Sizes


@dataclass(frozen=True)
class _Region:
    name: str
    origin: int
    size: int


def build_firmware(folder: Path, name: str, board: Board, plan: Plan, workdir: Path) -> Firmware:
    """Build the QEMU image of the model `name` in `folder`; `workdir` is made where missing.

    Raises ToolchainError if compiler or QEMU is missing or the compiler fails, BoardError MC053 if
    there is no machine with the board's core, and DoesNotFitError MC301 (SRAM) or MC302 (flash) if
    the model exceeds the board's sizes.
    """
    if board.qemu == NO_QEMU:
        raise BoardError(
            "MC053",
            f"board '{board.name}'",
            "cannot be emulated",
            f"there is no QEMU machine for its {board.core} here",
            "run the code on this machine (--on host): it computes the same bits",
        )
    toolchain.qemu()
    return _build_qemu_image(folder, name, board, plan, workdir, ())


def with_step_hook(firmware: Firmware) -> Firmware:
    """The same firmware built so that the harness sees every step of the model."""
    f = firmware
    work = f.workdir / "step_hook"
    return _build_qemu_image(f.folder, f.name, f.board, f.plan, work, ("-DMCUC_STEP_HOOK",))


def build_board_image(
    folder: Path,
    name: str,
    board: Board,
    plan: Plan,
    workdir: Path,
    sample: harness.Sample | None = None,
) -> BoardImage:
    """Build the board's own image: the model on `sample`. Raises as build_firmware does."""
    image = _Image(folder, name, board, plan, workdir)
    image.compile(_board_sources(board), sample=sample)
    regions = _board_regions(board)
    elf = image.link(regions, 0)
    elf = image.link(regions, stack_bound(elf, "Reset_Handler") + _EXCEPTION_FRAME)
    return BoardImage(elf, _sizes(elf, name, plan))


def linker_script(board: Board, stack_bytes: int) -> str:
    """The linker script of a program for `board` that startup.c starts; stack_bytes: of main."""
    title = f"Memory map of {board.title}"
    return _script(board, title, _board_regions(board), stack_bytes)


def measure(folder: Path, name: str, board: Board, plan: Plan, workdir: Path) -> Sizes:
    """The sizes of the model on `board`, whether it fits or not. Raises ToolchainError."""
    image = _Image(folder, name, board, plan, workdir)
    image.compile(_board_sources(board))
    regions = [
        _Region("FLASH", board.main_flash.start, _UNLIMITED),
        _Region("RAM", board.main_ram.start, _UNLIMITED),
    ]
    return _sizes(image.link(regions, 0), name, plan)


def section_sizes(elf: Path) -> dict[str, int]:
    """Section name -> bytes, of every section of `elf`."""
    return {s.name: s.size for s in read_elf(elf).sections}


def _board_regions(board: Board) -> list[_Region]:
    flash, ram = board.main_flash, board.main_ram
    return [_Region("FLASH", flash.start, flash.usable), _Region("RAM", ram.start, ram.usable)]


def _script(
    board: Board, title: str, regions: Sequence[_Region], stack: int, support_stack: int = 0
) -> str:
    return render(
        "linker.ld.j2",
        title=ctext.comment(title),
        regions=regions,
        main=board.main_ram,
        linker_name=linker_name,
        parts=[m for m in board.arena if m is not board.main_ram],
        stack_bytes=-(-stack // 8) * 8,
        support_stack_bytes=support_stack,
    )


def _board_sources(board: Board) -> list[Path]:
    support = harness.support_dir()
    names = ("startup.c", "board_main.c", f"console_{board.console}.c")
    sources = [support / name for name in names]
    return [*sources, board.support] if board.support else sources


def _build_qemu_image(
    folder: Path, name: str, board: Board, plan: Plan, workdir: Path, defines: Sequence[str]
) -> Firmware:
    image = _Image(folder, name, board, plan, workdir)
    support = harness.support_dir()
    sources = [support / f for f in ("startup.c", "strict_core.c", "qemu.c", "harness.c")]
    image.compile(sources, defines)
    most = _QEMU_MEMORY - FLASH_ORIGIN
    ram, flash = RAM_ORIGIN, FLASH_ORIGIN
    regions = [
        _Region("SUPPORT_FLASH", 0, _HARNESS_MEMORY),
        _Region("FLASH", flash, min(board.flash_bytes, most)),
        _Region("RAM", ram, min(board.ram_bytes, most) + _HARNESS_SLACK),
        _Region("SUPPORT_RAM", ram + most + _HARNESS_SLACK, _HARNESS_MEMORY - _HARNESS_SLACK),
    ]
    stack = stack_bound(image.link(regions, 0, _HARNESS_STACK), harness.entry(name, plan))
    elf = image.link(regions, stack + _UNUSED_STACK, _HARNESS_STACK)
    return Firmware(elf, folder, name, board, plan, workdir, stack)


@dataclass(frozen=True)
class _Image:
    """Objects of one image: the model's in workdir/model, the support code's in workdir/support.

    The linker script tells them apart by these folders.
    """

    folder: Path
    name: str
    board: Board
    plan: Plan
    workdir: Path

    def compile(
        self,
        support: Sequence[Path],
        defines: Sequence[str] = (),
        sample: harness.Sample | None = None,
    ) -> None:
        for sub in ("model", "support"):
            (self.workdir / sub).mkdir(parents=True, exist_ok=True)
        harness.write_config(self.workdir, self.name, self.plan)
        harness.write_sample(self.workdir, self.plan, sample)
        flags: list[str | Path] = [
            toolchain.cross_gcc(),
            *defines,
            "-I",
            self.folder.resolve(),
            "-I",
            ".",
        ]
        for_model = [*flags, *model_cflags(self.board), *WARNINGS]
        for_support = [*flags, "-I", harness.support_dir(), *self.board.cflags, *_SUPPORT_FLAGS]
        for_support += [f"-DBOARD_CLOCK_HZ={self.board.clock_hz}u", "-Wall", "-Wextra", "-Werror"]
        jobs: list[list[str | Path]] = []
        for stem in (self.name, f"{self.name}_weights"):
            source = self.folder.resolve() / f"{stem}.c"
            jobs.append([*for_model, "-c", source, "-o", f"model/{stem}.o"])
        for source in support:
            jobs.append([*for_support, "-c", source, "-o", f"support/{source.stem}.o"])
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda job: toolchain.compile_c(job, self.workdir), jobs))

    def link(self, regions: Sequence[_Region], stack: int, support_stack: int = 0) -> Path:
        """Link with `stack` bytes for the model (and for support code without a stack of its own).

        Raises DoesNotFitError if a region overflows.
        """
        title = f"Memory map of {self.name} on {self.board.title}"
        script = _script(self.board, title, regions, stack, support_stack)
        (self.workdir / "link.ld").write_text(script, encoding="utf-8")
        command: list[str | Path] = [toolchain.cross_gcc(), *self.board.cflags, "-nostartfiles"]
        command += ["--specs=nano.specs", "-Wl,--gc-sections", "-T", "link.ld"]
        command += [f"-Wl,-Map={self.name}.map"]
        objects = sorted(p for sub in ("model", "support") for p in self.workdir.glob(f"{sub}/*.o"))
        command += [p.relative_to(self.workdir) for p in objects]
        done = toolchain.run([*command, "-o", f"{self.name}.elf"], self.workdir)
        if done.status != 0:
            raise self._link_error(done.stderr)
        return self.workdir / f"{self.name}.elf"

    def _link_error(self, messages: str) -> McuCompileError:
        overflows = dict(re.findall(r"region `(\w+)' overflowed by (\d+) byte", messages))
        errors: list[McuCompileError] = []
        if "RAM" in overflows:
            why = (
                f"arena, stack and statics exceed its {self.board.ram_bytes:,} bytes by "
                f"{int(overflows['RAM']):,}; the arena alone takes {self.plan.arena_size:,}"
            )
            fix = "compile with -O ram, use a smaller input, or choose a board with more SRAM"
            errors.append(self._does_not_fit("MC301", "SRAM", why, fix))
        if "FLASH" in overflows:
            why = (
                f"code and constants exceed its {self.board.flash_bytes:,} bytes by "
                f"{int(overflows['FLASH']):,}"
            )
            fix = "use a model with fewer weights, or choose a board with more flash"
            errors.append(self._does_not_fit("MC302", "flash", why, fix))
        if errors:
            return ErrorGroup.of(errors)
        return toolchain.compiler_failed(toolchain.CROSS_GCC, messages)

    def _does_not_fit(self, error_id: str, memory: str, why: str, fix: str) -> DoesNotFitError:
        where = f"model '{self.name}' on board '{self.board.name}'"
        return DoesNotFitError(error_id, where, f"does not fit into {memory}", why, fix)


def _sizes(elf: Path, name: str, plan: Plan) -> Sizes:
    image = read_elf(elf)
    return Sizes(
        code_bytes=image.size(".text"),
        const_bytes=image.size(".rodata", ".data"),
        static_bytes=image.size(".data", ".bss"),
        stack_bytes=stack_bound(elf, harness.entry(name, plan)),
        functions=function_sizes(elf, name),
        elf=image,
    )
