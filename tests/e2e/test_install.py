"""The wheel: all data files travel, and everything works from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.zoo import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("hatchling") is None, reason="no build backend (pip install '.[dev]')"
)

EXAMPLE = ROOT / "examples" / "digits"


def run(*command: str | Path, cwd: Path, site: Path | None = None) -> str:
    """What `command` prints; asserts that it succeeds."""
    env = dict(os.environ) if site is None else {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the built wheel, and nothing else, is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", ROOT, "--no-deps", "--no-build-isolation", "-w", folder, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", wheel, "--no-deps", "--target", folder / "site", cwd=folder)
    return folder / "site"


def mcucompile(*arguments: str | Path, cwd: Path, site: Path) -> str:
    return run(sys.executable, "-m", "mcucompile", *arguments, cwd=cwd, site=site)


def test_data_files_travel(site: Path, tmp_path: Path) -> None:
    installed = Path(mcucompile("runtime-dir", cwd=tmp_path, site=site).strip())
    assert installed.is_relative_to(site)
    source = ROOT / "runtime_c" / "include"
    names = sorted(p.relative_to(source) for p in source.rglob("*.h"))
    assert sorted(p.relative_to(installed) for p in installed.rglob("*.h")) == names
    assert "stm32f746" in mcucompile("boards", cwd=tmp_path, site=site)


def test_installed_wheel_compiles_the_example(site: Path, tmp_path: Path) -> None:
    model = shutil.copy(EXAMPLE / "digits.onnx", tmp_path)
    options = ("--board", "stm32f746", "--calib", EXAMPLE / "calib.npz", "-o", "out", "--quiet")
    mcucompile(model, *options, cwd=tmp_path, site=site)
    assert (tmp_path / "out" / "digits_report.json").is_file()
    (tmp_path / "main.c").write_text('#include "digits.h"\nint main(void) { return 0; }\n')
    sources = [*(tmp_path / "out").glob("*.c"), "main.c"]
    run("gcc", "-std=c99", "-Wall", "-Werror", "-Iout", *sources, "-o", "main", cwd=tmp_path)
    run(tmp_path / "main", cwd=tmp_path)
