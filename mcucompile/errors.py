"""Every error a person can meet: where it is, what is wrong, why, and what to do about it.

The library raises, `cli.py` renders. Each class has one exit code; each raise site has a stable
id of the form `MC101`, by which documentation and scripts can refer to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass
class McuCompileError(Exception):
    """Base of all errors that are the input's or the environment's doing, never ours.

    id: stable identifier, `MC` and three digits.
    where: the thing concerned: a node, a file, an option.
    what: what cannot be done with it.
    why: the reason, in one sentence.
    fix: what a person can do.
    """

    id: str
    where: str
    what: str
    why: str
    fix: str
    exit_code: ClassVar[int] = 2

    @property
    def code(self) -> int:
        """The exit code of the process."""
        return self.exit_code

    def __str__(self) -> str:
        head = f"error {self.id}: {self.where} {self.what}".rstrip()
        return f"{head}\n  why: {self.why}\n  fix: {self.fix}"


class UsageError(McuCompileError):
    """A file, array or option is missing or malformed. Ids MC0xx."""

    exit_code = 2


class BoardError(UsageError):
    """An unknown board, or a board file that is wrong. Ids MC05x."""


class UnsupportedModelError(McuCompileError):
    """The model is not valid ONNX, or holds something that cannot be compiled. Ids MC1xx."""

    exit_code = 3


class QuantizationError(McuCompileError):
    """The model cannot be computed within the number contract. Ids MC2xx."""

    exit_code = 3


class DoesNotFitError(McuCompileError):
    """The model needs more SRAM or flash than the board has. Ids MC3xx."""

    exit_code = 4


class ValidationError(McuCompileError):
    """The compiled code does not do what the reference does. Ids MC4xx."""

    exit_code = 5


class ToolchainError(McuCompileError):
    """A compiler or emulator is missing, or failed. Ids MC5xx."""

    exit_code = 6


@dataclass
class ErrorGroup(McuCompileError):  # noqa: N818
    """Several errors reported at once; the exit code is that of the first."""

    errors: Sequence[McuCompileError] = ()

    @classmethod
    def of(cls, errors: Sequence[McuCompileError]) -> McuCompileError:
        """One error for the sequence `errors` (not empty); a single one stays itself."""
        first = errors[0]
        if len(errors) == 1:
            return first
        return cls(first.id, first.where, first.what, first.why, first.fix, errors)

    @property
    def code(self) -> int:
        return self.errors[0].exit_code

    def __str__(self) -> str:
        return "\n".join(str(e) for e in self.errors)


class InternalError(Exception):
    """A bug of ours: a broken invariant. Names the stage or pass and the invariant."""
