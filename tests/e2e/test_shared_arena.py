"""Models of one firmware can share an arena: NAME_ARENA_SIZE bytes of the larger one are enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mcucompile.compiler import Compilation, compile_model, write_sources
from mcucompile.ir import Array
from mcucompile.options import CompileOptions
from mcucompile.reference.integer_interpreter import run_int
from tests.support import models, zoo
from tests.support.ckit import random_inputs
from tests.support.machines import HOST, Machine
from tests.support.qemukit import CORES
from tests.support.tools import needs_qemu

ROUNDS = 3
_ALTERNATELY = """
#include "digits.h"
#include "other.h"
#include "program.h"

void test(void) {
    int8_t *arena = allocate(
        DIGITS_ARENA_SIZE > OTHER_ARENA_SIZE ? DIGITS_ARENA_SIZE : OTHER_ARENA_SIZE);
    digits_context digits;
    other_context other;
    digits_init(&digits, arena);
    other_init(&other, arena);
    for (int i = 0; i < ROUNDS; i++) {
        read_input(digits_input(&digits, 0), (size_t)digits_info.inputs[0].size);
        digits_run(&digits);
        write_output(digits_output(&digits, 0), (size_t)digits_info.outputs[0].size);
        read_input(other_input(&other, 0), (size_t)other_info.inputs[0].size);
        other_run(&other);
        write_output(other_output(&other, 0), (size_t)other_info.outputs[0].size);
    }
    release(0);
}
"""
_AGAIN = """
#include <string.h>
#include "digits.h"
#include "program.h"

void test(void) {
    int8_t *arena = allocate(DIGITS_ARENA_SIZE);
    digits_context digits;
    digits_init(&digits, arena);
    memset(arena, 0x55, DIGITS_ARENA_SIZE);
    read_input(digits_input(&digits, 0), (size_t)digits_info.inputs[0].size);
    for (int i = 0; i < ROUNDS; i++) {
        digits_run(&digits);
        write_output(digits_output(&digits, 0), (size_t)digits_info.outputs[0].size);
    }
    write_output(digits_input(&digits, 0), (size_t)digits_info.inputs[0].size);
    release(0);
}
"""
DIGITS = zoo.ROOT / "examples" / "digits" / "digits.onnx"


def inputs_of(c: Compilation, samples: int) -> Array:
    (array,) = random_inputs(c.graph, samples, np.random.default_rng(2))
    return array


def run(machine: Machine, root: Path, main: str, inputs: bytes) -> bytes:
    """The output of the program `main` with the sources in `root`."""
    (root / "main.c").write_text(main.replace("ROUNDS", str(ROUNDS)))
    (root / "in.bin").write_bytes(inputs)
    machine.build(root, sorted(root.glob("*.c")), root)
    said = machine.run(root)
    assert not said, said
    return (root / "out.bin").read_bytes()


@needs_qemu
@pytest.mark.parametrize("machine", [HOST, CORES[1]], ids=["host", "qemu"])
def test_two_models_run_alternately_in_one_arena(machine: Machine, tmp_path: Path) -> None:
    other = models.save(models.small_cnn(), tmp_path / "other.onnx")
    both = [compile_model(p, CompileOptions("nano33ble", p.stem)) for p in (DIGITS, other)]
    assert both[0].plan.arena_size != both[1].plan.arena_size
    for c in both:
        write_sources(c, tmp_path)
    inputs = [inputs_of(c, ROUNDS) for c in both]
    alone = [run_int(c.graph, [x])[0] for c, x in zip(both, inputs, strict=True)]
    given = b"".join(x[i].tobytes() for i in range(ROUNDS) for x in inputs)
    expected = b"".join(y[i].tobytes() for i in range(ROUNDS) for y in alone)
    assert run(machine, tmp_path, _ALTERNATELY, given) == expected


@pytest.mark.parametrize("schedule", ["auto", "whole", "stream", "patch"])
def test_a_kept_input_can_be_run_again(schedule: str, tmp_path: Path) -> None:
    """Without writing it again, and it is still what it was."""
    options = CompileOptions("nano33ble", "digits", keep_input=True, schedule=schedule)  # type: ignore[arg-type]
    c = compile_model(DIGITS, options)
    write_sources(c, tmp_path)
    x = inputs_of(c, 1)
    expected = run_int(c.quantized.graph, [x])[0].tobytes()
    assert run(HOST, tmp_path, _AGAIN, x.tobytes()) == ROUNDS * expected + x.tobytes()
