"""Which decisions lead to low error: PED-ANOVA for conditional categorical decisions
(Watanabe et al., 2023; its conditional form, 2026), as in Optuna 5's evaluator.

Optuna's own takes 6 s on 10,000 trials, most of it copying them; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_TOP = 5
"""Networks wanted in the best part; the authors of the method advise as many."""


def top_quantile(networks: int) -> float:
    """The best part that importance speaks of: a tenth, or more where that is too few."""
    return float(min(0.5, max(0.1, MIN_TOP / max(networks, 1))))


def importance(decisions: Sequence[Mapping[str, Any]], error: NDArray[np.float64]) -> dict[str, float]:
    """Share of each decision in what tells the best networks from the rest, highest first.

    A conditional decision counts by how often it is open. The shares sum to 1; empty where
    fewer than 2 * MIN_TOP networks are known or nothing was decided. It describes the
    density that was sampled, so an adaptive search's habits are in it.
    """
    if len(error) < 2 * MIN_TOP:
        return {}
    last = ceil(top_quantile(len(error)) * len(error)) - 1
    top = error <= np.partition(error, last)[last]
    scores = {name: _score(codes, top) for name, codes in _encode(decisions).items()}
    total = sum(scores.values())
    if total <= 0:
        return {}
    shares = {name: score / total for name, score in scores.items()}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _encode(decisions: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.intp]]:
    """Each decision's options as numbers from 0, in one array over the networks; -1: not open."""
    columns: dict[str, NDArray[np.intp]] = {}
    options: dict[str, dict[Any, int]] = {}
    for row, chosen in enumerate(decisions):
        for name, value in chosen.items():
            if name not in columns:
                columns[name] = np.full(len(decisions), -1)
                options[name] = {}
            known = options[name]
            columns[name][row] = known.setdefault((type(value), str(value)), len(known))
    return {name: codes for name, codes in columns.items() if len(options[name]) > 1}


def _score(codes: NDArray[np.intp], top: NDArray[np.bool_]) -> float:
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


def _density(codes: NDArray[np.intp], options: int) -> NDArray[np.float64]:
    """Optuna's Parzen estimate over options: one smoothed kernel an option seen, and a prior
    with the weight of one observation."""
    counts = np.bincount(codes, minlength=options)
    kernels = int((counts > 0).sum()) + 1
    smoothed = (counts + len(codes) / kernels) / (options / kernels + 1)
    return np.asarray((smoothed + 1 / options) / (len(codes) + 1))
