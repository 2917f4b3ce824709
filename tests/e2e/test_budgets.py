"""No model costs more than its budget (bench/budgets.toml), and `python -m bench` measures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import budgets
from bench.__main__ import main
from bench.figures import Figures
from bench.models import MODELS, Model
from tests.support.tools import needs_qemu
from tests.support.zoo import ZOO

COMPILER, BUDGETS = budgets.load()
PARAMETERS = [
    pytest.param(m, id=m.name, marks=[] if m.always else [pytest.mark.slow]) for m in MODELS
]


@needs_qemu
@pytest.mark.parametrize("model", PARAMETERS)
def test_budget(model: Model) -> None:
    if not model.is_there:
        pytest.skip(f"no model zoo at {ZOO} (set MCUCOMPILE_ZOO)")
    if budgets.compiler_version() != COMPILER:
        pytest.skip(f"the budgets hold for version {COMPILER} of the cross compiler")
    assert model.name in BUDGETS, f"it has no budget: {budgets.UPDATE}"
    found = budgets.regressions(model.figures(budgets.CORE), BUDGETS[model.name])
    assert not found, "\n".join([*found, f"if it is worth it: {budgets.UPDATE}"])


def test_a_regression_is_more_than_one_percent() -> None:
    budget = {"instructions": 1000, "sram": 1000, "flash": 1000}
    within = Figures("m", budgets.CORE, "", 1, 1010, 1, 1, 1, 1010, 1010)
    beyond = Figures("m", budgets.CORE, "", 1, 1011, 1, 1, 1, 900, 1020)
    assert budgets.regressions(within, budget) == []
    assert budgets.regressions(beyond, budget) == [
        "instructions: 1,011 is 1.1 % above the budget of 1,000",
        "flash: 1,020 is 2.0 % above the budget of 1,000",
    ]


@needs_qemu
def test_figures_of_a_layer(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    options = ["dense 640", "--core", "cortex-m4", "--core", "cortex-m7", "--json", str(file)]
    done = CliRunner().invoke(main, options)
    assert done.exit_code == 0, done.output
    content = json.loads(file.read_text())
    assert content["models"] == []
    layers = [layer for layer in content["layers"] if layer["name"] == "dense 640->128"]
    assert [layer["core"] for layer in layers] == ["cortex-m4", "cortex-m7"]
    for layer in layers:
        assert layer["work"] == 640 * 128
        assert layer["work_per_instruction"] == layer["work"] / layer["instructions"] > 0.5
        assert layer["cycles"] > layer["core_cycles"] > 0
        assert layer["flash"] > layer["work"] > layer["code"] > 0
    assert "mcuc_dense_large_s8" in done.output
