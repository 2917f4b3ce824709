"""Validation notices wrong code and names the first step that goes wrong."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mcucompile.commands import validation_text
from mcucompile.compiler import Compilation, compile_model
from mcucompile.errors import ValidationError
from mcucompile.options import CompileOptions, SampleOptions
from mcucompile.quant.samples import load_samples
from mcucompile.validate import require_exact, validate
from tests.support import models
from tests.support.tools import needs_qemu


@pytest.fixture
def compilation(tmp_path: Path) -> Compilation:
    path = models.save(models.small_cnn(), tmp_path / "cnn.onnx")
    return compile_model(path, CompileOptions(board="stm32f746"))


@pytest.mark.parametrize("where", ["host", "qemu"])
@pytest.mark.parametrize("broken", [0, 2])
def test_first_wrong_step_is_named(compilation: Compilation, where: str, broken: int) -> None:
    files = dict(compilation.files)
    files["cnn.c"] = _without_step(files["cnn.c"], broken)
    wrong = replace(compilation, files=files)
    samples = load_samples(SampleOptions("random", limit=3), compilation.graph.input_ports)
    result = validate(wrong, samples, where)
    assert result.mismatches_vs_reference > 0
    assert result.first_diverging_step == broken
    with pytest.raises(ValidationError, match="MC401"):
        require_exact(result)


@needs_qemu
def test_every_step_is_compared(compilation: Compilation) -> None:
    samples = load_samples(SampleOptions("random", limit=1), compilation.graph.input_ports)
    result = validate(compilation, samples, "qemu", each_step=True)
    assert [(s.host, s.qemu) for s in result.steps] == [(0, 0)] * len(compilation.plan.steps)
    require_exact(result)
    text = validation_text(result)
    assert text.count("equal      equal") == len(result.steps) > 2
    assert "what is lost, quantization has lost" in text


def test_a_bug_is_told_from_noise(compilation: Compilation) -> None:
    """Also where no output byte of the samples shows it."""
    files = dict(compilation.files)
    files["cnn.c"] = _without_step(files["cnn.c"], 1)
    samples = load_samples(SampleOptions("random", limit=1), compilation.graph.input_ports)
    result = validate(replace(compilation, files=files), samples, "host", each_step=True)
    wrong = [s.index for s in result.steps if s.is_wrong]
    assert wrong[0] == 1  # and all that read its result
    assert all(s.qemu is None for s in result.steps)
    assert result.layers == validate(compilation, samples, "host").layers
    text = validation_text(result)
    assert "A BUG of mcucompile: the C code of step 1 is wrong" in text
    assert "not run" in text
    with pytest.raises(ValidationError, match=r"(?s)MC401.*step 1 is the first"):
        require_exact(replace(result, mismatches_vs_reference=0))


def _without_step(source: str, step: int) -> str:
    """The model's C code with the call of one kernel replaced by clearing its output."""
    pattern = rf"(cnn_step{step}\(int8_t \*arena\) \{{.*?)    (\w+)\(&cnn_params,[^;]*;"
    text, count = re.subn(
        pattern,
        r"\1    (void)cnn_params; (void)in; memset(out[0].base, 99, (size_t)out[0].stride);",
        source,
        flags=re.DOTALL,
    )
    assert count == 1
    return text
