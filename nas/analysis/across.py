"""Module types over several data sets: effects with a variance between data sets, and ranks.

Runs on different data are not pooled: an effect is estimated on each data set, and the interval of the mean
over data sets includes how much the effect differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.analysis.analyze import Analysis
from nas.analysis.paired.evidence import SMALLEST_EFFECT
from nas.analysis.pooling import analyze
from nas.errors import NasError
from nas.stats.estimate import UNKNOWN, Estimate
from nas.stats.meta import Ranking, Summary, friedman, random_effects
from nas.stats.resampling import Floats, holm

if TYPE_CHECKING:
    from nas.study.run import Run

REACH = 2 * 1.959964
"""Standard errors between the limits of a 95 % interval."""


@dataclass(frozen=True)
class AcrossContrast:
    """Type a replaced by type b at equal FLOPs: its effect on each data set and the summary, p after Holm.
    per_block: the effects are those of one block, as networks mix types."""

    a: str
    b: str
    effects: Mapping[str, Estimate]
    summary: Summary
    p: float
    per_block: bool = False


@dataclass(frozen=True)
class Across:
    """The types that were compared on every data set.

    analyses: by data set. ranking: ranks of `types` by effect at equal FLOPs on each data set, None if an
    effect is unknown.
    """

    analyses: Mapping[str, Analysis]
    types: tuple[str, ...]
    contrasts: tuple[AcrossContrast, ...]
    ranking: Ranking | None


def by_data(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Sort runs by data set, in the order given.

    Runs with equal images share a data set, whatever its name. So do runs of one name with different images,
    such as another split, because they are not independent data sets; pooling them reports how they differ.
    """
    groups: dict[str, list[Run]] = {}
    names: dict[Any, str] = {}
    for run in runs:
        name, images = run.config.data.partition("?")[0], run.config.data_fingerprint
        groups.setdefault(names.setdefault(images, name), []).append(run)
    return groups


def across_data(
    groups: Mapping[str, Sequence[Run]], *, smallest_effect: float = SMALLEST_EFFECT, seed: int = 0
) -> Across:
    """Compare the module types over two data sets or more.

    groups: runs by data set, as `by_data` sorts them. smallest_effect: of interest, a fraction. NasError if
    fewer than two types were compared on all of them, or if the runs of one data set cannot be analysed
    together.
    """
    analyses = {
        name: analyze(runs, smallest_effect=smallest_effect, seed=seed) for name, runs in groups.items()
    }
    known = {name: _effects(analysis) for name, analysis in analyses.items()}
    types = sorted(
        set.intersection(*({kind for pair in effects for kind in pair} for effects in known.values()))
    )
    if len(types) < 2:
        hint = "search each data set with the same module types, for example with --searcher paired"
        raise NasError("fewer than two module types were compared on every data set", hint=hint)
    per_block = _per_block(analyses)
    pairs = list(combinations(types, 2))
    by_pair = [{name: effects.get(pair, UNKNOWN) for name, effects in known.items()} for pair in pairs]
    summaries = [_summary(effects) for effects in by_pair]
    p = holm(np.array([summary.p for summary in summaries]))
    contrasts = tuple(
        AcrossContrast(*pair, effects, summary, float(value), per_block)
        for pair, effects, summary, value in zip(pairs, by_pair, summaries, p, strict=True)
    )
    return Across(analyses, tuple(types), contrasts, _ranking(types, known))


def _effects(analysis: Analysis) -> dict[tuple[str, str], Estimate]:
    """Return the effect of each pair of types at equal FLOPs: from paired contexts, else from the networks
    that no searcher chose, if any, else from all. Effects at the same shape are another estimand."""
    if analysis.paired:
        estimates = {(c.a, c.b): c.effect for c in analysis.paired.contrasts if c.estimand == "E2"}
    else:
        estimates = {(c.a, c.b): c.equal_flops for c in analysis.comparisons[-1].contrasts}
    effects = {pair: effect for pair, effect in estimates.items() if np.isfinite(effect.value)}
    return effects | {(b, a): Estimate(-e.value, -e.high, -e.low) for (a, b), e in effects.items()}


def _per_block(analyses: Mapping[str, Analysis]) -> bool:
    """Return whether effects are those of one block on all data sets; NasError where they are on some."""
    mixed = {
        name: not analysis.paired and any(c.per_block for c in analysis.comparisons[-1].contrasts)
        for name, analysis in analyses.items()
    }
    if len(set(mixed.values())) == 1:
        return mixed.popitem()[1]
    blocks, whole = (next(name for name, own in mixed.items() if own is kind) for kind in (True, False))
    raise NasError(
        f"networks on {blocks} mix module types, those on {whole} hold one each",
        where="data sets",
        hint="an effect per block and one of whole networks have no mean; search both in one space",
    )


def _summary(effects: Mapping[str, Estimate]) -> Summary:
    values = np.array([effect.value for effect in effects.values()])
    errors = np.array([(effect.high - effect.low) / REACH for effect in effects.values()])
    return random_effects(values, errors)


def _ranking(types: Sequence[str], known: Mapping[str, Mapping[tuple[str, str], Estimate]]) -> Ranking | None:
    """Rank the types by the effect of replacing the first one; None unless every effect is known."""
    rows: list[list[float]] = []
    for effects in known.values():
        rows.append([0.0, *(effects.get((types[0], kind), UNKNOWN).value for kind in types[1:])])
    values: Floats = np.array(rows)
    return friedman(values) if np.isfinite(values).all() else None
