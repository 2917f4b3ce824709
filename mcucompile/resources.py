"""Where the data that travels with the package lies, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent


def runtime_dir() -> Path:
    """The include path of the runtime: holds `mcuc/`."""
    return _ROOT / "runtime_c" / "include"


def templates_dir() -> Path:
    return _ROOT / "templates"


def boards_dir() -> Path:
    """Board files (*.toml) and `support/` with the C code of images."""
    return _ROOT / "boards"


def cmake_dir() -> Path:
    return _ROOT / "cmake"
