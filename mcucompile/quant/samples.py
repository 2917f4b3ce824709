"""Samples: input data of a model, from a file or random, checked and in the model's own domain.

The array for an input is the one named by the user, or the one with the input's name, or `x`.
A .npy file holds just that array. A folder of .npy files in which none has such a name holds one
sample per file, in the order of the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mcucompile.errors import UsageError
from mcucompile.ir import Array, Port, QParams, Shape
from mcucompile.options import SampleOptions
from mcucompile.quant.datafile import DataFile

RANDOM = "random"
RANDOM_COUNT = 32
RANDOM_SEED = 2024
DEFAULT_ARRAY = "x"


@dataclass(frozen=True)
class Samples:
    """Checked input data.

    arrays: one per port, in the layout of the ONNX file: shape (count, *port.model_shape[1:]),
    dtype port.dtype, finite. labels: int64, shape (count,), or None.
    """

    arrays: tuple[Array, ...]
    labels: Array | None = None

    @property
    def count(self) -> int:
        return len(self.arrays[0])


def load_samples(
    source: SampleOptions, ports: Sequence[Port], labels: str | None = None
) -> Samples:
    """Samples for the model inputs `ports`.

    source: "FILE", "FILE:ARRAY" or "random" and a linear map, whose results are rounded to nearest
    for integer ports. labels: name of an array of class numbers in the same file.
    Raises UsageError MC010 to MC019: no such file, unreadable, no such array, no numbers, wrong
    shape, NaN or Inf, empty, out of range, labels that do not fit, different counts.
    """
    limit = source.limit
    if source.spec == RANDOM:
        if labels is not None:
            raise UsageError(
                "MC018", "random data", "has no labels", "its inputs are noise", "drop --labels"
            )
        return random_samples(ports, limit or RANDOM_COUNT)
    file = DataFile.open(source.spec)
    arrays = []
    for port in ports:
        where, raw = _find(file, port, alone=len(ports) == 1)
        shaped = _to_shape(raw, port, where)[:limit]
        arrays.append(_to_domain(shaped, port, where, source.scale, source.offset))
    _check_counts(source.spec, ports, arrays)
    truth = None if labels is None else _read_labels(file, labels, limit, len(arrays[0]))
    return Samples(tuple(arrays), truth)


def is_random(source: SampleOptions | None) -> bool:
    """Does it stand for random inputs, as no source does?"""
    return source is None or source.spec == RANDOM


def random_samples(
    ports: Sequence[Port],
    count: int = RANDOM_COUNT,
    bounds: Sequence[tuple[float, float]] | None = None,
) -> Samples:
    """Reproducible noise: each sample has its own level, and its own contrast around it.

    bounds: lowest and highest number per port; without them [-1, 1] for float ports and every
    integer of an integer port.
    """
    rng = np.random.default_rng(RANDOM_SEED)
    arrays = []
    for i, port in enumerate(ports):
        lo, hi = _natural_bounds(port) if bounds is None else bounds[i]
        shape = (count, *port.model_shape[1:])
        each = (count,) + (1,) * (len(shape) - 1)
        level, contrast = rng.uniform(-1, 1, each), rng.uniform(0, 2, each)
        unit = np.clip(level + contrast * rng.uniform(-1, 1, shape), -1, 1)
        x = lo + (unit + 1) / 2 * (hi - lo)
        arrays.append((x if _is_float(port) else np.rint(x)).astype(port.dtype))
    return Samples(tuple(arrays))


def to_model_int8(array: Array, port: Port, qparams: QParams) -> Array:
    """What the compiled model is given for samples of its input `port`, in the C API's layout."""
    if _is_float(port):
        return qparams.quantize(to_real(array, port, qparams))
    array = _to_port_layout(array, port)
    if port.dtype == "uint8":
        return np.asarray(array.astype(np.int16) - 128, dtype=np.int8)
    return np.asarray(array, dtype=np.int8)


def to_api(array: Array, port: Port, qparams: QParams) -> Array:
    """What firmware hands over for samples of the model's input `port`, of its type and layout.

    qparams: of the compiled model's input.
    """
    if port.preprocessing is not None:
        real = to_real(array, replace(port, preprocessing=None), qparams)
        raw = np.rint(port.preprocessing.raw(real))
        return np.asarray(np.clip(raw, 0, 255), dtype=np.uint8)
    if port.element == "float32":
        return to_real(array, port, qparams).astype(np.float32)
    stored = to_model_int8(array, port, qparams)
    return stored if port.element == "int8" else stored.view(np.uint8) ^ np.uint8(128)


def from_api(array: Array, port: Port, qparams: QParams) -> Array:
    """What results of the compiled model mean at the model's output `port`; same shape."""
    if port.element == "float32" and _is_float(port):
        return array
    return from_model_int8(stored_from_api(array, port, qparams), port, qparams)


def stored_from_api(array: Array, port: Port, qparams: QParams) -> Array:
    """The int8 numbers from which results of the C API's type were made; same shape."""
    if port.element == "float32":
        return qparams.quantize(array)
    return (array ^ np.uint8(128)).view(np.int8) if port.element == "uint8" else array


def to_real(array: Array, port: Port, qparams: QParams | None) -> Array:
    """The real numbers that the float graph is given for samples of the model's input `port`, in
    the C API's layout.

    qparams: of the input, needed for integer ports only.
    """
    if port.preprocessing is not None and port.preprocessing.form == "folded":
        raw = port.preprocessing.raw(_to_port_layout(array, port))
        return np.asarray(raw, dtype=np.float32)
    if _is_float(port):
        return _to_port_layout(array, port)
    assert qparams is not None
    return qparams.dequantize(to_model_int8(array, port, qparams))


def from_model_int8(array: Array, port: Port, qparams: QParams) -> Array:
    """What int8 numbers of the compiled model mean at the model's output `port`; same shape."""
    if _is_float(port):
        return qparams.dequantize(array)
    if port.dtype == "uint8":
        return np.asarray(array.astype(np.int16) + 128, dtype=np.uint8)
    if port.dtype == "int8":
        return np.asarray(array, dtype=np.int8)
    return qparams.dequantize(array).astype(port.dtype)


def _to_port_layout(array: Array, port: Port) -> Array:
    return np.ascontiguousarray(array.transpose(port.from_model))


def _is_float(port: Port) -> bool:
    return np.dtype(port.dtype).kind == "f"


def _natural_bounds(port: Port) -> tuple[float, float]:
    if _is_float(port):
        return -1.0, 1.0
    info = np.iinfo(port.dtype)
    return float(info.min), float(info.max)


def _find(file: DataFile, port: Port, alone: bool) -> tuple[str, Array]:
    """The array for `port`, and what to call it in messages. alone: the model has no other."""
    if file.array is not None and not alone:
        raise UsageError(
            "MC012",
            f"data '{file.path}:{file.array}'",
            "names one array, but the model has several inputs",
            "every input needs an array of its own",
            "give the file alone; its arrays are found by the names of the inputs",
        )
    wishes = [file.array] if file.array else [port.name, DEFAULT_ARRAY] if alone else [port.name]
    for name in wishes:
        if name in file.names:
            return file.where(name), file.read(name)
    if file.array is None and alone and file.names:
        if file.path.suffix == ".npy":
            return file.where(""), file.read(file.names[0])
        if file.path.is_dir():
            return f"data '{file.path}'", _stack(file)
    raise UsageError(
        "MC012",
        f"data '{file.path}'",
        f"has no array {' or '.join(repr(w) for w in wishes)} for input '{port.name}'",
        f"it holds: {', '.join(file.names) or 'nothing'}",
        "name the array as FILE:ARRAY, or rename it in the file",
    )


def _stack(file: DataFile) -> Array:
    """One sample per file of a folder."""
    arrays = [file.read(name) for name in file.names]
    shapes = {a.shape for a in arrays}
    if len(shapes) > 1:
        raise UsageError(
            "MC014",
            f"data '{file.path}'",
            "holds samples of different shapes",
            f"found {', '.join(str(s) for s in sorted(shapes))}",
            "bring all samples to the shape of the model's input",
        )
    return np.stack(arrays)


def _to_shape(array: Array, port: Port, where: str) -> Array:
    """Samples in the shape of `port`, which may differ from it in axes of length 1 only."""
    wanted = port.model_shape[1:]
    if array.ndim > 0 and len(array) == 0:
        raise UsageError(
            "MC016", where, "is empty", f"its shape is {array.shape}", "give at least one sample"
        )
    given = array.shape[1:]
    if array.ndim == 0 or [d for d in given if d != 1] != [d for d in wanted if d != 1]:
        raise UsageError(
            "MC014",
            where,
            "has the wrong shape",
            f"input '{port.name}' needs (N, {', '.join(map(str, wanted))}), not {array.shape}",
            _shape_advice(given, wanted),
        )
    return array.reshape(len(array), *wanted)


def _shape_advice(given: Shape, wanted: Shape) -> str:
    if given != wanted and sorted(given) == sorted(wanted):
        return "the same sizes in another order: transpose the array to the model's own layout"
    return "samples lie on the first axis, each in the shape of the model's input"


def _to_domain(array: Array, port: Port, where: str, scale: float, offset: float) -> Array:
    """Numbers of `port`'s dtype; only safe conversions are made."""
    if array.dtype.kind not in "buif":
        raise UsageError(
            "MC013",
            where,
            "does not hold numbers",
            f"its type is {array.dtype}",
            "save it as an array of float32, int8 or uint8",
        )
    mapped = (scale, offset) != (1.0, 0.0)
    if mapped:
        array = array.astype(np.float64) * scale + offset
    with np.errstate(over="ignore"):
        real = array.astype(np.float32) if _is_float(port) else array
    _check_finite(real, where)
    if _is_float(port):
        return np.asarray(real)
    whole = np.rint(array)
    if not mapped and not np.array_equal(whole, array):
        raise UsageError(
            "MC013",
            where,
            f"holds fractions, but input '{port.name}' is {port.dtype}",
            f"the numbers lie in [{array.min():g}, {array.max():g}]",
            "give the model's own integers, or map the numbers with --data-scale and --data-offset",
        )
    _check_range(whole, port, where)
    return np.asarray(whole.astype(port.dtype))


def _check_finite(array: Array, where: str) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        samples = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
        raise UsageError(
            "MC015",
            where,
            "holds NaN or Inf",
            f"{int(bad.sum())} numbers in {len(samples)} samples, the first in sample {samples[0]}",
            "repair or drop these samples",
        )


def _check_range(array: Array, port: Port, where: str) -> None:
    info = np.iinfo(port.dtype)
    lo, hi = float(array.min()), float(array.max())
    if info.min <= lo and hi <= info.max:
        return
    fix = "map the numbers with --data-scale and --data-offset"
    if port.dtype == "int8" and lo >= 0 and hi <= 255:
        fix = "these look like uint8 numbers: add --data-offset -128"
    if port.dtype == "uint8" and lo >= -128 and hi <= 127:
        fix = "these look like int8 numbers: add --data-offset 128"
    raise UsageError(
        "MC017",
        where,
        f"does not fit input '{port.name}', which is {port.dtype}",
        f"its numbers lie in [{lo:g}, {hi:g}]",
        fix,
    )


def _check_counts(spec: str, ports: Sequence[Port], arrays: Sequence[Array]) -> None:
    if len({len(a) for a in arrays}) > 1:
        raise UsageError(
            "MC019",
            f"data '{spec}'",
            "has not the same number of samples for every input",
            ", ".join(f"'{p.name}' has {len(a)}" for p, a in zip(ports, arrays, strict=True)),
            "give every input the same number of samples",
        )


def _read_labels(file: DataFile, name: str, limit: int | None, count: int) -> Array:
    if name not in file.names:
        raise UsageError(
            "MC012",
            f"data '{file.path}'",
            f"has no array '{name}' with labels",
            f"it holds: {', '.join(file.names) or 'nothing'}",
            "name an array of class numbers with --labels",
        )
    labels = file.read(name)
    flat = labels.reshape(-1)[:limit]
    if labels.dtype.kind not in "ui" or labels.shape[:1] != (labels.size,) or len(flat) != count:
        raise UsageError(
            "MC018",
            file.where(name),
            "cannot be used as labels",
            f"it is {labels.dtype} of shape {labels.shape}, for {count} samples",
            "labels are one class number per sample",
        )
    return np.asarray(flat, dtype=np.int64)
