"""The factors of validation error, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.analysis.factors.factors import Factors
from nas.formatting import count, known, table_of
from nas.stats.estimate import Estimate

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS, PAIRS = 10, 5
METHODS = {
    "anova": "Functional ANOVA of all combinations, without sampling error; a total includes "
    "interactions of any order and seed noise.",
    "shapley": "Shapley shares of the variance that a surrogate (ridge on factors and pairs of them) "
    "predicts in held-out networks; a total includes the interactions of two factors.",
}
LEADING = (
    "To the best {top:.0%} and to the front (of error and FLOPs): PED-ANOVA, how far their options differ "
    "from all that were sampled. It describes the sample and is not an effect."
)


def factors_dict(factors: Factors, top: float) -> dict[str, Any]:
    """Return the factors as JSON, but for NaN; `top` is the best part of the networks that the column
    describes."""
    said = {"grade": factors.grade, "refused": [str(gate) for gate in factors.refused], "top_part": top}
    return asdict(factors) | said


def factor_parts(factors: Factors, top: float) -> Iterator[RenderableType]:
    """Table 2: the factors, their strongest interactions, and why they support no more. Shares
    that are not supported are left out."""
    supported = factors.grade != "X"
    title = f"Factors of validation error, {count(factors.networks, 'network')}. Grade {factors.grade}."
    yield f"{title} {_reliability(factors)}"
    table = table_of(
        "factor", *(("main, %", "total, %") if supported else ()), "to the best>", "to the front>"
    )
    rows = factors.rows
    if not supported:  # by what is left to show, which a stage has none of
        rows = tuple(sorted((r for r in rows if not math.isnan(r.top)), key=lambda r: -r.top)) or rows
    for row in rows[:ROWS]:
        shares = (_percent(row.main), _percent(row.total)) if supported else ()
        table.add_row(row.name, *shares, known(row.top, ".1%"), known(row.front, ".1%"))
    yield table
    pairs = factors.interactions[:PAIRS] if supported else ()
    if pairs:
        interactions = table_of("interaction", "share, %")
        for pair in pairs:
            interactions.add_row(f"{pair.a} x {pair.b}", _percent(pair.share))
        yield ""
        yield interactions
    yield " ".join([*_left_out(factors, supported), *_notes(factors, top, supported)])
    if not supported:
        yield "  X  no share of the variance is supported"
    for gate in factors.refused:
        yield f"  no better grade for the factors: {gate}"


def _reliability(factors: Factors) -> str:
    r2, ceiling = factors.surrogate_r2, factors.noise_ceiling
    noise = "no network was repeated, so the noise is unknown"
    if not math.isnan(ceiling):
        noise = f"at most {ceiling:.1%} is not seed noise"
    fit = "no surrogate" if math.isnan(r2) else f"surrogate R² {r2:.2f}, cross-validated"
    return f"{fit}; {noise}."[0].upper() + f"{fit}; {noise}."[1:]


def _left_out(factors: Factors, supported: bool) -> Iterator[str]:
    rows, pairs = len(factors.rows) - ROWS, (len(factors.interactions) - PAIRS) * supported
    more = [count(n, noun) for n, noun in ((rows, "factor"), (pairs, "interaction")) if n > 0]
    if more:
        yield f"{' and '.join(more)} more in --json."


def _notes(factors: Factors, top: float, supported: bool) -> Iterator[str]:
    if supported:
        yield METHODS[factors.method]
    if any(not math.isnan(row.top) for row in factors.rows):
        yield LEADING.format(top=top)


def _percent(share: Estimate) -> str:
    if math.isnan(share.value):
        return ""
    if math.isnan(share.low) or share.low == share.high:
        return f"{100 * share.value:.1f}"
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"
