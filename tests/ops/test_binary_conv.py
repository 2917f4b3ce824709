"""Convolutions of bits, in C against the integer reference, which is plain sums of -1 and +1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mcucompile.ir import Graph
from tests.support.binary import binary_layer
from tests.support.ckit import check_graphs
from tests.support.qemukit import CORES, Core
from tests.support.tools import needs_qemu

# height, width, channels in and out, kernel, and what else is not usual
LAYERS: list[tuple[int, int, int, int, tuple[int, int], dict[str, Any]]] = [
    (5, 5, 32, 32, (3, 3), {}),
    (5, 6, 64, 64, (3, 3), {"pads": (1, 1, 1, 1)}),
    (5, 6, 33, 5, (3, 3), {"pads": (1, 1, 1, 1), "pad": 1}),
    (6, 5, 7, 40, (3, 3), {"pads": (1, 0, 2, 1), "pad": -1}),
    (1, 1, 1, 1, (1, 1), {}),
    (4, 4, 128, 64, (1, 1), {}),
    (3, 3, 160, 33, (1, 1), {}),
    (7, 7, 20, 70, (5, 5), {"pads": (2, 2, 2, 2), "strides": (2, 2)}),
    (8, 8, 65, 3, (3, 3), {"dilations": (2, 2), "pads": (2, 2, 2, 2)}),
    (3, 9, 129, 36, (2, 4), {"strides": (1, 3), "pads": (0, 3, 1, 0), "pad": 1}),
    (9, 3, 300, 31, (3, 1), {"strides": (3, 1), "pads": (3, 0, 3, 0), "pad": -1}),
    (4, 4, 48, 10, (4, 4), {}),
    (2, 2, 256, 12, (3, 3), {"pads": (1, 1, 1, 1)}),
]


def _graphs() -> list[Graph]:
    rng = np.random.default_rng(1)
    graphs = []
    for h, w, cin, cout, kernel, more in LAYERS:
        for sign in (True, False):
            graphs.append(binary_layer((h, w, cin), cout, kernel, rng, sign=sign, **more))
    return graphs


def test_layers() -> None:
    check_graphs(_graphs(), samples=4)


@needs_qemu
@pytest.mark.parametrize("core", CORES, ids=lambda core: core.name)
def test_on_a_core(core: Core) -> None:
    check_graphs(_graphs(), samples=2, machine=core)
