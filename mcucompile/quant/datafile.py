"""Files with arrays: .npz, .npy, or a folder of .npy files named like their arrays."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import Array

_REPAIR = "write the file again with numpy.savez or numpy.save"


@dataclass(frozen=True)
class DataFile:
    """Named arrays in a file; nothing is read before it is asked for.

    names: of the arrays, sorted. array: the one that the user named, or None.
    """

    path: Path
    names: tuple[str, ...]
    array: str | None = None

    @classmethod
    def open(cls, spec: str) -> DataFile:
        """The file of "FILE" or "FILE:ARRAY"; both parts may contain colons.

        Raises UsageError MC010 if there is no such file, MC011 if it is of no known format.
        """
        path, array = _split(spec)
        if not path.exists():
            raise UsageError(
                "MC010",
                f"data file '{path}'",
                "does not exist",
                f"there is no file or folder of this name in {path.absolute().parent}",
                "check the path; the form is FILE or FILE:ARRAY",
            )
        return cls(path, tuple(sorted(_names(path))), array)

    def where(self, name: str) -> str:
        """What to call the array `name` in a message."""
        if self.path.suffix == ".npy":
            return f"data '{self.path}'"
        return f"data '{self.path}:{name}'"

    def read(self, name: str) -> Array:
        """The array `name`. Raises UsageError MC011 if it cannot be read, MC013 for objects."""
        try:
            loaded = np.load(self.path / f"{name}.npy" if self.path.is_dir() else self.path)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                with loaded:
                    return np.asarray(loaded[name])
            return np.asarray(loaded)
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise _unreadable(self.where(name), error) from error
            raise UsageError(
                "MC013",
                self.where(name),
                "does not hold numbers",
                "it holds Python objects, which are never unpickled",
                "save it as an array of numbers (all samples of one shape)",
            ) from error
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise _unreadable(self.where(name), error) from error


def _split(spec: str) -> tuple[Path, str | None]:
    colons = [i for i, c in enumerate(spec) if c == ":"]
    for i in [len(spec), *colons]:
        if Path(spec[:i]).exists():
            return Path(spec[:i]), spec[i + 1 :] or None
    for i in colons:
        if Path(spec[:i]).suffix in (".npz", ".npy"):
            return Path(spec[:i]), spec[i + 1 :] or None
    return Path(spec), None


def _names(path: Path) -> list[str]:
    if path.is_dir():
        return [p.stem for p in path.glob("*.npy")]
    try:
        loaded = np.load(path)
    except ValueError as error:
        if path.suffix == ".npy" and "allow_pickle" in str(error) and _has_npy_magic(path):
            return [path.stem]  # an array of objects: reading it gives the precise message
        raise _unreadable(f"data file '{path}'", error) from error
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(f"data file '{path}'", error) from error
    if isinstance(loaded, np.lib.npyio.NpzFile):
        with loaded:
            return list(loaded.files)
    return [path.stem]


def _has_npy_magic(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == np.lib.format.MAGIC_PREFIX


def _unreadable(where: str, error: Exception) -> UsageError:
    why = str(error).splitlines()[0] if str(error) else "it ends too early"
    if "allow_pickle" in why:
        why = "it is neither a .npz nor a .npy file"
    return UsageError("MC011", where, "cannot be read", why, _REPAIR)
