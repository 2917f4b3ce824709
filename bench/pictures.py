"""The pictures in docs/, made from the code: `python -m bench.pictures` writes them again.

The passes are those that the compiler runs, with their own docstrings; the memory maps are drawn as
in the report's page, of a model that comes with the project.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from mcucompile import estimate
from mcucompile.passes import FLOAT_PASSES, Pass
from mcucompile.report.html import memory_map
from mcucompile.templating import render

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "digits"

# Name of the picture, and the options of the plan that it shows.
MAPS: Mapping[str, Mapping[str, object]] = {
    "whole": {"schedule": "whole"},
    "balanced": {"optimize": "balanced"},
    "ram": {"optimize": "ram"},
}
PASSES = """\
# Passes

Written by `python -m bench.pictures` from `mcucompile.passes.FLOAT_PASSES`. Graphs are float here;
a rule is what a pass does, `before => after`.

```mermaid
flowchart TD
    import(["import"]) --> {first}
{arrows}
    {last} --> quantize(["quantize"])
```
{rules}"""


def pictures() -> dict[Path, str]:
    """All of them: path -> text."""
    folder = ROOT / "docs" / "pictures"
    maps = {folder / f"{name}.svg": _map(options) for name, options in MAPS.items()}
    return {ROOT / "docs" / "passes.md": _passes(), **maps}


def _map(options: Mapping[str, object]) -> str:
    found = estimate(
        EXAMPLE / "digits.onnx", "nano33ble", calibration=EXAMPLE / "calib.npz", **options
    )
    return render("memory_picture.svg.j2", map=memory_map(found.report))


def _passes() -> str:
    names = [f"{number}[{run.__name__}]" for number, run in enumerate(FLOAT_PASSES, 1)]
    arrows = [f"    {a} --> {b}" for a, b in pairwise(names)]
    rules = [_rule(run) for run in dict.fromkeys(FLOAT_PASSES)]
    parts = {"first": names[0], "arrows": "\n".join(arrows), "last": names[-1]}
    return PASSES.format(**parts, rules="".join(rules))


def _rule(run: Pass) -> str:
    text = inspect.cleandoc(run.__doc__ or "")
    numbers = [str(n) for n, other in enumerate(FLOAT_PASSES, 1) if other is run]
    return f"\n## {' and '.join(numbers)}. {run.__name__}\n\n```\n{text}\n```\n"


def main() -> None:
    for path, text in pictures().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
