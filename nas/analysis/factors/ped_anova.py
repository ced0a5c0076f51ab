"""PED-ANOVA of the decisions that lead to low error, conditional ones included
(Watanabe et al., 2023; its conditional form, 2026), as in Optuna 5's evaluator.

Optuna's own takes 6 s on 10,000 trials, most of it copying them; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

import numpy as np

from nas.analysis.factors.encoding import Decision, Mask
from nas.pareto import front
from nas.stats.resampling import Floats, Ints

MIN_TOP = 5
"""Networks wanted in the best part; the authors of the method advise as many."""


def top_quantile(networks: int) -> float:
    """The best part that importance speaks of: a tenth, or more where that is too few."""
    return float(min(0.5, max(0.1, MIN_TOP / max(networks, 1))))


def lowest(error: Floats) -> Mask:
    """The best part of the networks, those of equal error included."""
    if not len(error):
        return np.zeros(0, bool)
    last = ceil(top_quantile(len(error)) * len(error)) - 1
    return np.asarray(error <= np.partition(error, last)[last])


def nearest_to_front(error: Floats, flops: Floats) -> Mask:
    """The networks on the Pareto front of error and FLOPs; of few also those on the next."""
    chosen = np.zeros(len(error), bool)
    while chosen.sum() < min(MIN_TOP, len(error)):
        left = np.flatnonzero(~chosen)
        chosen[left[front(np.column_stack([error, flops])[left])]] = True
    return chosen


def importance(decisions: Mapping[str, Decision], best: Mask) -> dict[str, float]:
    """Share of each decision in what tells the best networks from the rest, highest first.

    A conditional decision counts by how often it is open. The shares sum to 1; empty where
    fewer than 2 * MIN_TOP networks are known or nothing was decided. It describes the
    density that was sampled, so an adaptive search's habits are in it.
    """
    if len(best) < 2 * MIN_TOP:
        return {}
    scores = {name: _score(decision.level, best) for name, decision in decisions.items()}
    total = sum(scores.values())
    if total <= 0:
        return {}
    shares = {name: score / total for name, score in scores.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _score(codes: Ints, top: Mask) -> float:
    """Pearson divergence of the best networks' options from all networks' options, weighted
    by how much of the best and of all have the decision open."""
    is_open = codes >= 0
    best = is_open & top
    if is_open.sum() < 2 or not best.any():
        return 0.0
    count = int(codes.max()) + 1
    everywhere, among_best = _density(codes[is_open], count), _density(codes[best], count)
    divergence = float(everywhere @ (among_best / everywhere - 1) ** 2)
    return float((best.sum() / top.sum()) ** 2 / is_open.mean() * divergence)


def _density(codes: Ints, options: int) -> Floats:
    """Optuna's Parzen estimate over options: one smoothed kernel an option seen, and a prior
    with the weight of one observation."""
    counts = np.bincount(codes, minlength=options)
    kernels = int((counts > 0).sum()) + 1
    smoothed = (counts + len(codes) / kernels) / (options / kernels + 1)
    return np.asarray((smoothed + 1 / options) / (len(codes) + 1))
