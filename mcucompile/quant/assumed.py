"""Ranges for a float model that nobody runs: which bytes it needs hardly depends on them.

Numbers and weights have as many bytes in any range. Two things do depend: which channels are
provably constant, and so folded away, and how many entries the table of a Softmax has. The ranges
are wide, so that channels are constant for the sake of their weights alone, and those of what a
Softmax reads as trained networks have them.
"""

from __future__ import annotations

import numpy as np

from mcucompile.ir import Graph
from mcucompile.ops.softmax import Softmax
from mcucompile.quant.calibrate import internals
from mcucompile.quant.quantize import Range, uncalibrated

WIDE: Range = (-64.0, 64.0)
LOGITS: Range = (-16.0, 16.0)


def assumed_ranges(graph: Graph) -> dict[str, Range]:
    """For whatever `calibrate` finds a range of the float `graph`, by the same names."""
    ranges = {v.name: WIDE for v in uncalibrated(graph)}
    read = {graph.operands(op)[0].name for op in graph.ops_of(Softmax)}
    ranges |= {name: LOGITS for name in read if name in ranges}
    zeros = {v.name: np.zeros(v.shape, np.float32) for v in graph.values() if not v.is_constant}
    return ranges | dict.fromkeys(internals(graph, zeros), WIDE)
