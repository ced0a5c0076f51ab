"""Error against each decision, and importance at each budget, as text for people and as JSON for programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nas.analysis.factors.budgets import Budget
from nas.analysis.factors.decisions import QUARTER, DecisionEffect
from nas.formatting import UNLIMITED, count, interval, known, table_of, to_text
from nas.stats.estimate import Estimate, estimate_dict, finite

MOST_DECISIONS, MOST_FACTORS = 10, 10
"""Most rows of a table; JSON holds all."""

PARTIAL = (
    "Mean: over the networks that took the option. Partial: mean error if every network with this decision "
    "took it, all else held constant (additive model, 95 % intervals). Best: share of draws of {quarter:.0%} "
    "of the networks whose best network took it (empirical bootstrap)."
)
TOO_FEW = "Partial dependence is not known: it needs 20 more networks than there are options."
REACHED = (
    "Share of the variance of error that a factor explains with its interactions. If no share is supported, "
    "the PED-ANOVA importance is given in brackets: the factor's share of what distinguishes the best "
    "networks. Only promoted networks reach a higher rung."
)


def decisions_text(effects: Sequence[DecisionEffect], width: int = UNLIMITED) -> str:
    """Return a table with one row per option, for the decisions whose options differ most."""
    if not effects:
        return "Error against each decision: no decision varies among the complete networks."
    table = table_of("decision", "option>", "networks>", "error %, mean", "error %, partial", "best>")
    shown = effects[:MOST_DECISIONS]
    for effect in shown:
        for i, option in enumerate(effect.options):
            figures = interval(option.error), _partial(option.partial), f"{option.best:.0%}"
            table.add_row(effect.path if not i else "", str(option.value), str(option.networks), *figures)
    ranges = [
        f"{effect.path} {_number(best.value)} [{_number(best.low)}, {_number(best.high)}]"
        for effect in shown
        if not math.isnan((best := effect.range).value)
    ]
    lines = [PARTIAL.format(quarter=QUARTER)]
    if all(math.isnan(option.partial.value) for effect in effects for option in effect.options):
        lines.append(TOO_FEW)
    if ranges:
        lines.append(f"Best values with the range that holds 95 % of the draws: {', '.join(ranges)}.")
    if len(effects) > len(shown):
        lines.append(f"{count(len(effects) - len(shown), 'decision')} more in --json.")
    return to_text("Error against each decision", table, " ".join(lines), width=width)


def decisions_list(effects: Sequence[DecisionEffect]) -> list[dict[str, Any]]:
    """Return the decisions as JSON; estimates that are not possible are None."""
    return [
        {
            "decision": effect.path,
            "spread": effect.spread,
            "range": estimate_dict(effect.range),
            "options": [
                {
                    "value": option.value,
                    "networks": option.networks,
                    "error": estimate_dict(option.error),
                    "partial": estimate_dict(option.partial),
                    "best": option.best,
                }
                for option in effect.options
            ],
        }
        for effect in effects
    ]


def budgets_text(budgets: Sequence[Budget], run: str, width: int = UNLIMITED) -> str:
    """Return a table with one row per factor and one column per budget of the run."""
    titles = (f"{count(b.epochs, 'epoch')}, {count(b.networks, 'network')}" for b in budgets)
    table = table_of("factor", *(f"{title}>" for title in titles))
    columns = [importance(budget) for budget in budgets]
    names = list(dict.fromkeys(name for column in reversed(columns) for name in column))
    for name in names[:MOST_FACTORS]:
        table.add_row(
            name, *(_share(b, column.get(name)) for b, column in zip(budgets, columns, strict=True))
        )
    more = (
        [f"{count(len(names) - MOST_FACTORS, 'factor')} more in --json."] if len(names) > MOST_FACTORS else []
    )
    title = f"Importance of the factors of {run} at each budget"
    return to_text(title, table, " ".join([REACHED, *more]), width=width)


def budgets_list(budgets: Sequence[Budget]) -> list[dict[str, Any]]:
    """Return the budgets as JSON; estimates that are not possible are None."""
    return [
        {
            "epochs": budget.epochs,
            "networks": budget.networks,
            "grade": budget.factors.grade if budget.factors else None,
            "factors": [
                {
                    "factor": row.name,
                    "main": estimate_dict(row.main),
                    "total": estimate_dict(row.total),
                    "top": finite(row.top),
                }
                for row in (budget.factors.rows if budget.factors else ())
            ],
        }
        for budget in budgets
    ]


def supported(budget: Budget) -> bool:
    """Return whether shares of the variance may be shown."""
    return budget.factors is not None and budget.factors.grade != "X"


def importance(budget: Budget) -> dict[str, float]:
    """Return the importance by factor, highest first: its total share of the variance, or its PED-ANOVA share
    if no share of the variance is supported. Factors with an unknown share are left out."""
    rows = budget.factors.rows if budget.factors else ()
    values = {row.name: row.total.value if supported(budget) else row.top for row in rows}
    return {n: v for n, v in sorted(values.items(), key=lambda item: -item[1]) if not math.isnan(v)}


def _share(budget: Budget, value: float | None) -> str:
    if value is None or math.isnan(value):
        return ""
    return f"{value:.1%}" if supported(budget) else f"({value:.1%})"


def _partial(estimate: Estimate) -> str:
    return "" if math.isnan(estimate.value) else interval(estimate)


def _number(value: float) -> str:
    return known(value, ".6g")
