"""An estimate of executed instructions, without C compiler or emulator."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mcucompile.cost.convolutions import Features
from mcucompile.cost.features import FAMILIES, elementwise, generic
from mcucompile.cost.window import Bands, rows_of
from mcucompile.plan.program import KernelCall

Mode = Literal["whole", "bands", "shared"]
Coefficients = Mapping[str, float]

MODES: tuple[Mode, ...] = ("whole", "bands", "shared")
FILE = Path(__file__).with_name("instructions.toml")
# Of a kernel of which nothing has been measured.
FALLBACK: Coefficients = {"macs": 1.2, "bytes": 4.0, "rows": 20.0, "calls": 100.0}


def instructions(call: KernelCall, rows: int | None = None, specialized: bool = True) -> float:
    """Executed instructions of a Cortex-M4 or M7 for all of `call`, calls and returns included.

    rows: None for all output rows in one call; otherwise they are computed in calls of so many
    rows each, out of rings of rows. A kernel that takes an image as one long row has but one:
    pass the call that has the rows of the image. specialized: in a function of its own with
    constant parameters, rather than in one shared by layers (see emit/boundary.py).

    Fitted to counts under QEMU (`python -m bench --fit-costs`): totals of models are within 5 %,
    single layers mostly within 10 %. A kernel without a fit is estimated from its
    multiply-accumulates and bytes.
    """
    height = rows_of(call)
    step = height if rows is None else min(rows, height)
    mode = mode_of(step < height, specialized)
    coefficients = _coefficients(call.kernel, call.header, mode)
    counts = features(call, Bands(height, step), specialized)
    if not coefficients.keys() <= counts.keys():  # the kernel has been rewritten since
        coefficients, counts = FALLBACK, generic(call, Bands(height, step), specialized)
    return sum(each * counts[name] for name, each in coefficients.items())


def mode_of(in_bands: bool, specialized: bool) -> Mode:
    """The way in which a kernel runs, each of which has coefficients of its own."""
    if not specialized:
        return "shared"
    return "bands" if in_bands else "whole"


def features(call: KernelCall, bands: Bands, specialized: bool) -> Features:
    """What the call does, counted: {feature: count}."""
    walks = elementwise if "step1" in call.params else generic
    family = FAMILIES.get(call.header, walks)
    try:
        return family(call, bands, specialized)
    except KeyError:  # its parameters have changed
        return generic(call, bands, specialized)


def fitted_kernels() -> set[str]:
    """Kernels with coefficients of their own."""
    return {name for name in table() if not name.endswith(".h")}


@lru_cache(1)
def table() -> Mapping[str, Mapping[str, Coefficients]]:
    """Kernel or header -> mode -> {feature: instructions each}."""
    loaded = tomllib.loads(FILE.read_text("utf-8"))
    return {name: modes for name, modes in loaded.items() if name != "compiler"}


def fitted_compiler() -> str:
    """The version of arm-none-eabi-gcc for which the coefficients hold."""
    return str(tomllib.loads(FILE.read_text("utf-8"))["compiler"])


def forget_table() -> None:
    """Read the file again the next time: it has been written."""
    table.cache_clear()
    _coefficients.cache_clear()


@lru_cache(1024)
def _coefficients(kernel: str, header: str, mode: Mode) -> Coefficients:
    """Those of the kernel, else those of all kernels of its header."""
    for name in (kernel, header):
        fits = table().get(name, {})
        if fits:
            return fits.get(mode) or fits.get("whole", FALLBACK)
    return FALLBACK
