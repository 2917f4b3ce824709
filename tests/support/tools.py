"""Marks for tests that need programs which may be absent."""

from __future__ import annotations

import shutil

import pytest


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip the test unless all `programs` are on PATH."""
    missing = [p for p in programs if shutil.which(p) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


needs_cross = needs("arm-none-eabi-gcc")
needs_qemu = needs("arm-none-eabi-gcc", "qemu-system-arm")
