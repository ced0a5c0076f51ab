"""Lost trainings of paired contexts, and what the effects would be if each had the error of a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from nas.analysis.failures import Failures, paired_failures
from nas.analysis.paired.blocks import Blocks
from nas.analysis.paired.differences import differences
from nas.stats.estimate import Estimate
from nas.stats.paired_means import paired_means


def bounded_failures(
    blocks: Blocks,
    arm: int,
    pairs: Sequence[tuple[int, int]],
    guess: float,
    rng: np.random.Generator,
) -> list[Failures]:
    """The lost trainings of each pair, with the effect where each of them is a constant guess."""
    counted = [paired_failures(blocks, arm, pair, rng) for pair in pairs]
    if not any(found.share for found in counted):
        return counted
    guessed = blocks.means(arm, guess)
    networks = blocks.networks[:, arm]
    bounds = paired_means(
        np.stack([differences(guessed, networks, pair) for pair in pairs], axis=1), 0.0, rng
    )
    return [
        replace(found, bound=clipped(bounds.estimate(at))) if found.share else found
        for at, found in enumerate(counted)
    ]


def clipped(estimate: Estimate) -> Estimate:
    """Within what a change of error can be."""
    return Estimate(estimate.value, *(float(v) for v in np.clip([estimate.low, estimate.high], -1.0, 1.0)))
