"""Every command in README and docs: what it says exists, and the quick ones run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench.__main__ import main as bench
from mcucompile.cli import cli
from tests.e2e.test_docs import DOCUMENTS
from tests.support.tools import needs_qemu
from tests.support.zoo import ROOT

# Of other programs, whose commands are in the documents as well.
FOREIGN = {
    "--update-golden", "--toolchain", "--target", "--build", "--port", "--erase", "--write",
    "--reset", "--fqbn", "--input-file", "--bin", "--load-address", "--magic-num", "--version",
    "--options", "--upgrade", "--quick", "--only", "--gc-sections",
}  # fmt: skip


def _commands(text: str) -> Iterator[str]:
    """Indented lines that begin with a program, continued lines joined, comments cut off."""
    lines = iter(text.splitlines())
    for line in lines:
        found = re.match(r" {4,}(?:\$ )?((?:mcucompile|python -m) .*)", line)
        if not found:
            continue
        command = found[1]
        while command.endswith("\\"):
            command = command[:-1] + next(lines).strip()
        yield re.sub(r"\s+#.*", "", command)


EVERY = sorted({(d.name, c) for d in DOCUMENTS for c in _commands(d.read_text("utf-8"))})
OURS = [(d, c) for d, c in EVERY if c.startswith("mcucompile ")]


def _context(command: str) -> click.Context:
    """What click makes of a command: raises if an option does not exist or has a wrong value."""
    words = shlex.split(command.replace("<name>", "nano33ble"))[1:]
    if words and words[0] not in cli.commands:
        words = ["compile", *words]
    name, *rest = words
    return cli.commands[name].make_context(name, rest)


def test_commands_were_found() -> None:
    names = {c.split()[1] for _, c in OURS}
    assert {"profile", "validate", "image", "report", "quantize"} <= names | {"quantize"}
    assert len(OURS) > 12


@pytest.mark.parametrize(("document", "command"), OURS)
def test_options_of_commands_exist(document: str, command: str) -> None:
    _context(command.split(" > ")[0])


def test_a_wrong_command_would_be_noticed() -> None:
    for command in ("mcucompile report x --htmls y", "mcucompile x.onnx -b b --round up"):
        with pytest.raises(click.UsageError):
            _context(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_options_in_the_text_exist(document: Path) -> None:
    known = {
        name
        for command in (*cli.commands.values(), bench)
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    text = document.read_text("utf-8")
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    used = {o for span in spans for o in re.findall(r"(?<![\w-])--[a-z][a-z-]*", span)}
    assert used - known - FOREIGN - {"--help"} == set()


def _runs(command: str) -> bool:
    """Is all that it needs part of the project?"""
    return "examples/digits/digits.onnx" in command and "cycles.csv" not in command


RUN = sorted({c for _, c in OURS if _runs(c) and "<name>" not in c})


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_commands_of_the_example_run(command: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    words = [sys.executable, "-m", "mcucompile", *shlex.split(command)[1:]]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@needs_qemu
def test_the_session_of_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/report.md, from its first command to its last."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    first = "mcucompile examples/digits/digits.onnx --board nano33ble --calib "
    first += "examples/digits/calib.npz -o build/"
    text = (ROOT / "docs" / "report.md").read_text("utf-8")
    session = [c for c in _commands(text) if "FOLDER" not in c]
    assert len(session) == 6
    for command in (first + "before", first + "digits", *session):
        done = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert "SQNR, dB" in (tmp_path / "digits.html").read_text("utf-8")
    assert (tmp_path / "digits.csv").read_text("utf-8").startswith("index,")


def test_figures_of_the_comparison_are_the_budgets() -> None:
    budgets = tomllib.loads((ROOT / "bench" / "budgets.toml").read_text("utf-8"))["models"]
    text = (ROOT / "docs" / "comparison.md").read_text("utf-8")
    kinds = iter(("instructions", "sram", "flash"))
    rows = 0
    for table in re.findall(r"\| model \|.*?\n\n", text, re.DOTALL):
        kind = next(kinds)
        for name, own in re.findall(r"^\| (\w+) \| ([\d.,]+) \|", table, re.MULTILINE):
            figure = budgets[name][kind]
            wanted = f"{figure / 1e6:.3g}" if kind == "instructions" else f"{figure:,}"
            assert own == wanted, f"{name}, {kind}"
            rows += 1
    assert rows == 17
