"""The HTML report in a real browser: it loads without errors, sorts, and obeys the keyboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from mcucompile import measure
from mcucompile.compiler import compile_model
from mcucompile.options import CompileOptions
from mcucompile.report.html import render_html
from tests.support import zoo

BROWSER = next((b for b in map(shutil.which, ("chromium", "google-chrome")) if b), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="not installed: chromium")
DIGITS = zoo.ROOT / "examples/digits/digits.onnx"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --enable-logging=stderr"
).split()
USE = """<script>
const table = document.querySelector("table.sortable"), found = {};
const column = () => [...table.tBodies[0].rows].map((row) => Number(row.cells[2].dataset.v));
const button = table.tHead.rows[0].cells[2].querySelector("button");
button.click(); found.falling = column();
button.click(); found.rising = column();
found.sorted = table.tHead.rows[0].cells[2].getAttribute("aria-sort");
const boxes = [...document.querySelectorAll("svg rect[tabindex]")];
boxes[0].focus(); found.focused = document.activeElement === boxes[0];
boxes[0].dispatchEvent(new FocusEvent("focus")); // a page in the background gets none of its own
found.shown = document.getElementById("shown").textContent;
found.labels = boxes.map((box) => box.getAttribute("aria-label"));
found.wide = document.documentElement.scrollWidth > window.innerWidth;
document.body.dataset.found = JSON.stringify(found);
</script></body>"""


def page_of(model: Path) -> tuple[dict[str, object], str]:
    report = measure.report(compile_model(model, CompileOptions("nano33ble")))
    return report, render_html(report)


def load(page: str, folder: Path, width: int = 1280) -> dict[str, object]:
    """What the script USE sees. Fails if the page writes anything to the console."""
    file = folder / "report.html"
    file.write_text(page.replace("</body>", USE), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={folder}/profile"]
    command += [f"--window-size={width},900", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    match = re.search(r'data-found="([^"]*)"', done.stdout)
    assert match is not None
    found: dict[str, object] = json.loads(match[1].replace("&quot;", '"').replace("&amp;", "&"))
    return found


@needs_browser
@pytest.mark.parametrize("width", [400, 2560])
def test_page_in_a_browser(tmp_path: Path, width: int) -> None:
    report, page = page_of(DIGITS)
    found = load(page, tmp_path, width)
    macs = [step["macs"] for step in report["steps"]]  # type: ignore[attr-defined]
    assert found["rising"] == sorted(macs)
    assert found["falling"] == sorted(macs, reverse=True)
    assert found["sorted"] == "ascending"
    assert found["focused"] is True
    assert found["labels"][0] == found["shown"]  # type: ignore[index]
    assert len(found["labels"]) == len(report["buffers"])  # type: ignore[arg-type]
    assert found["wide"] is False  # only tables and the map scroll sideways


@zoo.needs_zoo
@needs_browser
def test_largest_model(tmp_path: Path) -> None:
    _, page = page_of(zoo.model("st_ssd_mobilenetv1_025_192_int8qdq"))
    assert len(page.encode()) <= 1_500_000
    load(page, tmp_path)  # the browser itself starts
    begin = time.monotonic()
    load(page, tmp_path)
    assert time.monotonic() - begin < 10  # with the start of the browser, on a busy machine
