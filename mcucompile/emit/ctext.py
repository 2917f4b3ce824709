"""Pieces of C text."""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Array

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "float32": "float",
}


def comment(text: str) -> str:
    """`text` made safe for a C comment: ASCII, one line, no comment delimiters or trigraphs."""
    text = text.encode("ascii", "replace").decode().replace("\n", " ")
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?")


def string(text: str) -> str:
    """A C string literal; bytes outside printable ASCII become octal escapes."""
    out = []
    for byte in text.encode():
        char = chr(byte)
        plain = 32 <= byte < 127 and char not in '"\\?'
        out.append(char if plain else f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def integer(value: int) -> str:
    """An int32 literal; INT32_MIN has no literal of its own in C."""
    return "(-2147483647 - 1)" if value == -(2**31) else str(value)


def floating(value: float) -> str:
    """A float literal that reads back as the same float32."""
    text = f"{np.float32(value):.9g}"
    return text + ("f" if any(c in text for c in ".en") else ".0f")


def array(data: Array) -> str:
    """The initializer rows of a one-dimensional array."""
    suffix = "u" if data.dtype == np.uint32 else ""
    per_line = 16 if data.dtype.itemsize == 1 else 8
    if data.dtype == np.float32:
        words = [floating(v) for v in data]
    else:
        words = [integer(int(v)) + suffix for v in data]
    rows = (words[i : i + per_line] for i in range(0, len(words), per_line))
    return ",\n".join("    " + ", ".join(row) for row in rows)
