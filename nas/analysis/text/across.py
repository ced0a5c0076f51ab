"""Module types over several data sets, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nas.analysis.across import Across, AcrossContrast
from nas.analysis.claims.grades import LEVEL
from nas.analysis.comparison import PER_BLOCK
from nas.analysis.text.ranking import analysis_dict
from nas.formatting import SCHEMA, UNLIMITED, count, interval, known, table_of, to_text
from nas.stats.estimate import Estimate, estimate_dict, finite, percent

if TYPE_CHECKING:
    import pandas as pd

FEW = 5
"""Number of data sets below which a summary says little."""

SUMMARY = (
    "Changes of error in percentage points at equal FLOPs, one estimate per data set. Their mean is that "
    "of random effects (Paule and Mandel) with the interval of Hartung and Knapp; p after Holm. The SD is "
    "that of the effect between data sets; a new data set is expected within the last limits. A sentence "
    "about the mean is worth no more than its grades on single data sets, which nas analyze RUN shows."
)


def across_text(across: Across, width: int = UNLIMITED) -> str:
    """Return the contrasts on each data set with their summary, and the mean ranks."""
    names = list(across.analyses)
    table = table_of("a -> b", *names, "mean", "p>", "SD between>", "in a new data set")
    for c in across.contrasts:
        s = c.summary
        cells = (interval(c.effects[name]) for name in names)
        between, new = known(100 * s.between, ".2f"), _limits(s.prediction)
        table.add_row(f"{c.a} -> {c.b}", *cells, interval(s.mean), known(c.p, ".3f"), between, new)
    few = [f"{count(len(names), 'data set')} say little about others."] if len(names) < FEW else []
    claims = [f"  {claim(contrast)}" for contrast in across.contrasts]
    title = f"Module types over {count(len(names), 'data set')}: {', '.join(names)}"
    return to_text(title, table, " ".join([SUMMARY, *few]), *claims, *_rank_lines(across), width=width)


def across_frame(across: Across) -> pd.DataFrame:
    """Return one row per contrast and data set, with the columns of `Analysis.frame` and the name of the
    data."""
    import pandas as pd

    return pd.concat(
        [analysis.frame().assign(data=name) for name, analysis in across.analyses.items()], ignore_index=True
    )


def across_dict(across: Across) -> dict[str, Any]:
    """Return the comparison as JSON; estimates that are not possible are None."""
    ranking = across.ranking
    return {
        "schema": SCHEMA,
        "kind": "data sets",
        "types": list(across.types),
        "contrasts": [_contrast_dict(contrast) for contrast in across.contrasts],
        "ranks": ranking
        and {
            "mean": dict(zip(across.types, map(float, ranking.ranks), strict=True)),
            "p": finite(ranking.p),
            "critical_difference": finite(ranking.critical),
        },
        "analyses": {name: analysis_dict(analysis) for name, analysis in across.analyses.items()},
    }


def claim(contrast: AcrossContrast) -> str:
    """Return the claim about two types over data sets, as a sentence without its full stop."""
    a, b, summary = contrast.a, contrast.b, contrast.summary
    if math.isnan(summary.mean.value):
        return f"{a} and {b}: no summary, as fewer than two data sets compare them"
    over = f"over {count(summary.studies, 'data set')}"
    if not contrast.p < LEVEL:
        difference = f"difference {percent(summary.mean)} points{PER_BLOCK * contrast.per_block}"
        return f"{a} and {b} are not separated {over} ({difference})"
    way = "lowers" if summary.mean.value < 0 else "raises"
    low, high = sorted((abs(summary.mean.low), abs(summary.mean.high)))
    size = percent(Estimate(abs(summary.mean.value), low, high))
    signs = {effect.sign for effect in contrast.effects.values()} - {0}
    mixed = ", though not on every one of them" if len(signs) > 1 else ""
    said = f"replacing {a} by {b} {way} error by {size} points at equal FLOPs on average {over}{mixed}"
    return said + PER_BLOCK * contrast.per_block


def _rank_lines(across: Across) -> list[str]:
    ranking = across.ranking
    if ranking is None:
        return ["No ranks: some type has no effect at equal FLOPs on some data set."]
    order = sorted(zip(ranking.ranks, across.types, strict=True))
    ranks = ", ".join(f"{kind} {rank:.2f}" for rank, kind in order)
    test = f"Mean ranks (1 is best): {ranks}. Friedman's test p = {known(ranking.p, '.3f') or 'not known'}"
    if math.isnan(ranking.critical):
        return [f"{test}."]
    return [f"{test}; two ranks differ if they are {ranking.critical:.2f} or more apart (Nemenyi, 5 %)."]


def _limits(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.low) else f"[{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


def _contrast_dict(contrast: AcrossContrast) -> dict[str, Any]:
    summary = contrast.summary
    return {
        "a": contrast.a,
        "b": contrast.b,
        "effects": {name: estimate_dict(effect) for name, effect in contrast.effects.items()},
        "mean": estimate_dict(summary.mean),
        "p": finite(contrast.p),
        "between_sd": finite(summary.between),
        "prediction": estimate_dict(summary.prediction),
        "data_sets": summary.studies,
        "per_block": contrast.per_block,
        "claim": claim(contrast),
    }
