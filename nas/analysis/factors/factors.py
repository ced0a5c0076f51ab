"""Shares of the variance of validation error that the factors explain, graded.

Where the sample is a table of (nearly) all combinations of the decisions, the functional ANOVA
is exact. Else a surrogate is fitted to it, and each of its parts has its Shapley share of the
variance that the surrogate predicts in held-out networks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.claims.grades import MIN_NETWORKS, Gate, Graded
from nas.analysis.factors import anova
from nas.analysis.factors.encoding import Decision, encode, factor_names, settings
from nas.analysis.factors.ped_anova import importance, lowest, nearest_to_front
from nas.analysis.factors.surrogate import NOTHING, Shares, shares
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.resampling import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

MIN_R2 = 0.5
"""Variance of error in other networks that the surrogate must explain before its parts mean
anything."""

MOST_CLUSTERS = 2000
"""Most networks (or contexts) that the surrogate is fitted to; a random part is drawn from more."""


@dataclass(frozen=True)
class Factor:
    """One factor. `main` and `total` are shares of the variance of validation error between
    networks, in [0, 1]; `total` includes its interactions. `top` and `front` are its PED-ANOVA
    shares in what leads to the lowest errors and onto the Pareto front of error and FLOPs:
    they describe the sample; NaN where there are too few networks."""

    name: str
    main: Estimate
    total: Estimate
    top: float
    front: float


@dataclass(frozen=True)
class Interaction:
    """Two factors, and the share of the variance that only both together explain."""

    a: str
    b: str
    share: Estimate


@dataclass(frozen=True)
class Factors(Graded):
    """The factors, the highest total first, and the interactions of two, the highest first.

    method: "anova", exact on a table of (nearly) all networks, or "shapley", of a surrogate fitted
    to a sample, whose totals hold interactions of two alone. A stage (or block) has no share of its
    own, as all networks have them: its interactions say whether it matters where a setting stands.
    noise_ceiling: the share of the variance that is not seed noise, NaN without repeated seeds.
    surrogate_r2: of the surrogate, on networks it was not fitted to. Shares are unknown below
    `MIN_NETWORKS` networks, and without limits where the surrogate is refused.
    """

    method: str
    rows: tuple[Factor, ...]
    interactions: tuple[Interaction, ...]
    noise_ceiling: float
    surrogate_r2: float
    networks: int
    gates: tuple[Gate, ...]


@dataclass(frozen=True)
class _Shares:
    """Shares of factors alone, of pairs of them, and of factors with all their interactions."""

    parts: Mapping[tuple[str, ...], Estimate]
    totals: Mapping[str, Estimate]


def factors_of(complete: pd.DataFrame, rng: np.random.Generator) -> Factors | None:
    """Return the factors in complete trials (columns as in `nas.analysis.analyze`); None if no decision
    varies. Trainings of one network count once, with their mean error."""
    answered = encode(_answers(complete))
    if not answered:
        return None
    rows = _distinct(complete, answered)
    points, decisions = (
        complete.iloc[rows],
        {path: decision.rows(rows) for path, decision in answered.items()},
    )
    error = complete.groupby("digest")["error"].transform("mean").to_numpy(float)[rows]
    cluster = _clusters(points)
    fitted = _fit(decisions, error, cluster, rng)
    levels = np.column_stack([decision.level for decision in decisions.values()])
    exact = error.var() > 0 and anova.complete(levels)
    shares = _exact(list(decisions), levels, error) if exact else _shapley(fitted)
    return Factors(
        method="anova" if exact else "shapley",
        rows=_factors(shares, _leading(decisions, error, points["flops"].to_numpy(float))),
        interactions=_interactions(shares),
        noise_ceiling=_noise_ceiling(complete),
        surrogate_r2=fitted.r2,
        networks=int(_network(points).nunique()),
        gates=_gates(complete, int(cluster.max()) + 1, fitted.r2),
    )


def _answers(complete: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Return the decisions of each trial; if none are recorded, those that its blocks imply."""
    if "decisions" in complete:
        return list(complete["decisions"])
    types = ({f"block{i}.type": kind for i, kind in enumerate(row, 1)} for row in complete["blocks"])
    return [row | {"depth": len(row)} for row in types]


def _distinct(complete: pd.DataFrame, decisions: Mapping[str, Decision]) -> Ints:
    """Return the first row of each network, and of each set of decisions that led to it."""
    import pandas as pd

    levels = {path: decision.level for path, decision in decisions.items()}
    columns = pd.DataFrame({**levels, "": complete["digest"].to_numpy()})
    return np.flatnonzero(~columns.duplicated())


def _clusters(points: pd.DataFrame) -> Ints:
    """Number what was drawn independently: contexts of paired blocks, else networks."""
    runs = points["run"] if "run" in points else [0] * len(points)
    rows = zip(runs, points["design"], _network(points), strict=True)
    keys = [(run, design["context"]) if "context" in design else digest for run, design, digest in rows]
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.intp)


def _network(points: pd.DataFrame) -> pd.Series[str]:
    """Return the digest of each network, whatever recipe it was trained under."""
    return points["network_digest" if "network_digest" in points else "digest"]


def _fit(decisions: Mapping[str, Decision], error: Floats, cluster: Ints, rng: np.random.Generator) -> Shares:
    clusters = int(cluster.max()) + 1
    if clusters < MIN_NETWORKS or not error.var() > 0:
        return NOTHING
    rows = np.arange(len(error))
    if clusters > MOST_CLUSTERS:
        rows = np.flatnonzero(rng.permutation(clusters)[cluster] < MOST_CLUSTERS)
        cluster = np.unique(cluster[rows], return_inverse=True)[1].astype(np.intp)
    factors = settings({path: decision.rows(rows) for path, decision in decisions.items()})
    return shares(factors, error[rows], cluster, MIN_R2, rng)


def _exact(names: Sequence[str], levels: Ints, error: Floats) -> _Shares:
    """Return the shares in a whole table, which have no sampling error."""
    parts: dict[tuple[str, ...], Estimate] = {}
    for name, value in zip(names, anova.main_shares(levels, error), strict=True):
        parts[name,] = _known(value)
    for (a, b), value in anova.pair_shares(levels, error).items():
        parts[names[a], names[b]] = _known(value)
    totals = zip(names, map(_known, anova.total_shares(levels, error)), strict=True)
    return _Shares(parts, dict(totals))


def _known(value: float) -> Estimate:
    return Estimate(float(value), float(value), float(value))


def _shapley(fitted: Shares) -> _Shares:
    parts = {term: _share(fitted, [term == other for other in fitted.terms]) for term in fitted.terms}
    totals = {}
    for name in dict.fromkeys(name for term in fitted.terms for name in term):
        alone = parts.get((name,), UNKNOWN)
        total = _share(fitted, [name in term for term in fitted.terms])
        totals[name] = _at_least(total, alone)
    return _Shares(parts, totals)


def _at_least(total: Estimate, alone: Estimate) -> Estimate:
    """Return the total, not lowered by interactions below zero, which are noise."""
    limits = zip((total.value, total.low, total.high), (alone.value, alone.low, alone.high), strict=True)
    return Estimate(*(float(np.fmax(a, b)) for a, b in limits))


def _share(fitted: Shares, held: Sequence[bool]) -> Estimate:
    """Return the share of some terms together, with limits by the jackknife over groups of clusters."""
    weights = np.array(held, float)
    value, groups = float(fitted.share @ weights), len(fitted.without)
    if not groups:
        return Estimate(max(0.0, value), float("nan"), float("nan"))
    from scipy.special import stdtrit  # a quarter of a second, and not always needed

    spread = np.sqrt(groups - 1) * (fitted.without @ weights).std()
    reach = stdtrit(groups - 1, 0.975) * spread
    return Estimate(*(float(np.clip(limit, 0, 1)) for limit in (value, value - reach, value + reach)))


def _leading(
    decisions: Mapping[str, Decision], error: Floats, flops: Floats
) -> dict[str, tuple[float, float]]:
    """Sum the PED-ANOVA shares of the decisions of each factor: to the top, and to the front."""
    top, front = (importance(decisions, best) for best in (lowest(error), nearest_to_front(error, flops)))
    names = factor_names(decisions)
    paths = {name: [path for path in names if names[path] == name] for name in names.values()}
    return {name: (_sum(top, own), _sum(front, own)) for name, own in paths.items()}


def _sum(scores: Mapping[str, float], paths: Sequence[str]) -> float:
    return sum(scores.get(path, float("nan")) for path in paths)


def _factors(shares: _Shares, leading: Mapping[str, tuple[float, float]]) -> tuple[Factor, ...]:
    unknown = float("nan"), float("nan")
    rows = [
        Factor(
            name,
            shares.parts.get((name,), UNKNOWN),
            shares.totals.get(name, UNKNOWN),
            *leading.get(name, unknown),
        )
        for name in dict.fromkeys((*leading, *shares.totals))
    ]
    return tuple(sorted(rows, key=lambda row: (-np.nan_to_num(row.total.value, nan=-1.0), row.name)))


def _interactions(shares: _Shares) -> tuple[Interaction, ...]:
    interactions = [Interaction(*term, share) for term, share in shares.parts.items() if len(term) == 2]
    return tuple(sorted(interactions, key=lambda pair: -pair.share.value))


def _noise_ceiling(complete: pd.DataFrame) -> float:
    """Return 1 minus the variance between training seeds (of the mean of a network's trainings) relative to
    the variance between networks."""
    runs = complete.drop_duplicates(["digest", "seed"]).groupby("digest")["error"]
    count, squares = runs.size().to_numpy(), (runs.var(ddof=0) * runs.size()).to_numpy(float)
    freedom, between = int((count - 1).sum()), float(runs.mean().var(ddof=0))
    if not freedom or not between > 0:
        return float("nan")
    noise = squares.sum() / freedom * np.mean(1 / count)
    return float(max(0.0, 1 - noise / between))


def _gates(complete: pd.DataFrame, clusters: int, r2: float) -> tuple[Gate, ...]:
    """Return the gates that shares must pass to be shown, and to describe the space."""
    short = max(0, MIN_NETWORKS - clusters)
    uniform = bool(complete.groupby("digest")["uniform"].any().all())
    seeds = complete["seed"].nunique()
    known = f"it explains {max(r2, 0):.0%} of the variance" if isfinite(r2) else "there is none"
    return (
        Gate(f"{MIN_NETWORKS} networks", "CD", not short, f"{clusters} networks or contexts", short),
        Gate(f"surrogate R² {MIN_R2:g}", "CD", r2 >= MIN_R2, f"{known} in held-out networks"),
        Gate("uniform samples only", "C", uniform, "the searcher chose networks by their results"),
        Gate("two seeds", "C", seeds >= 2, "all runs share one seed", max(0, 2 - seeds)),
        Gate("one change at a time", "AB", False, "a share of variance is not the effect of a change"),
    )
