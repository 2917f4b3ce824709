"""Emission: a plan becomes the text of C files."""

from mcucompile.emit.model import EmitOptions, emit

__all__ = ["EmitOptions", "emit"]
