"""What the documents say of the project is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mcucompile import commands, errors
from mcucompile.frontend.node import IMPORTERS
from tests.support.zoo import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/README.md")]


def section(title: str) -> str:
    """The text of README.md under the heading `title`."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in `text`, without the headings."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_operators_of_the_readme_are_those_with_an_importer() -> None:
    commands.ops_text()  # registers the importers
    listed = [
        name.strip()
        for row in rows(section("Supported ONNX operators"))
        for name in row[0].split(",")
    ]
    assert sorted(listed) == sorted(IMPORTERS)


def test_boards_of_the_readme_are_those_that_are_known() -> None:
    said = [line.strip() for line in section("Boards").splitlines() if line.startswith("    ")]
    assert said == [line.strip() for line in commands.boards_text().splitlines()]


def test_exit_codes_of_the_readme_are_those_of_the_errors() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    raised = {k.exit_code for k in kinds if issubclass(k, errors.McuCompileError)}
    assert {int(row[0]) for row in rows(section("Exit codes"))} == raised | {0, 1}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_named_in_documents_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(
        r"`((?:mcucompile|runtime_c|tests|boards|docs|emit|ir|ops|plan|quant|passes|emulate|reference)/[\w./]+\.\w+)`",
        text,
    ):
        assert (ROOT / name).exists() or (ROOT / "mcucompile" / name).exists(), name
