"""Results of calibration, kept in files that are named after all that they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mcucompile.ir import Array

Ranges = dict[str, tuple[float, float]]


def default_folder() -> Path:
    """`mcucompile` in the user's cache folder, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "mcucompile"


def fingerprint(model: bytes, samples: Sequence[Array], question: str) -> str:
    """SHA-256 of a model, of samples as the model is given them, and of what is asked."""
    digest = hashlib.sha256()
    for part in (model, question.encode()):
        digest.update(f"{len(part)} ".encode() + part)
    for array in samples:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def cached(folder: Path | None, key: str, compute: Callable[[], Ranges]) -> Ranges:
    """The ranges in the file of `key`, or those of `compute`, which are then put there.

    folder: None for no cache. A file that cannot be read is replaced, and a folder that cannot be
    written is done without: the result is the same, only later.
    """
    if folder is None:
        return compute()
    file = folder / f"{key}.json"
    found = _read(file)
    if found is not None:
        return found
    ranges = compute()
    with contextlib.suppress(OSError):
        _write(file, json.dumps(ranges))
    return ranges


def _read(file: Path) -> Ranges | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        ranges = {str(name): (float(lo), float(hi)) for name, (lo, hi) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    whole = all(math.isfinite(lo) and math.isfinite(hi) and lo <= hi for lo, hi in ranges.values())
    return ranges if whole else None


def _write(file: Path, text: str) -> None:
    """All of the file or nothing, whoever reads or writes it at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(name, file)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
