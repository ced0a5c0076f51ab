"""Reliability of an error: against another training of the network, and against a longer schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nas.analysis.seeds import seed_interval
from nas.analysis.table import distinct_networks, dominating_type
from nas.stats.estimate import Estimate
from nas.stats.ranks import Agreement, agreement
from nas.stats.resampling import Floats, rank_correlation

if TYPE_CHECKING:
    import pandas as pd

RESAMPLES = 1000


@dataclass(frozen=True)
class Repeats:
    """Networks trained with two seeds or more: errors `first` and `second` (networks,) of the first
    two trainings, their types, the pooled SD between seeds, and Spearman's rho of the two."""

    first: Floats
    second: Floats
    types: tuple[str, ...]
    seed_sd: float
    correlation: Estimate


@dataclass(frozen=True)
class Fidelity:
    """Networks trained for `epochs` and for more, `longer`: mean errors `short` and `long`
    (networks,), their types, and how alike the two schedules rank them."""

    epochs: int
    longer: int
    short: Floats
    long: Floats
    types: tuple[str, ...]
    agreement: Agreement


def repeats(trainings: pd.DataFrame, *, seed: int = 0) -> Repeats | None:
    """Return the networks trained twice or more with one schedule; None where there are none.

    The column `source` is 0 for trainings of a search and 1 for networks trained again. The two are not
    compared, as the networks that a search chose look too good.
    """
    groups = [group for networks in _repeated(trainings).values() for group in networks.values()]
    if not groups:
        return None
    errors = [group["error"].to_numpy(float) for group in groups]
    first, second = (np.array([values[at] for values in errors]) for at in (0, 1))
    types = tuple(dominating_type(group["blocks"].iloc[0]) for group in groups)
    rho = rank_correlation(first, second, RESAMPLES, np.random.default_rng(seed))
    return Repeats(first, second, types, _pooled_sd(errors)[0], Estimate(*rho))


def seed_intervals(trainings: pd.DataFrame) -> dict[str, Estimate]:
    """Mean error and its 95 % limits of networks with two seeds or more, by digest.

    In a design all networks are repeated alike, so the SD between seeds is pooled over them. Of
    networks trained again with further seeds, those trainings alone count, as
    `nas.analysis.seeds` has it.
    """
    from scipy.special import stdtrit

    sources = _repeated(trainings)
    pooled = {}
    if 0 in sources:
        sd, freedom = _pooled_sd([group["error"].to_numpy(float) for group in sources[0].values()])
        for digest, group in sources[0].items():
            value = float(group["error"].mean())
            half = float(stdtrit(freedom, 0.975)) * sd / len(group) ** 0.5
            pooled[digest] = Estimate(value, value - half, value + half)
    again = {digest: seed_interval(g["error"].tolist()) for digest, g in sources.get(1, {}).items()}
    return pooled | again


def _repeated(trainings: pd.DataFrame) -> dict[int, dict[str, pd.DataFrame]]:
    """The complete trainings of each network with two seeds or more, by source and digest."""
    rows = trainings[(trainings["state"] == "complete") & trainings["error"].notna()]
    rows = rows.drop_duplicates(["source", "digest", "seed"])
    rows = rows[rows.duplicated(["source", "digest"], keep=False)]
    by_source: dict[int, dict[str, pd.DataFrame]] = {}
    for (source, digest), group in rows.groupby(["source", "digest"], sort=False):
        by_source.setdefault(int(source), {})[str(digest)] = group
    return by_source


def _pooled_sd(errors: Sequence[Floats]) -> tuple[float, int]:
    """Standard deviation between trainings of one network, and its degrees of freedom."""
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in errors)
    freedom = sum(len(values) - 1 for values in errors)
    return float(np.sqrt(squares / freedom)), freedom


def fidelities(short: pd.DataFrame, long: pd.DataFrame, *, seed: int = 0) -> tuple[Fidelity, ...]:
    """The networks that both frames of trials hold complete, for each longer schedule. Networks of one
    context were drawn together, so intervals are by bootstrap over contexts."""
    agreements = []
    known = short[short["state"] == "complete"]
    mean, networks = known.groupby("digest")["error"].mean(), distinct_networks(short)
    types = dict(zip(networks["digest"], networks["type"], strict=True))
    cluster = dict(zip(networks["digest"], networks["cluster"], strict=True))
    done = long[long["state"] == "complete"]
    for epochs, rows in done.groupby("epochs"):
        other = rows.groupby("digest")["error"].mean()
        both = other.index[other.index.isin(mean.index)]
        before = int(known.loc[known["digest"].isin(both), "epochs"].max()) if len(both) else 0
        if before and int(epochs) > before:
            x, y = mean[both].to_numpy(float), other[both].to_numpy(float)
            rng = np.random.default_rng(seed)
            alike = agreement(x, y, RESAMPLES, rng, np.array([cluster[d] for d in both], np.intp))
            agreements.append(Fidelity(before, int(epochs), x, y, tuple(types[d] for d in both), alike))
    return tuple(agreements)
