"""Every kernel on random cases: its bytes must be those of the integer reference.

A failure names its case; `case(family, number)` of families.py makes it again.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from mcucompile import resources
from mcucompile.lower import lower
from mcucompile.plan.program import Target
from tests.fuzz.families import FAMILIES, case
from tests.support.ckit import check_graphs
from tests.support.kernelkit import KernelProgram
from tests.support.machines import HOST, HOST_UNOPTIMIZED
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs, needs_qemu

MANY_ON_A_CORE = 300  # cases of each family
BATCH = 500  # cases whose data is in memory at the same time

on_each_core = pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
of_each_family = pytest.mark.parametrize("family", FAMILIES)


@of_each_family
def test_on_the_host(family: str, tmp_path: Path) -> None:
    KernelProgram(HOST_UNOPTIMIZED, tmp_path).check([case(family, i) for i in range(40)])


@needs_qemu
@on_each_core
def test_on_a_core(core: Core, tmp_path: Path) -> None:
    cases = [case(family, i) for family in FAMILIES for i in range(12)]
    KernelProgram(core, tmp_path).check(cases)


@needs_qemu
@on_each_core
def test_with_constant_parameters(core: Core) -> None:
    """As models have them, in functions per layer."""
    graphs = [case(family, i).graph for family in FAMILIES for i in range(3)]
    check_graphs(graphs, machine=Core(core.board, {"winograd": True}))


@needs("gcc")
def test_every_kernel_is_reached() -> None:
    """The cases keep up with the runtime. Its headers make some kernels by macros."""
    include = resources.runtime_dir()
    headers = sorted(str(p.relative_to(include)) for p in include.glob("mcuc/*.h"))
    text = "".join(f'#include "{header}"\n' for header in headers)
    gcc = ["gcc", "-std=c99", "-E", f"-I{include}", "-"]
    code = subprocess.run(gcc, input=text, capture_output=True, text=True, check=True).stdout
    kernels = set(re.findall(r"\bvoid (mcuc_\w+_(?:s8|s16|b1|f32))\(const \1_params \*", code))
    assert len(kernels) > 20
    cases = (case(family, i) for family in FAMILIES for i in range(MANY_ON_A_CORE))
    calls = [lower(c.graph, Target(**c.wishes)).calls[0] for c in cases]
    calls += [call.folding for call in calls if call.folding is not None]
    assert kernels - {call.kernel for call in calls} == set()


@pytest.mark.slow
@of_each_family
def test_many_on_the_host(family: str, tmp_path: Path) -> None:
    program = KernelProgram(HOST, tmp_path)
    for start in range(0, 10_000, BATCH):
        program.check([case(family, i) for i in range(start, start + BATCH)])


@pytest.mark.slow
@needs_qemu
@on_each_core
@of_each_family
def test_many_on_a_core(family: str, core: Core, tmp_path: Path) -> None:
    KernelProgram(core, tmp_path).check([case(family, i) for i in range(MANY_ON_A_CORE)])
