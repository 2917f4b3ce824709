"""Does the compiled code do what the model does? Four answers, from the same samples.

1. Bytes: the C code, on the host or under QEMU, against the integer reference. Must be equal.
2. Predictions: against the original model in onnxruntime, all its graph optimizations disabled.
3. Accuracy against labels, of both.
4. Noise, layer by layer, of the integer reference against the float graph (`layer_errors.py`).

So what is lost from float to integers is noise of quantization, which is expected, and told by
layer; what differs from the integers to the C code is a bug, in however few bytes. For both there
is a first layer where it shows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mcucompile.compiler import Compilation, write_sources
from mcucompile.emulate import build, host, qemu
from mcucompile.errors import ValidationError
from mcucompile.ir import Array
from mcucompile.ir.storage import to_stored
from mcucompile.layer_errors import (
    LayerError,
    advice,
    cosine,
    first_diverging,
    layer_errors,
    sqnr,
)
from mcucompile.quant.post_training import PrecisionGain
from mcucompile.quant.samples import Samples, from_api, stored_from_api, to_api, to_real
from mcucompile.reference.float_interpreter import run_float
from mcucompile.reference.integer_interpreter import run_int, run_int_all
from mcucompile.reference.onnx_session import OnnxSession

Where = Literal["host", "qemu"]

DOUBTFUL = 0.99  # share of equal predictions


@dataclass(frozen=True)
class StepCheck:
    """A step of the C code on one sample. host, qemu: bytes of its results that differ from the
    integer reference, None where it was not run."""

    index: int
    op: str
    name: str
    onnx_names: tuple[str, ...]
    host: int | None
    qemu: int | None

    @property
    def is_wrong(self) -> bool:
        return bool(self.host or self.qemu)


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    mismatches_vs_reference: bytes of output that differ between C code and integer reference.
    accuracy_*: share of samples whose label is predicted; None without labels.
    top1_agreement: share of samples with the same prediction as onnxruntime; None for models
    with one output number. max_abs_error: largest difference from onnxruntime in the model's own
    units. first_diverging_step: index of the first step with a mismatch, None without any.
    stack_bytes: measured stack of one run, None on the host.
    cosine, sqnr: of all outputs with onnxruntime's, see layer_errors; sqnr in dB, None without any
    noise. layers: the integer reference against the float graph, on a few samples.
    precision_gain: what int16 and float32 layers bring, if there are any.
    first_diverging_layer: the first of them with little signal left. advice: what to try.
    steps: every step of the C code, if that was asked for.
    """

    model: str
    board: str
    on: Where
    samples: int
    mismatches_vs_reference: int
    accuracy_float: float | None
    accuracy_compiled: float | None
    top1_agreement: float | None
    max_abs_error: float
    first_diverging_step: int | None
    stack_bytes: int | None
    cosine: float
    sqnr: float | None
    layers: tuple[LayerError, ...]
    first_diverging_layer: str | None
    advice: tuple[str, ...]
    precision_gain: PrecisionGain | None
    steps: tuple[StepCheck, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        """Is there reason to look for a better quantization?"""
        agreement = 1.0 if self.top1_agreement is None else self.top1_agreement
        return self.first_diverging_layer is not None or agreement < DOUBTFUL

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def validate(
    compilation: Compilation,
    samples: Samples,
    where: Where,
    progress: Callable[[str], None] = lambda text: None,
    each_step: bool = False,
) -> Validation:
    """Run every sample through the C code, the integer reference and onnxruntime.

    each_step: also compare every step on one sample, on the host and `where`.
    Raises ToolchainError where a compiler or QEMU is missing or fails.
    """
    graph = compilation.graph
    inputs = [
        to_api(array, port, graph.value(name).q)
        for array, port, name in zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    ]
    progress(f"integer reference: {samples.count} samples")
    expected = run_int(graph, inputs)
    with tempfile.TemporaryDirectory(prefix="mcucompile-") as folder:
        runner = _Runner(compilation, Path(folder), where)
        progress(f"C code on {where}: {samples.count} samples")
        outputs, stack = runner.run(inputs)
        diverging = _first_differing_sample(outputs, expected)
        step: int | None = None
        steps: tuple[StepCheck, ...] = ()
        first = diverging or 0
        one = [a[first : first + 1] for a in inputs]
        if diverging is not None:
            differing = _differing_bytes(compilation, one, runner.dump(one))
            step = next((k for k, count in enumerate(differing) if count), None)
        if each_step:
            progress("every step of one sample")
            steps = _check_steps(compilation, one, where)
    progress(f"onnxruntime: {samples.count} samples")
    original = _original(compilation, samples)
    reals = [
        from_api(array, port, graph.value(name).q)
        for array, port, name in zip(outputs, graph.output_ports, graph.outputs, strict=True)
    ]
    outcome = _all_outputs(compilation, original, outputs)
    progress("layers against the float model")
    errors = layer_errors(compilation.quantized, samples)
    bad = first_diverging(errors)
    return Validation(
        model=compilation.name,
        board=compilation.board.name,
        on=where,
        samples=samples.count,
        mismatches_vs_reference=sum(
            int(np.count_nonzero(a != b)) for a, b in zip(outputs, expected, strict=True)
        ),
        accuracy_float=_accuracy(original[0], samples.labels),
        accuracy_compiled=_accuracy(reals[0], samples.labels),
        top1_agreement=_agreement(original[0], reals[0]),
        max_abs_error=float(np.abs(outcome[0] - outcome[1]).max(initial=0.0)),
        first_diverging_step=step,
        stack_bytes=stack,
        cosine=cosine(*outcome),
        sqnr=sqnr(*outcome),
        layers=errors,
        first_diverging_layer=None if bad is None else bad.name,
        advice=advice(errors, compilation.quantized, compilation.options),
        precision_gain=compilation.quantized.gain,
        steps=steps,
    )


def _check_steps(
    compilation: Compilation, one: Sequence[Array], where: Where
) -> tuple[StepCheck, ...]:
    """Every step on the sample `one`: on the host and, if that is `where`, under QEMU."""
    counts: dict[Where, list[int]] = {}
    places: tuple[Where, ...] = ("host", "qemu") if where == "qemu" else ("host",)
    for place in places:
        with tempfile.TemporaryDirectory(prefix="mcucompile-") as folder:
            dumped = _Runner(compilation, Path(folder), place).dump(one)
        counts[place] = _differing_bytes(compilation, one, dumped)
    ops = {op.name: op for op in compilation.graph.ops()}
    found = []
    for k, step in enumerate(compilation.plan.steps):
        op = ops[step.call.op]
        qemu = counts["qemu"][k] if "qemu" in counts else None
        found.append(StepCheck(k, op.kind, op.name, op.origin, counts["host"][k], qemu))
    return tuple(found)


def _original(compilation: Compilation, samples: Samples) -> list[Array]:
    """Outputs of the original model. Of states that outlive a run onnxruntime knows nothing: with
    them it is the float graph that says what the samples, one after the other, lead to."""
    graph = compilation.quantized.original
    if not graph.is_stateful:
        return OnnxSession(compilation.model).run(samples.arrays)
    inputs = zip(samples.arrays, graph.input_ports, graph.inputs, strict=True)
    reals = [to_real(array, port, graph.value(name).qparams) for array, port, name in inputs]
    return run_float(graph, reals)


def require_exact(result: Validation) -> None:
    """Raise ValidationError unless the C code equals the integer reference."""
    wrong = next((s.index for s in result.steps if s.is_wrong), result.first_diverging_step)
    if result.mismatches_vs_reference or wrong is not None:
        raise ValidationError(
            "MC401",
            f"model '{result.model}' on {result.on}",
            f"differs from the integer reference in {result.mismatches_vs_reference} bytes",
            f"step {wrong} is the first whose output differs",
            "this is a bug of mcucompile: please report it with the model and the samples",
        )


class _Runner:
    """Builds the C code of a compilation once and runs it where asked."""

    def __init__(self, compilation: Compilation, folder: Path, where: Where) -> None:
        self.compilation = compilation
        self.folder = folder
        self.where = where
        write_sources(compilation, folder / "model")
        if where == "qemu":
            self.firmware = build.build_firmware(
                folder / "model",
                compilation.name,
                compilation.board,
                compilation.plan,
                folder / "firmware",
            )

    def run(self, inputs: Sequence[Array]) -> tuple[list[Array], int | None]:
        c, model = self.compilation, self.folder / "model"
        if self.where == "qemu":
            result = qemu.run(self.firmware, inputs)
            return result.outputs, result.stack_bytes
        return host.run(model, c.name, c.plan, inputs), None

    def dump(self, inputs: Sequence[Array]) -> list[Array]:
        """Output bytes of every step for one sample."""
        c, model = self.compilation, self.folder / "model"
        if self.where == "qemu":
            return qemu.dump(self.firmware, inputs)
        return host.dump(model, c.name, c.plan, inputs)


def _first_differing_sample(outputs: Sequence[Array], expected: Sequence[Array]) -> int | None:
    differs = np.zeros(len(outputs[0]), dtype=bool)
    for a, b in zip(outputs, expected, strict=True):
        differs |= (a != b).reshape(len(a), -1).any(axis=1)
    return int(np.argmax(differs)) if differs.any() else None


def _differing_bytes(
    compilation: Compilation, inputs: Sequence[Array], dumped: Sequence[Array]
) -> list[int]:
    """For each step, bytes of its results that are not those of the integer reference."""
    reference = run_int_all(compilation.graph, inputs)
    found = []
    for step, have in zip(compilation.plan.steps, dumped, strict=True):
        values = [compilation.graph.value(o.value) for o in step.call.writes]
        want = np.concatenate([to_stored(v, reference[v.name]).reshape(-1) for v in values])
        found.append(int(np.count_nonzero(have.view(np.uint8)[: want.size] != want)))
    return found


def _accuracy(outputs: Array, labels: Array | None) -> float | None:
    if labels is None:
        return None
    return float(np.mean(_predictions(outputs) == labels.reshape(-1)))


def _agreement(a: Array, b: Array) -> float | None:
    if a[0].size < 2 and not _is_choice(a):
        return None
    return float(np.mean(_predictions(a) == _predictions(b)))


def _is_choice(outputs: Array) -> bool:
    """Are they indices, as an ArgMax gives them?"""
    return outputs.dtype.kind == "i" and outputs.dtype.itemsize > 1


def _predictions(outputs: Array) -> Array:
    """Class per sample: the largest number, whether a single number exceeds 0.5, or what an ArgMax
    has chosen."""
    flat = outputs.reshape(len(outputs), -1)
    if _is_choice(outputs):
        return flat[:, 0]
    return np.asarray(flat.argmax(axis=1) if flat.shape[1] > 1 else flat[:, 0] > 0.5)


def _all_outputs(
    compilation: Compilation, original: Sequence[Array], compiled: Sequence[Array]
) -> tuple[Array, Array]:
    """The real numbers that all outputs of both models stand for, one after the other.

    original: in the model's domain. compiled: as the C code stores them.
    """
    graph = compilation.graph
    theirs, ours = [], []
    for name, port, a, b in zip(graph.outputs, graph.output_ports, original, compiled, strict=True):
        q = graph.value(name).q
        if port.dtype in ("int8", "uint8"):
            a = q.dequantize(a.astype(np.int16) - (128 if port.dtype == "uint8" else 0))
        theirs.append(a.reshape(-1).astype(np.float64))
        b = stored_from_api(b, port, q)
        ours.append(q.dequantize(b).reshape(-1).astype(np.float64))
    return np.concatenate(theirs), np.concatenate(ours)
