"""Costs of module types in paired contexts: FLOPs that are equal, trainings that serve both estimands."""

from __future__ import annotations

import numpy as np

from nas.analysis.paired.blocks import Blocks, mean_of
from nas.stats.resampling import Floats

SAME_FLOPS = 0.03
"""Share by which FLOPs may differ and still be called equal."""


def equal_flops(blocks: Blocks, arm: int, pair: tuple[int, int]) -> bool:
    """Return whether both types have equal FLOPs in every context: each is within 3 % of a budget."""
    flops = mean_of(blocks.flops[:, arm][..., list(pair)], 1)
    ratio = flops[:, 1] / flops[:, 0]
    known = ratio[np.isfinite(ratio)]
    widest = (1 + SAME_FLOPS) / (1 - SAME_FLOPS)
    return bool(len(known) and known.max() <= widest and known.min() >= 1 / widest)


def same_trainings(blocks: Blocks, pair: tuple[int, int]) -> bool:
    """Return whether both estimands are of the same networks in every context."""
    digests = blocks.networks[..., list(pair)]
    same = (digests != "").any() and (digests[:, 0] == digests[:, 1]).all()
    return bool(same) and equal_flops(blocks, 1, pair)


def cost_change(values: Floats, pair: tuple[int, int]) -> float:
    """Geometric mean change of a cost from type a to type b."""
    logs = np.log(values[..., pair[1]] / values[..., pair[0]])
    known = logs[np.isfinite(logs)]
    return float(np.expm1(known.mean())) if len(known) else float("nan")
