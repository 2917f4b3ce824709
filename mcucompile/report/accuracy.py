"""What quantization costs: a validation's figures in the report of the same model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcucompile.errors import UsageError
from mcucompile.report.figures import significant

Report = dict[str, Any]

FIGURES = (
    "on",
    "samples",
    "mismatches_vs_reference",
    "accuracy_float",
    "accuracy_compiled",
    "top1_agreement",
    "cosine",
    "sqnr",
    "first_diverging_layer",
    "advice",
)
UNKNOWN: Mapping[str, None] = {"sqnr_db": None, "sqnr_alone_db": None}


def read_validation(path: Path) -> Report:
    """What `mcucompile validate --json` has written. Raises UsageError MC039 if it is not that."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for key in ("model", "layers", *FIGURES):
            found[key]
        for layer in found["layers"]:
            layer["name"], layer["onnx_names"], layer["sqnr"], layer["own"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "MC039",
            f"validation '{path}'",
            "cannot be read",
            f"{type(error).__name__}: {error}",
            "give what `mcucompile validate --json FILE` has written",
        ) from error
    return dict(found)


def with_validation(report: Report, validation: Report) -> Report:
    """`report` with the figures of `validation`, and with the noise of the layers in its steps.

    A step is known by its operator or, where that was fused or cut into patches, by the ONNX nodes
    it came from. Raises UsageError MC039 if the validation is of another model.
    """
    if validation["model"] != report["model"]["name"]:
        raise UsageError(
            "MC039",
            f"validation of '{validation['model']}'",
            "does not go with this report",
            f"it is of '{report['model']['name']}'",
            "give the validation of the same model",
        )
    by_nodes = {tuple(layer["onnx_names"]): layer for layer in validation["layers"]}
    by_name = {layer["name"]: layer for layer in validation["layers"]}
    steps = []
    for step in report["steps"]:
        layer = by_name.get(step["name"]) or by_nodes.get(tuple(step["onnx_names"]))
        noise = dict(UNKNOWN)
        if layer is not None:
            noise = {"sqnr_db": layer["sqnr"], "sqnr_alone_db": layer["own"]}
        steps.append({**step, **noise})
    return {**report, "steps": steps, "validation": {key: validation[key] for key in FIGURES}}


def validation_lines(validation: Report | None) -> list[str]:
    """The same for people, as lines of the summary."""
    if validation is None:
        return []
    v = validation
    wrong = v["mismatches_vs_reference"]
    exact = "equal to the integer reference" if not wrong else f"{wrong:,} BYTES WRONG"
    lines = [f"validated  {v['samples']:,} samples on {v['on']}, {exact}"]
    if v["accuracy_compiled"] is not None:
        share = f"{v['accuracy_compiled']:.2%}, {v['accuracy_float']:.2%} of the original model"
        lines.append(f"           accuracy {share}")
    noise = "no noise" if v["sqnr"] is None else f"SQNR {significant(v['sqnr'])} dB"
    lines.append(f"           {noise}, cosine {v['cosine']:.6f}")
    return lines
