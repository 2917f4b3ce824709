"""Arenas are near their lower bounds, and plans are made quickly (python -m bench --placement)."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.placement import OPTIMIZE, Placed, placed
from mcucompile.plan.program import Optimize
from tests.support import zoo

SMALL = ["mlperf_vww96_int8qdq", "mlperf_kws_int8qdq"]

ARENAS = {  # bytes with -O balanced, with -O ram, and with -O ram where the input arrives in rows
    "mlperf_kws_int8qdq": (8_608, 5_340, 5_028),
    "mlperf_resnet8_int8qdq": (22_016, 14_656, 13_600),
    "mlperf_vww96_int8qdq": (31_224, 29_400, 12_216),
    "rand_mbv2_w035_144": (67_560, 67_560, 20_904),
    "rand_mcunet_in0_48": (17_376, 11_744, 8_336),
    "rand_mcunet_in3_176": (99_464, 99_464, 47_360),
    "rand_mcunet_in4_160": (114_768, 97_616, 62_096),
    "tinyengine_mcunet_vww_int8qdq": (23_720, 22_184, 12_104),
}


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
    arenas = {(p.optimize, p.stream_input): p.arena for p in found}
    modes: list[tuple[Optimize, bool]] = [("balanced", False), ("ram", False), ("ram", True)]
    for mode, most in zip(modes, ARENAS.get(name, ()), strict=False):
        assert arenas[mode] <= most
