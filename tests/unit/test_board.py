"""Board files: what they say, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcucompile import resources
from mcucompile.board import known_boards, load_board
from mcucompile.errors import BoardError

GOOD = """
name = "mine"
title = "My board"
core = "cortex-m4"
fpu = "none"
clock_hz = 1_000_000
flash_wait_states = 2
console = "none"
qemu = "mps2-an386"
[[flash]]
name = "flash"
origin = 0
size = 0x8000
reserved = 0x1000
[[ram]]
name = "high"
origin = 0x2000_1000
size = 0x1000
[[ram]]
name = "low"
origin = 0x2000_0000
size = 0x1000
[[ram]]
name = "far"
origin = 0x3000_0000
size = 0x1800
"""

ENERGY = """
[energy]
active_milliamps = 1.5
volts = 3.0
source = "a meter"
"""


def _load(tmp_path: Path, text: str) -> BoardError | None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    try:
        load_board(str(file))
    except BoardError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("name", "core", "clock_hz", "flash", "ram"),
    [
        ("stm32f746", "cortex-m7", 216_000_000, (0x08000000, 1 << 20), (0x20000000, 320 << 10)),
        ("nano33ble", "cortex-m4", 64_000_000, (0x10000, 0xF0000), (0x20000000, 256 << 10)),
        ("sparkfun-edge", "cortex-m4", 48_000_000, (0xC000, 0xF4000), (0x10000000, 384 << 10)),
    ],
)
def test_known_board(
    name: str, core: str, clock_hz: int, flash: tuple[int, int], ram: tuple[int, int]
) -> None:
    board = load_board(name)
    assert (board.name, board.core, board.clock_hz) == (name, core, clock_hz)
    assert (board.main_flash.start, board.flash_bytes) == flash
    assert (board.main_ram.start, board.ram_bytes) == ram
    assert board.target("ram").dsp
    assert board.target("ram").optimize == "ram"


def test_the_three_boards_are_known() -> None:
    assert known_boards() == ("nano33ble", "sparkfun-edge", "stm32f746")
    for name in known_boards():
        assert (resources.boards_dir() / f"{name}.toml").is_file()


def test_flags_follow_from_core_and_fpu() -> None:
    hard = "-mcpu=cortex-m7 -mthumb -mfpu=fpv5-sp-d16 -mfloat-abi=hard"
    assert " ".join(load_board("stm32f746").cflags) == hard
    hard = "-mcpu=cortex-m4 -mthumb -mfpu=fpv4-sp-d16 -mfloat-abi=hard"
    assert " ".join(load_board("nano33ble").cflags) == hard


def test_board_file(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD) is None
    board = load_board(str(tmp_path / "mine.toml"))
    assert " ".join(board.cflags) == "-mcpu=cortex-m4 -mthumb -mfloat-abi=soft"
    assert board.flash_bytes == 0x7000
    assert board.main_ram.name == "low+high"  # neighbours count as one, whatever their order
    assert board.ram_bytes == 0x2000


def test_energy(tmp_path: Path) -> None:
    assert _load(tmp_path, GOOD) is None
    assert load_board(str(tmp_path / "mine.toml")).energy is None
    assert _load(tmp_path, GOOD.replace("[[flash]]", f"{ENERGY}[[flash]]", 1)) is None
    energy = load_board(str(tmp_path / "mine.toml")).energy
    assert energy is not None
    assert energy.microjoules(2.0) == 9.0  # 1.5 mA x 3 V x 2 ms
    assert energy.picojoules_per_cycle(1_000_000) == 4500.0


@pytest.mark.parametrize(
    ("name", "picojoules"), [("nano33ble", 156), ("stm32f746", 1558.3), ("sparkfun-edge", 19.8)]
)
def test_energy_of_the_known_boards(name: str, picojoules: float) -> None:
    board = load_board(name)
    assert board.energy is not None
    assert board.energy.picojoules_per_cycle(board.clock_hz) == pytest.approx(picojoules, rel=1e-4)
    assert "check for your board" in board.energy.source


def test_limits_replace_sizes() -> None:
    board = load_board("nano33ble").with_limits(ram=1000, flash=None)
    assert board.ram_bytes == 1000
    assert board.flash_bytes == 0xF0000
    assert board.main_ram.usable == 256 << 10


@pytest.mark.parametrize(("name", "near"), [("stm32f764", "stm32f746"), ("nano33", "nano33ble")])
def test_unknown_board_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(BoardError) as caught:
        load_board(name)
    assert caught.value.id == "MC051"
    assert f"did you mean {near}?" in caught.value.fix
    assert "nano33ble, sparkfun-edge, stm32f746" in caught.value.why


def test_board_without_neighbours() -> None:
    with pytest.raises(BoardError) as caught:
        load_board("zzz")
    assert caught.value.fix == "give one of these, or the path of a board file (.toml)"


def test_missing_board_file() -> None:
    with pytest.raises(BoardError) as caught:
        load_board("nowhere/board.toml")
    assert caught.value.id == "MC051"
    assert caught.value.why == "No such file or directory"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("fpu =", "fqu =", "unknown key 'fqu'"),
        ("reserved", "reserve", "[[flash]] has an unknown key 'reserve'"),
        ('title = "My board"\n', "", "the file lacks title"),
        ("size = 0x8000\n", "", "[[flash]] lacks size"),
        ("clock_hz = 1_000_000", 'clock_hz = "fast"', "clock_hz in the file must be an integer"),
        ("clock_hz = 1_000_000", "clock_hz = true", "clock_hz in the file must be an integer"),
        ("clock_hz = 1_000_000", "clock_hz = 0", "clock_hz must be positive"),
        ("states = 2", "states = -1", "flash_wait_states must not be negative"),
        ("cortex-m4", "cortex-m9", "core 'cortex-m9' is none of cortex-m0plus, cortex-m3"),
        ('fpu = "none"', 'fpu = "fpv5-sp-d16"', "fpu 'fpv5-sp-d16' does not go with this core"),
        ("mps2-an386", "mps2-an500", "qemu 'mps2-an500' does not go with this core"),
        ('console = "none"', 'console = "lcd"', "console 'lcd'"),
        ('console = "none"', 'console = "uart"', "console 'uart' needs support"),
        ('console = "none"', 'console = "none"\nsupport = "my.c"', "my.c' (support)"),
        ("reserved = 0x1000", "reserved = 0x8000", "[[flash]] 'flash' has no usable bytes"),
        ("reserved = 0x1000", "reserved = 0x1004", "does not start at a multiple of 128 bytes"),
        ("origin = 0x2000_1000", "origin = 0x2000_0800", "'low' and 'high' overlap"),
        ("[[flash]]", "[flash]", "flash in the file must be an array of tables"),
        ("[[flash]]", "flash = []\n[[rom]]", "unknown key 'rom'"),
        ("core =", "core", "it is not TOML"),
        (
            "[[flash]]",
            "[energy]\nvolts = 3\n[[flash]]",
            "must have active_milliamps, volts, source",
        ),
        ("[[flash]]", "energy = 3\n[[flash]]", "energy in the file must be a table"),
        *(
            ("[[flash]]", f"{ENERGY.replace(old, new)}[[flash]]", why)
            for old, new, why in (
                ("3.0", "0", "volts in [energy] must be a positive number, not 0"),
                ("1.5", "nan", "active_milliamps in [energy] must be a positive number, not nan"),
                ("1.5", "true", "active_milliamps in [energy] must be a positive number"),
                ('"a meter"', '""', "source in [energy] must say where"),
                ("source", "origin", "must have active_milliamps, volts, source"),
            )
        ),
    ],
)
def test_wrong_board_file(old: str, new: str, why: str, tmp_path: Path) -> None:
    assert old in GOOD
    error = _load(tmp_path, GOOD.replace(old, new, 1))
    assert error is not None
    assert error.id == "MC052"
    assert error.exit_code == 2
    assert why in error.why
