"""Search for an architecture with estimates: no training, no C compiler, no emulator.

    python -m examples.architecture_search.search

in the root of the project. Written to be read from top to bottom, or run cell by cell (# %%) in an
editor that knows such cells. With --quick it looks at a handful of networks.

MACs stand for what accuracy can be hoped for: of networks of one family, the larger one is nearly
always the better one. The answer is a short list to be trained, not a trained network.
"""

# %% What is asked: the best network for this board that answers within this time.
from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product

import onnx

import mcucompile
from examples.architecture_search.networks import mobilenet_v2, phinet

BOARD = "stm32f746"
MILLISECONDS = 100.0
TOP = 10

# %% The candidates: 100 MobileNetV2 of five widths, ten resolutions and two expansions.
WIDTHS = (0.1, 0.2, 0.35, 0.5, 0.75)
RESOLUTIONS = (48, 64, 80, 96, 112, 128, 144, 160, 176, 192)
EXPANSIONS = (4, 6)
MOBILENETS = tuple(product(WIDTHS, RESOLUTIONS, EXPANSIONS))


# %% One estimate. SRAM of activations and flash of weights are exact, the time is modelled.
def cost(variant: tuple[float, int, int]) -> mcucompile.Estimate:
    return mcucompile.estimate(mobilenet_v2(*variant), BOARD)


def allowed(estimate: mcucompile.Estimate) -> bool:
    return estimate.fits and estimate.latency_ms <= MILLISECONDS


def rank(variants: Sequence[tuple[float, int, int]]) -> list[mcucompile.Estimate]:
    """The estimates of `variants`: what the board allows first, the most MACs first."""
    with ProcessPoolExecutor() as pool:
        estimates = list(pool.map(cost, variants))
    return sorted(estimates, key=lambda e: (not allowed(e), -e.macs))


def table(estimates: Iterable[mcucompile.Estimate]) -> str:
    lines = [f"{'':32} {'MACs':>12} {'SRAM':>9} {'flash':>10} {'ms':>7} {'mJ':>6}"]
    for e in estimates:
        energy = "" if e.energy_uj is None else f"{e.energy_uj / 1000:.1f}"
        lines.append(
            f"{e.name:32} {e.macs:12,} {e.arena_bytes:9,} {e.const_bytes:10,} "
            f"{e.latency_ms:7.1f} {energy:>6}{'' if allowed(e) else '  too large or too slow'}"
        )
    return "\n".join(lines)


# %% A family that is fitted: each of its factors is decided by one limit of the board.
@dataclass(frozen=True)
class Fitted:
    """The largest network of a family member that the board allows."""

    alpha: float
    estimate: mcucompile.Estimate


def fit_alpha(
    network: Callable[[float], onnx.ModelProto], low: float, high: float, steps: int
) -> Fitted | None:
    """The largest alpha in [low, high] whose network is allowed, to (high - low) / 2**steps; None
    if not even the lowest is. What a network costs grows with alpha, so halving finds it."""
    best = None
    for _ in range(steps + 1):
        alpha = low if best is None else (low + high) / 2
        estimate = mcucompile.estimate(network(alpha), BOARD)
        if allowed(estimate):
            best, low = Fitted(alpha, estimate), alpha
        elif best is None:
            return None
        else:
            high = alpha
    return best


def fit_phinet(
    resolutions: Sequence[int], betas: Sequence[float], expansions: Sequence[float], steps: int
) -> list[Fitted]:
    """For each resolution (time and SRAM), beta (where the computation is) and expansion (SRAM) the
    widest network (flash and time) that the board allows; the most MACs first."""
    found = [
        fit_alpha(lambda alpha, r=r, b=b, t=t: phinet(alpha, b, t, r), 0.2, 4.0, steps)
        for r, b, t in product(resolutions, betas, expansions)
    ]
    return sorted((f for f in found if f is not None), key=lambda f: -f.estimate.macs)


# %% The search.
def main(quick: bool) -> None:
    variants = MOBILENETS[::40] if quick else MOBILENETS
    ranked = rank(variants)
    fitting = sum(allowed(e) for e in ranked)
    print(f"{fitting} of {len(ranked)} MobileNetV2 fit {BOARD} within {MILLISECONDS:g} ms;")
    print(f"the {TOP} largest of them:\n\n{table(ranked[: min(TOP, fitting)])}\n")

    grids = ((64,), (1,), (4,), 2) if quick else ((96, 128, 160), (0.5, 1, 2), (4, 6), 6)
    phinets = fit_phinet(*grids)
    print(f"PhiNet-like networks, each as wide as {BOARD} allows:\n")
    print(table(f.estimate for f in phinets[:TOP]))


if __name__ == "__main__":
    main(quick="--quick" in sys.argv[1:])
