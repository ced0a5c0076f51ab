"""Evidence beside the paired contexts: longer schedules, other recipes, learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nas.analysis.paired.differences import differences
from nas.analysis.paired.recipes import Recipe
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.paired_means import paired_means
from nas.stats.resampling import Floats

if TYPE_CHECKING:
    import pandas as pd

SMALLEST_EFFECT = 0.005
"""Smallest effect of interest unless one is declared: half a percentage point of error."""

LAST_PART = 10
"""The fall of the error over the last tenth of a training says whether its curve has come to a plateau."""


@dataclass(frozen=True)
class Evidence:
    """Evidence beside the paired contexts.

    epochs: of their trainings; longer: error of each network, by digest, after `longer_epochs`;
    recipes: the same for each recipe, that of the study (`usual`) included; falls: mean fall of the error
    over the last tenth of the epochs, by type; guess: error of a network that always gives the same answer
    (1, the worst, where the classes are not known); smallest_effect: the declared smallest effect of
    interest. Errors and effects are fractions.
    """

    epochs: int = 0
    longer: Mapping[str, float] = field(default_factory=dict)
    longer_epochs: int = 0
    recipes: Mapping[Recipe, Mapping[str, float]] = field(default_factory=dict)
    usual: Recipe = (nan, nan)
    falls: Mapping[str, float] = field(default_factory=dict)
    guess: float = 1.0
    smallest_effect: float = SMALLEST_EFFECT


@dataclass(frozen=True)
class Change:
    """Change of an effect from the schedule of a study to a longer one, over the `contexts` trained at
    both: the effect at the longer one, and the change."""

    contexts: int = 0
    longer: Estimate = UNKNOWN
    change: Estimate = UNKNOWN


NO_CHANGE = Change()


def change(
    longer: Mapping[str, float],
    means: Floats,
    networks: NDArray[np.str_],
    pair: tuple[int, int],
    rng: np.random.Generator,
) -> Change:
    """Compare the effect at two schedules, context by context.

    Args:
        longer: Error of each network after the longer schedule, by digest.
        means: Error of each network after the shorter one, (contexts, types).
        networks: Digest of each network, (contexts, types).
        pair: Places of the types a and b.
    """
    if not longer:
        return Change()
    later = np.array([[longer.get(digest, nan) for digest in row] for row in networks], float)
    long, short = (differences(errors, networks, pair) for errors in (later, means))
    known = np.isfinite(long - short)
    found = paired_means(np.stack([long, long - short], axis=1)[known], 0.0, rng)
    return Change(int(found.count[1]), found.estimate(0), found.estimate(1))


def last_falls(trials: pd.DataFrame) -> dict[str, float]:
    """Mean fall of the validation error over the last tenth of the epochs, by type, of complete trials
    whose learning curve is known."""
    if "curve" not in trials:
        return {}
    falls: dict[str, list[float]] = {}
    for curve, design, state in zip(trials["curve"], trials["design"], trials["state"], strict=True):
        if state == "complete" and len(curve) > 1 and "type" in design:
            last = max(1, round(len(curve) / LAST_PART))
            fall = curve[-1 - last]["val_error"] - curve[-1]["val_error"]
            falls.setdefault(design["type"], []).append(fall)
    return {kind: float(np.mean(values)) for kind, values in falls.items()}
