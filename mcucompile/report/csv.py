"""The steps of a report as CSV, one line each, for spreadsheets and scripts."""

from __future__ import annotations

import csv
import io

from mcucompile.report.build import Report
from mcucompile.report.fit import label

FIELDS = (
    "index",
    "op",
    "onnx_names",
    "kernel",
    "segment",
    "macs",
    "weight_bytes",
    "code_bytes",
    "live_bytes",
    "instructions_estimated",
    "instructions",
    "cycles",
    "cycles_measured",
    "latency_ms",
    "energy_uj_estimated",
    "energy_uj",
    "sqnr_db",
    "sqnr_alone_db",
)


def render_csv(report: Report) -> str:
    """A header and a line per step; what was not measured is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for step in report["steps"]:
        writer.writerow({**step, "onnx_names": label(step)})
    return text.getvalue()
