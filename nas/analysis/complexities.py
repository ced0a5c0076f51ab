"""Module types at equal parameters, activations or latency, beside equal FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.claims.grades import LEVEL, MIN_NETWORKS_OF_TYPE, OWN_RECIPES
from nas.analysis.edf import Edf, edf_band, shared_bins
from nas.analysis.table import distinct_networks, sample_of, trial_table, without_selected
from nas.errors import NasError
from nas.formatting import UNLIMITED, interval, known, table_of, to_text
from nas.stats.adjusted import adjusted_effect
from nas.stats.estimate import Estimate, estimate_dict, finite
from nas.stats.resampling import Floats, holm
from nas.study.objectives import objective

if TYPE_CHECKING:
    import pandas as pd

MEASURE = {"latency": "nas search --objectives error,latency measures it"}
"""Hints for complexities that a run may lack, by name."""

NOTE = (
    "Changes of error in percentage points when every block of a becomes b, at equal depth and complexity; p "
    "after Holm over the contrasts of one complexity. They describe {sample}."
)


@dataclass(frozen=True)
class Difference:
    """Change of error when type a is replaced by type b at equal complexity and depth; p after Holm."""

    a: str
    b: str
    effect: Estimate
    p: float
    overlap: float


@dataclass(frozen=True)
class AtEqual:
    """The types at equal values of one complexity.

    sample: the networks compared, in words. edfs: by type of most blocks, weighted so that the complexity is
    uniform over the bins that all types fill; {} if there are none.
    """

    complexity: str
    sample: str
    differences: tuple[Difference, ...]
    edfs: Mapping[str, Edf]


def at_equal(trials: pd.DataFrame, complexities: Sequence[str], *, seed: int = 0) -> list[AtEqual]:
    """Compare the module types at equal values of each complexity.

    trials: with the columns of `nas.analysis.table.trial_table`. NasError if a complexity was not measured,
    if all trials belong to paired blocks, whose networks are matched in FLOPs, or if module types had recipes
    of their own.
    """
    trials = without_selected(trials)
    in_blocks = np.array([design.get("design") == "paired" for design in trials["design"]], bool)
    trials = trial_table(trials)
    if trials["recipe_by_type"].any():
        raise NasError(OWN_RECIPES, hint="give all module types the same options")
    candidates, sample = sample_of(distinct_networks(trials[~in_blocks]))
    networks = distinct_networks(candidates.assign(digest=candidates["network_digest"]))
    if not len(networks):
        hint = "nas search --searcher balanced draws networks that can be compared at any complexity"
        raise NasError("no complete trial is outside of paired blocks, which are matched in FLOPs", hint=hint)
    for name in complexities:
        if name not in networks or not (networks[name] > 0).all():
            hint = MEASURE.get(name, f"the table needs the column {name}, above zero")
            raise NasError(
                f"{objective(name).label} were not measured for every network", where=name, hint=hint
            )
    return [_at_equal(networks, name, sample, seed) for name in complexities]


def _at_equal(networks: pd.DataFrame, complexity: str, sample: str, seed: int) -> AtEqual:
    cost = networks[complexity].to_numpy(float)
    return AtEqual(complexity, sample, _differences(networks, cost), _edfs(networks, cost, seed))


def _differences(networks: pd.DataFrame, cost: Floats) -> tuple[Difference, ...]:
    names, shares, rows = _shares(networks)
    covariates = np.log(cost[rows]), networks["depth"].to_numpy(float)[rows]
    error, pairs = networks["error"].to_numpy(float)[rows], list(combinations(range(len(names)), 2))
    effects = [adjusted_effect(shares, error, covariates, a, b) for a, b in pairs]
    adjusted = holm(np.array([effect.p for effect in effects]))
    return tuple(
        Difference(names[a], names[b], effect.estimate, float(p), effect.overlap)
        for (a, b), effect, p in zip(pairs, effects, adjusted, strict=True)
    )


def _shares(networks: pd.DataFrame) -> tuple[list[str], Floats, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return the types that enough networks hold, their shares of blocks, and the networks made only of
    these."""
    blocks = list(networks["blocks"])
    names = sorted({name for row in blocks for name in row})
    shares = np.array([[row.count(name) / len(row) for name in names] for row in blocks])
    kept = (shares > 0).sum(axis=0) >= MIN_NETWORKS_OF_TYPE
    rows = np.isclose(shares[:, kept].sum(axis=1), 1)
    return [name for name, keep in zip(names, kept, strict=True) if keep], shares[rows][:, kept], rows


def _edfs(networks: pd.DataFrame, cost: Floats, seed: int) -> dict[str, Edf]:
    kinds, error = networks["type"].to_numpy(), networks["error"].to_numpy(float)
    groups = {str(name): kinds == name for name in np.unique(kinds.astype(str))}
    groups = {name: rows for name, rows in groups.items() if rows.sum() >= MIN_NETWORKS_OF_TYPE}
    bins = shared_bins([cost[rows] for rows in groups.values()])
    if not len(bins):
        return {}
    rng = np.random.default_rng(seed)
    return {name: edf_band(error[rows], cost[rows], bins=bins, rng=rng) for name, rows in groups.items()}


def at_equal_text(comparisons: Sequence[AtEqual], width: int = UNLIMITED) -> str:
    """Return a table with one row per contrast and complexity."""
    table = table_of("a -> b", "at equal", "b - a, points", "p>", "effective overlap>")
    for row in zip(*(comparison.differences for comparison in comparisons), strict=True):
        for comparison, d in zip(comparisons, row, strict=True):
            pair = f"{d.a} -> {d.b}" if comparison is comparisons[0] else ""
            figures = interval(d.effect), known(d.p, ".3f"), f"{d.overlap:.0%}"
            table.add_row(pair, objective(comparison.complexity).label, *figures)
    lines = [NOTE.format(sample=comparisons[0].sample), *_changed(comparisons)]
    return to_text("Contrasts at equal complexity", table, " ".join(lines), width=width)


def _changed(comparisons: Sequence[AtEqual]) -> list[str]:
    """Return the contrasts whose sign is significant at two complexities, and differs."""
    changed = []
    for row in zip(*(comparison.differences for comparison in comparisons), strict=True):
        signs = {d.effect.sign for d in row if d.p < LEVEL} - {0}
        if len(signs) > 1:
            changed.append(f"{row[0].a} -> {row[0].b}")
    return [f"The sign depends on what is held equal: {', '.join(changed)}."] if changed else []


def at_equal_list(comparisons: Sequence[AtEqual]) -> list[dict[str, Any]]:
    """Return the contrasts as JSON; estimates that are not possible are None."""
    return [
        {
            "complexity": comparison.complexity,
            "sample": comparison.sample,
            "contrasts": [_difference_dict(difference) for difference in comparison.differences],
        }
        for comparison in comparisons
    ]


def _difference_dict(difference: Difference) -> dict[str, Any]:
    return asdict(difference) | {"effect": estimate_dict(difference.effect), "p": finite(difference.p)}
