"""Other forms of the report: page, CSV, comparison, limits, narrow text."""

from __future__ import annotations

import csv
import io
import json
from copy import deepcopy
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mcucompile.board import load_board
from mcucompile.errors import DoesNotFitError, UsageError
from mcucompile.report.accuracy import read_validation, with_validation
from mcucompile.report.compare import compare_text, require_limits
from mcucompile.report.csv import render_csv
from mcucompile.report.figures import significant
from mcucompile.report.html import memory_map, render_html
from mcucompile.report.text import NARROWEST, render_text
from tests.unit.test_report import SCHEMA, report_of

VOID = {"meta", "link", "br", "rect", "line", "path"}


class Page(HTMLParser):
    """Collects text, and complains about tags that do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_is_well_formed_and_says_it_all() -> None:
    report = report_of(instructions=[1000, 2000, 500, 10])
    page = render_html(report)
    words = " ".join(" ".join(Page(page).text).split())
    flash = f"{report['flash']['total_bytes']:,} bytes"
    for expected in ("24,916 bytes", flash, "3,540 instructions", "conv2", "mcuc_mix_s8"):
        assert expected in words
    assert "http" not in page.replace("http-equiv", "")  # nothing comes from a network


def test_names_from_the_model_cannot_become_markup() -> None:
    report = report_of(warnings=("<script>alert(1)</script>",))
    report["steps"][0]["onnx_names"] = ['"><img src=x onerror=alert(2)>']
    report["model"]["name"] = "<b>net"
    page = Page(render_html(report))
    assert not any(name == "onerror" for name, _ in page.attributes)
    assert "<script>alert(1)</script>" in " ".join(page.text)


def test_page_without_measurements_or_steps() -> None:
    assert "not known" in render_html(report_of(measured=None))
    empty = report_of()
    empty["steps"], empty["buffers"] = [], []
    assert memory_map(empty) is None
    Page(render_html(empty))


def test_memory_map_boxes_are_the_buffers() -> None:
    report = report_of()
    shown = memory_map(report)
    assert shown is not None
    assert len(shown.boxes) == len(report["buffers"])
    size = report["sram"]["arena_bytes"]
    heights = [b["end"] - b["offset"] for b in report["buffers"]]
    scale = max(b.height for b in shown.boxes) / max(heights)
    for box, buffer, height in zip(shown.boxes, report["buffers"], heights, strict=True):
        assert box.height == pytest.approx(max(height * scale, 1), abs=0.02)
        assert box.y == pytest.approx(18 + (size - buffer["end"]) * scale, abs=0.02)
        assert f"{height:,} bytes" in box.text
    ends = {(b.x, b.x + b.width) for b in shown.boxes}
    assert max(end for _, end in ends) < shown.width


def test_csv_has_a_line_per_step() -> None:
    report = report_of(instructions=[1000, 2000, 500, 10])
    rows = list(csv.DictReader(io.StringIO(render_csv(report))))
    assert [r["instructions"] for r in rows] == ["1000", "2000", "500", "10"]
    assert [r["onnx_names"] for r in rows] == ["conv1", "conv2", "sum", "fc"]
    unmeasured = csv.DictReader(io.StringIO(render_csv(report_of(measured=None))))
    assert {r["code_bytes"] for r in unmeasured} == {""}


def test_compare_shows_what_changed() -> None:
    before, after = report_of(), report_of()
    assert compare_text(before, after).endswith("no step is different")
    before, after = deepcopy(before), deepcopy(after)
    before["flash"]["total_bytes"], after["flash"]["total_bytes"] = 4000, 4400
    before["steps"][1]["weight_bytes"], after["steps"][1]["weight_bytes"] = 16, 116
    after["steps"][2]["onnx_names"] = ["other"]
    text = compare_text(before, after)
    assert "+400 +10.0%" in text
    assert "Mix conv2: weight_bytes 16 -> 116" in text
    assert "only before  Mix sum" in text
    assert "only after   Mix other" in text


def test_limits() -> None:
    report = report_of(instructions=[1000, 2000, 500, 10])
    require_limits(report)
    flash = report["flash"]["total_bytes"]
    require_limits(report, 24_916, flash, 3_540)
    for limits in ((24_915, None, None), (None, flash - 1, None), (None, None, 3_539)):
        with pytest.raises(DoesNotFitError, match="MC303") as error:
            require_limits(report, *limits)
        assert error.value.code == 4
    with pytest.raises(DoesNotFitError, match="unknown"):
        require_limits(report_of(measured=None), sram=1_000_000)


@pytest.mark.parametrize("width", [20, 60, 80, 96, 150])
def test_text_fits_the_terminal(width: int) -> None:
    report = report_of(instructions=[1000, 2000, 500, 10], warnings=("a long warning " * 9,))
    text = render_text(report, width)
    assert max(map(len, text.splitlines())) <= max(width, NARROWEST)
    assert "24,300" in text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 3, "0"),
        (0.030512, 3, "0.0305"),
        (12.34, 3, "12.3"),
        (999.6, 3, "1,000"),
        (1556.4, 3, "1,560"),
        (107.0, 2, "110"),
        (1.55e9, 2, "1,600,000,000"),
    ],
)
def test_significant_digits(value: float, digits: int, text: str) -> None:
    assert significant(value, digits) == text


def test_energy_is_milliamps_times_volts_times_milliseconds() -> None:
    report = report_of(instructions=[1000, 2000, 500, 10])
    energy = load_board(report["board"]["name"]).energy
    assert energy is not None
    for step in report["steps"]:
        assert step["energy_uj"] == energy.microjoules(step["latency_ms"]) > 0
    assert report["energy_uj"] == energy.microjoules(report["latency_ms"])
    assert energy.source in " ".join(Page(render_html(report)).text)
    rows = list(csv.DictReader(io.StringIO(render_csv(report))))
    assert [float(row["energy_uj"]) for row in rows] == [s["energy_uj"] for s in report["steps"]]
    assert "energy, uJ" in compare_text(report, report)


def test_a_board_of_unknown_energy_says_nothing_of_it() -> None:
    board = replace(load_board("nano33ble"), energy=None)
    report = report_of(board, instructions=[1000, 2000, 500, 10])
    assert report["energy_uj"] is report["steps"][0]["energy_uj"] is None
    assert "uJ" not in render_text(report)
    assert "Energy" not in render_html(report)
    assert "energy" not in compare_text(report, report)


VALIDATION = {
    "model": "net",
    "on": "qemu",
    "samples": 400,
    "mismatches_vs_reference": 0,
    "accuracy_float": 0.9875,
    "accuracy_compiled": 0.99,
    "top1_agreement": 0.9975,
    "cosine": 0.999831,
    "sqnr": 34.72,
    "first_diverging_layer": None,
    "advice": ["more samples"],
}


def _validation(report: dict, **changes: object) -> dict:
    layers = [
        {"name": step["name"], "onnx_names": step["onnx_names"], "sqnr": 20.0 + k, "own": None}
        for k, step in enumerate(report["steps"])
    ]
    return {**VALIDATION, "layers": layers, **changes}


def test_a_validation_in_the_report() -> None:
    report = report_of()
    shown = with_validation(report, _validation(report))
    Draft202012Validator(SCHEMA).validate(shown)
    assert [s["sqnr_db"] for s in shown["steps"]] == [20.0, 21.0, 22.0, 23.0]
    assert {s["sqnr_alone_db"] for s in shown["steps"]} == {None}
    text = render_text(shown)
    assert "validated  400 samples on qemu, equal to the integer reference" in text
    assert "accuracy 99.00%, 98.75% of the original model" in text
    assert "SQNR 34.7 dB, cosine 0.999831" in text
    words = " ".join(" ".join(Page(render_html(shown)).text).split())
    assert "99.00%" in words
    assert "SQNR, dB" in words
    assert "SQNR, dB" not in render_html(report)
    rows = list(csv.DictReader(io.StringIO(render_csv(shown))))
    assert [row["sqnr_db"] for row in rows] == ["20.0", "21.0", "22.0", "23.0"]


def test_a_validation_of_fused_layers_is_found_by_their_nodes() -> None:
    report = report_of()
    validation = _validation(report)
    for layer in validation["layers"]:
        layer["name"] += "_before"
    assert with_validation(report, validation)["steps"][2]["sqnr_db"] == 22.0


def test_a_validation_that_found_a_bug() -> None:
    report = report_of()
    wrong = with_validation(report, _validation(report, mismatches_vs_reference=7))
    assert "7 BYTES WRONG" in render_text(wrong)
    assert "this is a bug" in render_html(wrong)


def test_a_validation_of_something_else(tmp_path: Path) -> None:
    report = report_of()
    with pytest.raises(UsageError, match="MC039"):
        with_validation(report, _validation(report, model="other"))
    for text in ("", "[]", "{}", '{"model": "net"}', json.dumps({**VALIDATION, "layers": [{}]})):
        (tmp_path / "v.json").write_text(text)
        with pytest.raises(UsageError, match="MC039"):
            read_validation(tmp_path / "v.json")
    with pytest.raises(UsageError, match="MC039"):
        read_validation(tmp_path)
    (tmp_path / "v.json").write_text(json.dumps(_validation(report)))
    assert read_validation(tmp_path / "v.json") == _validation(report)


def test_sparse_layers_are_on_the_page() -> None:
    report = report_of()
    layer = {"step": 1, "block": "1x4", "blocks": 640, "kept": 160, "bytes_saved": 1234}
    words = " ".join(" ".join(Page(render_html({**report, "sparsity": [layer]})).text).split())
    assert "Blocks of zero weights" in words
    assert "1x4 160 640 1,234" in words
    assert "Blocks of zero weights" not in render_html(report)
