"""A model whose arena is spread over two memories: host, QEMU, and the board's own image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mcucompile.board import load_board
from mcucompile.compiler import compile_model, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.measure import report
from mcucompile.options import CompileOptions
from mcucompile.reference.integer_interpreter import run_int
from tests.support import zoo
from tests.support.tools import needs, needs_qemu

DIGITS = zoo.ROOT / "examples/digits/digits.onnx"
TWO_RAMS = """
[[ram]]
name = "CCM"
origin = 0x1000_0000
size = 0x0300

[[ram]]
name = "SRAM"
origin = 0x2000_0000
size = 0x2_0000
access_cycles = 2
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The board file of the nano33ble with other memories and no console."""
    text = (zoo.ROOT / "boards/nano33ble.toml").read_text()
    text = re.sub(r"(?m)^(support|console) = .*\n", "", text).split("[[ram]]")[0]
    file = tmp_path_factory.mktemp("board") / "two.toml"
    file.write_text('console = "none"\n' + text + TWO_RAMS)
    return str(file)


@needs("gcc")
@needs_qemu
def test_two_memories(board: str, tmp_path: Path) -> None:
    compiled = compile_model(DIGITS, CompileOptions(board, regions=("all",)))
    plan, name = compiled.plan, compiled.name
    assert [p.memory for p in plan.parts] == ["CCM", "SRAM"]
    shown = report(compiled)["sram"]["regions"]
    assert [r["name"] for r in shown] == ["CCM", "SRAM"]
    assert shown[0]["used_bytes"] == plan.parts[0].region.size <= 0x300

    write_sources(compiled, tmp_path / "model")
    rng = np.random.default_rng(0)
    shape = compiled.graph.value(compiled.graph.inputs[0]).shape
    inputs = [rng.integers(-128, 128, (4, *shape[1:])).astype(np.int8)]
    expected = run_int(compiled.graph, inputs)
    target = load_board(board).with_regions(("all",))
    firmware = build.build_firmware(tmp_path / "model", name, target, plan, tmp_path / "qemu")
    on_host = host.run(tmp_path / "model", name, plan, inputs)
    np.testing.assert_array_equal(on_host[0], expected[0])
    np.testing.assert_array_equal(qemu.run(firmware, inputs).outputs[0], expected[0])

    image = build.build_board_image(tmp_path / "model", name, target, plan, tmp_path / "image")
    sections = build.section_sizes(image.elf)
    assert sections[".arena.CCM"] == plan.parts[0].region.size
    assert sections[".arena"] == plan.parts[1].region.size
