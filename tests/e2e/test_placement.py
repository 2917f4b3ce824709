"""Arenas are near their lower bounds, and plans are made quickly (python -m bench --placement)."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.placement import OPTIMIZE, Placed, placed
from tests.support import zoo

SMALL = ["mlperf_vww96_int8qdq", "mlperf_kws_int8qdq", "tinyengine_mcunet_vww_int8qdq"]


def test_the_example_in_all_modes() -> None:
    done = CliRunner().invoke(main, ["--placement", "digits"])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.startswith("digits")]
    assert [(row[1], row[2]) for row in rows] == [
        (optimize, way) for way in ("whole", "rows") for optimize in OPTIMIZE
    ]
    assert "misses" in done.output
    assert not any({"gap", "seconds", "instructions"} & set(row) for row in rows)


def test_what_misses_a_goal_is_said() -> None:
    good = Placed("m", "balanced", False, 1019, 1000, 1000, 20.0, 105, 100)
    proved = Placed("m", "balanced", False, 1021, 1000, 1021, 20.0, 105, 100)
    bad = Placed("m", "balanced", False, 1021, 1000, 1020, 20.1, 106, 100)
    assert good.flaws == proved.flaws == []
    assert bad.flaws == ["gap", "seconds", "instructions"]


@zoo.needs_zoo
@pytest.mark.parametrize("name", SMALL)
def test_models(name: str) -> None:
    check(name)


@zoo.needs_zoo
@pytest.mark.slow
@pytest.mark.parametrize("name", [p.stem for p in zoo.supported()])
def test_all_models(name: str) -> None:
    check(name)


def check(name: str) -> None:
    found = list(placed(zoo.model(name)))
    assert len(found) in (len(OPTIMIZE), 2 * len(OPTIMIZE))  # not every input has rows
    for one in found:
        assert not one.flaws, one
