"""Bars: what they count, that they are off unless asked for, and what a terminal shows."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.progress import Advance, bars, growing, track
from tests.support.tools import needs_qemu
from tests.support.zoo import ROOT

DIGITS = ROOT / "examples" / "digits"


class Shown:
    """Every bar: its label, how many pieces it has, and how many were done."""

    def __init__(self) -> None:
        self.bars: list[tuple[str, int, list[int]]] = []

    @contextmanager
    def bar(self, label: str, count: int) -> Iterator[Advance]:
        done: list[int] = []
        self.bars.append((label, count, done))
        yield done.append


def test_pieces_are_counted_once_and_work_inside_shows_nothing() -> None:
    shown = Shown()
    with bars(shown.bar):
        for _ in track("abc", "outside", 3):
            assert list(track("xy", "inside", 2)) == ["x", "y"]
        assert list(track("xy", "after", 2)) == ["x", "y"]
        assert list(track("x", "a single one", 1)) == ["x"]
    assert shown.bars == [("outside", 3, [1, 1, 1]), ("after", 2, [1, 1])]
    assert list(track("xy", "nobody asks", 2)) == ["x", "y"]
    assert len(shown.bars) == 2


def test_bars_work_after_a_loop_that_was_left() -> None:
    shown = Shown()
    with bars(shown.bar):
        for _ in track("abc", "left", 3):
            break
        with pytest.raises(ZeroDivisionError):
            sum(1 // x for x in track((1, 0, 1), "failed", 3))
        list(track("ab", "next", 2))
    assert [label for label, _, _ in shown.bars] == ["left", "failed", "next"]


def test_a_file_that_grows(tmp_path: Path) -> None:
    shown, file = Shown(), tmp_path / "out"
    with bars(shown.bar), growing(file, "run", 100):
        time.sleep(0.3)
        file.write_bytes(bytes(40))
        time.sleep(0.5)
        file.write_bytes(bytes(100))
        time.sleep(0.5)
    assert shown.bars == [("run", 100, [40, 60])]
    with growing(file, "run", 100):
        pass


def test_calibration_is_tracked(tmp_path: Path) -> None:
    shown = Shown()
    samples = SampleOptions(f"{DIGITS}/calib.npz:x")
    options = CompileOptions("nano33ble", calibration=samples)
    with bars(shown.bar):
        compile_model(DIGITS / "digits.onnx", options)
    done = {label: (count, sum(pieces)) for label, count, pieces in shown.bars}
    assert done["calibrate"] == (100, 100)
    assert "refine layers" in done
    assert all(count == total for count, total in done.values())


_AT_ONCE = "from mcucompile import cli, cli_progress; cli_progress.DELAY = 0; cli.main()"


def _on_terminal(*args: str) -> str:
    """What `mcucompile ARGS` shows on a terminal that is its stderr."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _AT_ONCE, *args], stdout=subprocess.DEVNULL, stderr=theirs
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            more = os.read(ours, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not more:
            break
        said += more
    os.close(ours)
    assert process.wait() == 0
    return said.decode()


@needs_qemu
def test_a_terminal_shows_bars_with_the_time_that_is_left(tmp_path: Path) -> None:
    model = [str(DIGITS / "digits.onnx"), "-b", "nano33ble", "--calib", f"{DIGITS}/calib.npz"]
    args = ["validate", *model, "--no-calib-cache", "--data", f"{DIGITS}/test.npz", "--on", "qemu"]
    text = _on_terminal(*args)
    assert "calibrate  [" in text
    assert "onnxruntime  [" in text
    assert "%" in text
    assert "[?25h" in text or "100%" in text
    assert _on_terminal(*args, "--quiet") == ""


def test_no_bar_where_stderr_is_no_terminal(tmp_path: Path) -> None:
    args = ["compile", str(DIGITS / "digits.onnx"), "-b", "nano33ble", "-o", str(tmp_path / "o")]
    done = subprocess.run(
        [sys.executable, "-c", _AT_ONCE, *args, "--no-calib-cache"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "[#" not in done.stderr
    assert "calibrate" not in done.stderr
    assert "  quantize\n" in done.stderr
